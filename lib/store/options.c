/* The store's parameters. */
#include "base/error.h"
#include "conf/conf.h"
#include "journal/boot.h"
#include "store/store.h"

void store_options_load(struct store_options *options, const struct conf *conf)
{
    *options = (struct store_options){
        .open_limit = (unsigned)conf_int(conf, "store_open_limit"),
        .segment_size = (uint64_t)conf_int(conf, "store_segment_size") / 4096 * 4096,
        .alignment = (uint32_t)conf_int(conf, "store_alignment"),
        .minfree = (uint64_t)conf_int(conf, "store_minfree"),
        .blob_threshold = (uint64_t)conf_int(conf, "store_blob_threshold"),
        .name_limit = (unsigned)conf_int(conf, "store_mailbox_name_limit"),
        .depth_limit = (unsigned)conf_int(conf, "store_mailbox_depth_limit"),
        .undelete_window_s = conf_seconds(conf, "store_undelete_window"),
        .default_mailboxes = conf_string(conf, "store_default_mailboxes"),
    };
}

int store_preload(const struct conf *conf, struct str *why)
{
    int rc = journal_boot_preload();

    if (rc < 0)
        str_printf(why, "boot id: %s", error_text(rc));
    return rc;
}
