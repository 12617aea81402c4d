/* proxy.c: both sides of proxied look-ups; see broker.h. */
#include <errno.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/conf.h"
#include "map/broker.h"
#include "map/type.h"

/* --- client: the type proxy --- */

/* One connection of the process: from the first look-up until the last proxied
 * table is closed. */
static struct ipc_client *broker;
static unsigned table_count;

struct proxy {
    char *table;
    int64_t timeout_ms;
};

static int proxy_open(struct map *m, const struct conf *c, struct span name, struct str *why)
{
    struct proxy *p = NEW(struct proxy);

    m->data = p;
    if (p == NULL)
        return -ENOMEM;
    table_count++;
    p->table = mem_strdup(name);
    if (p->table == NULL)
        return -ENOMEM;
    p->timeout_ms = conf_ms(c, "broker_timeout");
    if (span_find(name, ':') <= 0) {
        str_printf(why, "table %s: need proxy:type:name", m->spec);
        return ERR_SYNTAX;
    }
    return 0;
}

static void proxy_close(struct map *m)
{
    struct proxy *p = m->data;

    if (p == NULL)
        return;
    if (--table_count == 0) {
        ipc_client_free(broker);
        broker = NULL;
    }
    free(p->table);
    free(p);
}

static int read_reply(const struct ipc_in *reply, struct str *value)
{
    struct span result, text;

    if (ipc_get(reply, "result", &result) < 0)
        return ERR_PROTOCOL;
    if (span_eq(result, SPAN_LIT("none")))
        return ERR_NOT_FOUND;
    if (!span_eq(result, SPAN_LIT("found")))
        return ERR_TEMPORARY;
    return ipc_get(reply, "value", &text) < 0 ? ERR_PROTOCOL : str_append(value, text);
}

static int proxy_lookup(const struct map *m, struct span key, struct str *value)
{
    const struct proxy *p = m->data;
    struct ipc_out request = {0};
    struct ipc_in *reply = NULL;
    int error;

    if (task_self() == NULL) {
        log_warn("table %s: proxied tables are for services, not for this program", m->spec);
        return ERR_TEMPORARY;
    }
    if (broker == NULL)
        broker = ipc_client_new(BROKER_SOCKET, BROKER_PROTOCOL, BROKER_VERSION);
    if (broker == NULL)
        return -ENOMEM;
    ipc_begin(&request, "lookup");
    ipc_put(&request, "table", span_cstr(p->table));
    ipc_put(&request, "key", key);
    error = ipc_client_ask(broker, &request, &reply, deadline_in(p->timeout_ms));
    if (error == 0)
        error = read_reply(reply, value);
    if (error < 0 && error != ERR_NOT_FOUND && error != -ECANCELED)
        log_warn("table %s: lookup error: %s", m->spec, error_text(error));
    ipc_in_free(reply);
    ipc_out_fini(&request);
    return error;
}

const struct map_type map_type_proxy = {
    "proxy", false, true, proxy_open, proxy_lookup, proxy_close,
};

/* --- server --- */

struct broker_tables {
    ARRAY(struct map *) maps;
};

static struct map *find_table(const struct broker_tables *t, struct span name)
{
    for (size_t i = 0; i < t->maps.len; i++)
        if (span_eq(name, span_cstr(map_name(t->maps.items[i]))))
            return t->maps.items[i];
    return NULL;
}

static int add_table(struct broker_tables *t, const struct conf *c, struct span name,
                     struct str *why)
{
    struct map **slot;
    int error;

    if (find_table(t, name) != NULL)
        return 0;
    slot = array_push(&t->maps);
    if (slot == NULL)
        return -ENOMEM;
    error = map_open(slot, c, name, why);
    if (error < 0)
        t->maps.len--;
    return error;
}

int broker_tables_open(struct broker_tables **out, const struct conf *c, struct str *why)
{
    struct broker_tables *t = NEW(struct broker_tables);
    struct span rest = span_cstr(conf_string(c, "proxy_read_maps")), word;
    int error = t == NULL ? -ENOMEM : 0;

    while (error == 0 && map_next_word(&rest, &word))
        if (span_starts(word, SPAN_LIT("proxy:")))
            error = add_table(t, c, span_drop(word, 6), why);
    /* Who names them without proxy: means them all the same (map_ask_broker). */
    if (error == 0)
        error = add_table(t, c, SPAN_LIT("unix:passwd.byname"), why);
    if (error == 0)
        error = add_table(t, c, SPAN_LIT("unix:group.byname"), why);
    if (error < 0) {
        broker_tables_free(t);
        return error;
    }
    *out = t;
    return 0;
}

void broker_tables_free(struct broker_tables *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < t->maps.len; i++)
        map_free(t->maps.items[i]);
    array_free(&t->maps);
    free(t);
}

int broker_answer_lookup(const struct broker_tables *t, const struct ipc_in *request,
                         struct ipc_out *reply)
{
    struct span table, key;
    struct str value = {0};
    const struct map *m;
    int error;

    if (ipc_get(request, "table", &table) < 0 || ipc_get(request, "key", &key) < 0 ||
        table.n > MAP_KEY_MAX || key.n > MAP_KEY_MAX)
        return ERR_PROTOCOL;
    m = find_table(t, table);
    if (m == NULL)
        log_warn("request for table \"%.*s\" that proxy_read_maps does not list",
                 SPAN_ARG(span_take(table, 100)));
    error = m == NULL ? ERR_DENIED : map_lookup(m, key, 0, &value);
    ipc_begin_reply(reply, request);
    ipc_put(reply, "result",
            error == 0               ? SPAN_LIT("found")
            : error == ERR_NOT_FOUND ? SPAN_LIT("none")
                                     : SPAN_LIT("error"));
    if (error == 0)
        ipc_put(reply, "value", str_span(&value));
    str_fini(&value);
    return reply->error;
}
