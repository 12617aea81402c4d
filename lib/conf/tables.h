/* tables.h: for the files of lib/conf only: rows of param.h by topic, and the
 * defaults that are computed. */
#ifndef CONF_TABLES_H
#define CONF_TABLES_H

#include "base/mem.h"
#include "base/str.h"
#include "conf/host.h"
#include "conf/param.h"

/* Rows leave out the fields at their end. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

struct param_table {
    const struct param *rows;
    size_t count;
};

extern const struct param_table params_general;
extern const struct param_table params_smtpd;
extern const struct param_table params_address;
extern const struct param_table params_cleanup;
extern const struct param_table params_queue;
extern const struct param_table params_smtp;
extern const struct param_table params_lmtp;
extern const struct param_table params_local;
extern const struct param_table params_tls;
extern const struct param_table params_tls_client;
extern const struct param_table params_postscreen;
extern const struct param_table params_waypost;
/* Names here begin with "_": see param_pattern_at. */
extern const struct param_table params_patterns;

#endif
