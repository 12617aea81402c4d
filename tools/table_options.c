/* table_options.c: the command lines of postmap(1) and postalias(1). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "conf/param.h"
#include "tools/table.h"
#include "tools/tool_log.h"

struct command {
    struct table_options o;
    const char *directory, *query, *delete;
    bool is_dump;
};

static int usage(const char *name)
{
    fprintf(stderr,
            "usage: %s [-finNoprsuvw] [-c dir] [-d key] [-q key] [type:]file...\n"
            "  -i add from standard input   -q key look up (\"-\": keys from standard input)\n"
            "  -d key delete                -s list all entries\n",
            name);
    return 1;
}

static int read_option(struct command *c, int option)
{
    switch (option) {
    case 'c':
        c->directory = optarg;
        return 0;
    case 'd':
        c->delete = optarg;
        return 0;
    case 'f':
        c->o.keeps_case = true;
        return 0;
    case 'i':
        c->o.is_incremental = true;
        return 0;
    case 'n':
        c->o.without_nul = true;
        return 0;
    case 'N':
        c->o.without_nul = false;
        return 0;
    case 'o':
        c->o.keeps_root = true;
        return 0;
    case 'p':
        c->o.default_mode = true;
        return 0;
    case 'q':
        c->query = optarg;
        return 0;
    case 'r':
        c->o.replaces = true;
        return 0;
    case 's':
        c->is_dump = true;
        return 0;
    case 'u': /* keys and values are octets anyway */
        return 0;
    case 'v':
        log_set_level(LOG_LEVEL_DEBUG);
        return 0;
    case 'w':
        c->o.is_quiet = true;
        c->o.replaces = false;
        return 0;
    default:
        return -1;
    }
}

static int run(const struct command *c, char **specs, int count)
{
    int status = 1;

    if (c->query != NULL && strcmp(c->query, "-") == 0)
        return table_query_all(&c->o, specs, count);
    if (c->delete != NULL && strcmp(c->delete, "-") == 0)
        return table_delete_all(&c->o, specs, count);
    if (c->is_dump)
        return table_dump(&c->o, specs[0]);
    if (c->query == NULL && c->delete == NULL) {
        status = 0;
        for (int i = 0; i < count; i++)
            status |= table_create(&c->o, specs[i]);
        return status;
    }
    /* The first table that has it answers; all tables lose it. */
    for (int i = 0; i < count && (c->delete != NULL || status != 0); i++)
        status &= c->query != NULL ? table_query(&c->o, specs[i], c->query)
                                   : table_delete(&c->o, specs[i], c->delete);
    return status;
}

int table_main(int argc, char **argv, enum map_source_kind kind)
{
    const char *name = tool_log_init(argv[0]), *environment = getenv("MAIL_CONFIG");
    struct command c = {.o.kind = kind};
    struct conf *conf = NULL;
    struct str why = {0};
    int option, status;

    c.directory =
        environment != NULL ? environment : param_find(SPAN_LIT("config_directory"))->fallback;
    while ((option = getopt(argc, argv, "c:d:finNopq:rsuvw")) != -1)
        if (read_option(&c, option) < 0)
            return usage(name);
    if (optind == argc)
        return usage(name);
    if ((c.query != NULL) + (c.delete != NULL) + c.is_dump > 1) {
        log_error("specify only one of -s, -q and -d");
        return 1;
    }
    if (conf_load_lenient(&conf, c.directory, NULL, 0, &why) < 0)
        fatal("%s", str_cstr(&why));
    c.o.conf = conf;
    status = run(&c, argv + optind, argc - optind);
    conf_free(conf);
    str_fini(&why);
    return status;
}
