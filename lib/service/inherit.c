#include "service/inherit.h"

#include <string.h>

#include "base/error.h"

/* One option with its value. */
static int take_option(struct inherit *out, char option, const char *value)
{
    switch (option) {
    case 'n':
        out->entry = value;
        return 0;
    case 't':
        out->type = value;
        return 0;
    case 'c':
        out->config_directory = value;
        return 0;
    case 'L':
        out->listen = value;
        return 0;
    case 's':
        if (out->listener_count == INHERIT_LISTENERS_MAX)
            return ERR_SYNTAX;
        out->listeners[out->listener_count++] = value;
        return 0;
    case 'r':
        if (out->refused_count == INHERIT_REFUSED_MAX)
            return ERR_SYNTAX;
        out->refused[out->refused_count++] = value;
        return 0;
    case 'l':
        return span_to_u32(span_cstr(value), &out->limit);
    case 'o':
        if (out->override_count == INHERIT_OVERRIDES_MAX || strchr(value, '=') == NULL)
            return ERR_SYNTAX;
        out->overrides[out->override_count++] = value;
        return 0;
    default:
        return ERR_SYNTAX;
    }
}

int inherit_parse(struct inherit *out, int argc, char **argv, struct str *why)
{
    int i = 1;

    *out = (struct inherit){.limit = UINT32_MAX, .type = "inet"};
    /* By hand: getopt permutes, and a service's arguments are not options. */
    for (; i < argc && argv[i][0] == '-' && argv[i][1] != '\0'; i++) {
        const char *option = argv[i], *value = option + 2;

        if (strcmp(option, "--") == 0) {
            i++;
            break;
        }
        if (strcmp(option, "-T") == 0) {
            out->is_trial = true;
            continue;
        }
        if (option[1] == 'v') {
            out->verbosity += (uint32_t)strspn(option + 1, "v");
            continue;
        }
        if (*value == '\0') {
            if (i + 1 >= argc) {
                str_printf(why, "option %s needs a value", option);
                return ERR_SYNTAX;
            }
            value = argv[++i];
        }
        if (take_option(out, option[1], value) < 0) {
            str_printf(why, "bad option or value: -%c %s", option[1], value);
            return ERR_SYNTAX;
        }
    }
    out->arguments = argv + i;
    return 0;
}
