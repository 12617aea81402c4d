/* list.c: several tables in order. */
#include <errno.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/conf.h"
#include "map/type.h"

struct map_list {
    ARRAY(struct map *) maps;
};

int map_list_open_text(struct map_list **out, const struct conf *c, struct span text,
                       struct str *why)
{
    struct map_list *l = NEW(struct map_list);
    struct span word;
    int error = l == NULL ? -ENOMEM : 0;

    while (error == 0 && map_next_word(&text, &word)) {
        struct map **slot = array_push(&l->maps);

        error = slot == NULL ? -ENOMEM : map_open(slot, c, word, why);
        if (error < 0 && slot != NULL)
            l->maps.len--;
    }
    if (error < 0) {
        map_list_free(l);
        return error;
    }
    *out = l;
    return 0;
}

int map_list_open(struct map_list **out, const struct conf *c, const char *parameter,
                  struct str *why)
{
    struct str reason = {0};
    int error = map_list_open_text(out, c, span_cstr(conf_string(c, parameter)), &reason);

    if (error < 0)
        str_printf(why, "%s: %s", parameter,
                   reason.len > 0 ? str_cstr(&reason) : error_text(error));
    str_fini(&reason);
    return error;
}

void map_list_free(struct map_list *l)
{
    if (l == NULL)
        return;
    for (size_t i = 0; i < l->maps.len; i++)
        map_free(l->maps.items[i]);
    array_free(&l->maps);
    free(l);
}

int map_list_find(const struct map_list *l, struct span key, unsigned flags, struct str *value)
{
    str_clear(value);
    for (size_t i = 0; i < l->maps.len; i++) {
        const struct map *m = l->maps.items[i];
        int error = map_lookup(m, key, flags, value);

        if (error == ERR_NOT_FOUND)
            continue;
        if (error == 0 && value->len == 0) {
            log_warn(
                "table %s: the value of \"%.*s\" is empty; a key that is not wanted must not be "
                "in the table",
                map_name(m), SPAN_ARG(key));
            return ERR_TEMPORARY;
        }
        return error;
    }
    return ERR_NOT_FOUND;
}
