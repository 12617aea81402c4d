/* newaliases_main.c: newaliases(1): postalias for every file of alias_database. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "conf/param.h"
#include "tools/table.h"
#include "tools/tool_log.h"

int main(int argc, char **argv)
{
    const char *directory = getenv("MAIL_CONFIG");
    struct table_options o = {.kind = MAP_SOURCE_ALIAS};
    struct conf *conf = NULL;
    struct str why = {0};
    struct span rest, word;
    int option, status = 0;

    tool_log_init(argv[0]);
    if (directory == NULL)
        directory = param_find(SPAN_LIT("config_directory"))->fallback;
    while ((option = getopt(argc, argv, "C:c:")) != -1) {
        if (option != 'C' && option != 'c') {
            fprintf(stderr, "usage: newaliases [-C dir]\n");
            return 1;
        }
        directory = optarg;
    }
    if (conf_load_lenient(&conf, directory, NULL, 0, &why) < 0)
        fatal("%s", str_cstr(&why));
    o.conf = conf;
    rest = span_cstr(conf_string(conf, "alias_database"));
    while (span_token(&rest, ", \t\r\n", &word)) {
        char *spec = mem_strdup_or_die(word);

        status |= table_create(&o, spec);
        free(spec);
    }
    conf_free(conf);
    str_fini(&why);
    return status;
}
