/* main.cf from foreign hands: load, expand, check. */
#include "base/log.h"
#include "conf/check.h"
#include "conf/conf.h"

static void drop_log(void *arg, enum log_level level, struct span text)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct conf_findings findings = {0};
    struct str why = {0};
    struct conf *c = NULL;

    log_set_sink(drop_log, NULL);
    /* Names from the input only: the host is not asked. */
    if (conf_load_text(&c, "/etc/postfix", "main.cf", span_make(data, size), &why) == 0) {
        conf_check(c, NULL, &findings);
        conf_findings_fini(&findings);
        conf_free(c);
    }
    str_fini(&why);
    return 0;
}
