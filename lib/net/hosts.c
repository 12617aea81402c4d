/* hosts(5), read once, before the sandbox. */
#include <errno.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/error.h"
#include "base/fd.h"
#include "net/dns.h"

enum { HOSTS_MAX = 1024 * 1024 };

struct host_entry {
    struct net_address address;
    char *name;
    bool is_first;
};

struct hosts {
    ARRAY(struct host_entry) entries;
};

void hosts_free(struct hosts *h)
{
    if (h == NULL)
        return;
    for (size_t i = 0; i < h->entries.len; i++)
        free(h->entries.items[i].name);
    array_free(&h->entries);
    free(h);
}

static int add_line(struct hosts *h, struct span line)
{
    ptrdiff_t comment = span_find(line, '#');
    struct net_address address;
    struct span word;
    bool is_first = true;

    if (comment >= 0)
        line = span_take(line, (size_t)comment);
    if (!span_token(&line, " \t\r", &word) || net_address_parse(word, &address) < 0)
        return 0;
    while (span_token(&line, " \t\r", &word)) {
        struct host_entry *e = array_push(&h->entries);

        if (e == NULL)
            return -ENOMEM;
        *e = (struct host_entry){address, mem_strdup(word), is_first};
        if (e->name == NULL)
            return -ENOMEM;
        is_first = false;
    }
    return 0;
}

int hosts_read(struct hosts **out, const char *path)
{
    struct hosts *h = NEW(struct hosts);
    struct str text = {0};
    struct span rest, line;
    int rc = h == NULL ? -ENOMEM : file_read(path, &text, HOSTS_MAX);

    *out = NULL;
    if (rc == -ENOENT)
        rc = 0;
    rest = str_span(&text);
    while (rc >= 0 && span_next(&rest, '\n', &line))
        rc = add_line(h, line);
    str_fini(&text);
    if (rc < 0) {
        hosts_free(h);
        return rc;
    }
    *out = h;
    return 0;
}

size_t hosts_find(const struct hosts *h, const char *name, struct net_address *found, size_t max)
{
    size_t n = 0;

    for (size_t i = 0; i < h->entries.len && n < max; i++) {
        if (span_ieq(span_cstr(h->entries.items[i].name), span_cstr(name)))
            found[n++] = h->entries.items[i].address;
    }
    return n;
}

const char *hosts_find_name(const struct hosts *h, const struct net_address *address)
{
    for (size_t i = 0; i < h->entries.len; i++) {
        const struct host_entry *e = &h->entries.items[i];

        if (e->is_first && net_address_eq(&e->address, address))
            return e->name;
    }
    return NULL;
}
