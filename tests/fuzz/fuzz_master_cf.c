/* master.cf from foreign hands. */
#include "base/log.h"
#include "conf/conf.h"
#include "conf/master_cf.h"

static void drop_log(void *arg, enum log_level level, struct span text)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct conf *c;
    struct master_cf *m = NULL;
    struct str why = {0};

    log_set_sink(drop_log, NULL);
    if (c == NULL && conf_load_text(&c, "/etc/postfix", "main.cf", SPAN_LIT(""), &why) < 0)
        __builtin_trap();
    if (master_cf_load_text(&m, c, "master.cf", span_make(data, size), &why) == 0)
        master_cf_free(m);
    str_fini(&why);
    return 0;
}
