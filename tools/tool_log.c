/* tool_log.c: see tool_log.h. */
#include "tools/tool_log.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"

static void print_line(void *name, enum log_level level, struct span text)
{
    fflush(stdout);
    fprintf(stderr, "%s: %.*s\n", (const char *)name, SPAN_ARG(text));
}

const char *tool_log_init(const char *argv0)
{
    const char *slash = strrchr(argv0, '/');
    const char *name = slash != NULL ? slash + 1 : argv0;

    log_set_tag(name);
    log_set_sink(print_line, (void *)name);
    return name;
}
