/* Table and alias sources, and the specs of tables that stand in a value. */
#include <stdlib.h>

#include "base/log.h"
#include "conf/conf.h"
#include "map/map.h"
#include "map/source.h"

static void drop_log(void *arg, enum log_level level, struct span text)
{
}

static struct conf *conf;

static void open_spec(struct span text)
{
    static const char *const types[] = {"inline:", "cidr:{", "unionmap:", "pipemap:", "static:"};
    struct str spec = {0}, why = {0}, value = {0};
    struct map *m = NULL;

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        str_clear(&spec);
        str_clear(&why);
        str_append_cstr(&spec, types[i]);
        /* No types that open files. */
        if (span_search(text, SPAN_LIT(":")) < 0 && span_search(text, SPAN_LIT("/")) != 0)
            str_append(&spec, text);
        if (i == 1)
            str_append_char(&spec, '}');
        if (map_open(&m, conf, str_span(&spec), &why) == 0) {
            (void)map_lookup(m, SPAN_LIT("192.0.2.1"), 0, &value);
            (void)map_lookup(m, span_take(text, 3), 0, &value);
            map_free(m);
        }
    }
    str_fini(&spec);
    str_fini(&why);
    str_fini(&value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct map_source source;
    struct map_source_entry entry;
    struct str why = {0};

    log_set_sink(drop_log, NULL);
    if (conf == NULL && conf_load_text(&conf, "/", "main.cf", SPAN_LIT(""), &why) < 0)
        __builtin_trap();
    for (int kind = MAP_SOURCE_TABLE; kind <= MAP_SOURCE_ALIAS; kind++) {
        map_source_init(&source, (enum map_source_kind)kind, "fuzz", span_make(data, size));
        while (map_source_next(&source, &entry))
            if (entry.key.n == 0 || entry.value.n == 0)
                abort();
        map_source_fini(&source);
    }
    open_spec(span_make(data, size));
    str_fini(&why);
    return 0;
}
