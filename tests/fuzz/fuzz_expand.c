/* Values with references: the first line is the value, the rest is what any
 * name stands for. */
#include "conf/expand.h"

static bool lookup(void *arg, struct span name, struct span *value)
{
    *value = *(struct span *)arg;
    return name.n % 2 == 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = span_make(data, size), text;
    struct expand_source source = {lookup, &rest, false};
    struct str out = {0}, why = {0};

    span_next(&rest, '\n', &text);
    (void)expand_text(&out, text, &source, &why);
    str_fini(&out);
    str_fini(&why);
    return 0;
}
