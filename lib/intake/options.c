/* options.c: the parameters of the header pass. */
#include <stdio.h>

#include "intake/intake.h"

void intake_options_load(struct intake_options *options, const struct conf *conf,
                         const struct route *route)
{
    *options = (struct intake_options){
        .myhostname = span_cstr(conf_string(conf, "myhostname")),
        .mail_name = span_cstr(conf_string(conf, "mail_name")),
        .drop_headers = span_cstr(conf_string(conf, "message_drop_headers")),
        .undisclosed = span_cstr(conf_string(conf, "undisclosed_recipients_header")),
        .message_size_limit = (uint64_t)conf_int(conf, "message_size_limit"),
        .header_size_limit = (uint64_t)conf_int(conf, "header_size_limit"),
        .hopcount_limit = (unsigned)conf_int(conf, "hopcount_limit"),
        .token_limit = (unsigned)conf_int(conf, "header_address_token_limit"),
        .route = route,
        .rewrites_remote = conf_string(conf, "remote_header_rewrite_domain")[0] != '\0',
        .always_add_missing = conf_bool(conf, "always_add_missing_headers"),
    };
    snprintf(options->log_tag, sizeof(options->log_tag), "%s/cleanup",
             conf_string(conf, "syslog_name"));
}
