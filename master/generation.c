/* generation.c: one reading of main.cf and master.cf. Everything is checked and
 * bound before anything of the generation before is touched. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "conf/certificates.h"
#include "conf/check.h"
#include "master/master.h"
#include "service/log_channel.h"

enum { MAIN_CF_MAX = 16 * 1024 * 1024 };

/* Always there, since services behind their walls have no other log and no other
 * way to a file; a master.cf that was written for Postfix has no line for them. */
static const struct master_entry implied_entries[] = {
    {
        .name = LOG_CHANNEL_SOCKET,
        .type = SERVICE_TYPE_UNIX_DGRAM,
        .limit = 1,
        .command = "postlogd",
    },
    {
        .name = "broker",
        .type = SERVICE_TYPE_UNIX,
        .is_private = true,
        .limit = 1,
        .command = "broker",
    },
    {
        .name = "auth",
        .type = SERVICE_TYPE_UNIX,
        .is_private = true,
        .limit = 1,
        .command = "auth",
    },
    {
        .name = "tlsproxy",
        .type = SERVICE_TYPE_UNIX,
        .is_private = true,
        .limit = -1,
        .command = "tlsproxy",
    },
};

static void free_entry(struct service_entry *entry)
{
    list_remove(&entry->link);
    array_free(&entry->listeners);
    free(entry);
}

static struct service_entry *find_entry(struct list *entries, const struct service_entry *like)
{
    LIST_FOR(item, entries)
    {
        struct service_entry *entry = LIST_ITEM(item, struct service_entry, link);

        if (strcmp(entry->config->name, like->config->name) == 0 &&
            strcmp(entry->type, like->type) == 0)
            return entry;
    }
    return NULL;
}

/* main.cf as a sealed memory file, for the processes of this generation. */
static int snapshot(const char *path, struct span text, struct str *why)
{
    int fd = memfd_create("main.cf", MFD_CLOEXEC | MFD_ALLOW_SEALING), code = -errno;

    if (fd >= 0)
        code = fd_pwrite_all(fd, text.p, text.n, 0);
    if (code == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        code = -errno;
    if (code == 0)
        return fd;
    fd_close(&fd);
    str_printf(why, "%s: cannot keep a copy: %s", path, error_text(code));
    return code;
}

struct reading {
    struct conf *conf;
    struct master_cf *master_cf;
    int config_fd;
};

static void free_reading(struct reading *r)
{
    master_cf_free(r->master_cf);
    conf_free(r->conf);
    fd_close(&r->config_fd);
}

void generation_tell(void)
{
    struct conf_findings findings = {0};

    (void)conf_check(master.conf, master.master_cf, &findings);
    for (size_t i = 0; i < findings.list.len; i++)
        log_warn("%s", str_cstr(&findings.list.items[i].text));
    conf_findings_fini(&findings);
}

/* No start when somebody relies on what this suite does not do. */
static int check_settings(const struct reading *r, struct str *why)
{
    struct conf_findings findings = {0};
    int code = conf_check(r->conf, r->master_cf, &findings);

    for (size_t i = 0; i < findings.list.len && code == 0; i++) {
        const struct conf_finding *f = &findings.list.items[i];

        if (f->kind != CONF_RESTRICTS)
            continue;
        str_set(why, str_span(&f->text));
        code = ERR_NOT_SUPPORTED;
    }
    conf_findings_fini(&findings);
    return code;
}

static int read_files(struct reading *r, struct str *why)
{
    struct str path = {0}, text = {0};
    int code;

    *r = (struct reading){.config_fd = -1};
    str_printf(&path, "%s/main.cf", master.config_directory);
    code = file_read(str_cstr(&path), &text, MAIN_CF_MAX);
    if (code < 0)
        str_printf(why, "%s: %s", str_cstr(&path), error_text(code));
    else
        code = conf_load_text(&r->conf, master.config_directory, str_cstr(&path), str_span(&text),
                              why);
    if (code == 0)
        code = master_cf_load(&r->master_cf, r->conf, why);
    if (code == 0)
        code = check_settings(r, why);
    if (code == 0) {
        code = r->config_fd = snapshot(str_cstr(&path), str_span(&text), why);
        code = code < 0 ? code : 0;
    }
    str_fini(&path);
    str_fini(&text);
    return code;
}

/* --- entries --- */

static int check_program(const struct service_entry *entry, const struct conf *conf,
                         struct str *why)
{
    struct str path = {0};
    int code = 0;

    str_printf(&path, "%s/%s", conf_string(conf, "daemon_directory"), entry->program);
    if (strchr(entry->program, '/') != NULL) {
        str_printf(why, "service %s (master.cf line %u): a command has no slash",
                   entry->config->name, entry->config->line);
        code = ERR_SYNTAX;
    } else if (access(str_cstr(&path), X_OK) < 0) {
        code = -errno;
        str_printf(why, "service %s (master.cf line %u): %s: %s", entry->config->name,
                   entry->config->line, str_cstr(&path), error_text(code));
    }
    str_fini(&path);
    return code;
}

/* Of smtpd and tlsproxy; the latter has the keys of the former, too. */
static bool has_certificate(const struct service_entry *entry, const struct conf *conf)
{
    if (strcmp(entry->program, "smtpd") == 0)
        return certificates_use_of_smtpd(conf) != TLS_USE_NONE &&
               certificates_are_named(conf, "smtpd_tls");
    return strcmp(entry->program, "tlsproxy") == 0 &&
           (certificates_are_named(conf, "tlsproxy_tls") ||
            certificates_are_named(conf, "smtpd_tls"));
}

/* -o is checked now: a process that finds a fault at its start is too late. */
static int take_overrides(struct service_entry *entry, const struct conf *conf, struct str *why)
{
    struct conf *layer = NULL;
    struct str reason = {0};
    int code = conf_overlay(&layer, conf, entry->options->overrides, entry->options->override_count,
                            &reason);

    if (code < 0)
        str_printf(why, "service %s (master.cf line %u): %s", entry->config->name,
                   entry->options->line, str_cstr(&reason));
    else
        entry->is_kept = has_certificate(entry, layer);
    conf_free(layer);
    str_fini(&reason);
    return code;
}

static void set_limits(struct service_entry *entry, const struct conf *conf)
{
    const char *name = entry->config->name;
    int64_t fallback =
        conf_is_set(conf, "default_process_limit") ? conf_int(conf, "default_process_limit") : 0;

    entry->total = limits_service(entry->config->limit, fallback, &master.machine);
    entry->client_limit = (uint32_t)conf_transport_int(conf, name, "client_limit");
    entry->process_count = (uint32_t)conf_transport_int(conf, name, "process_count");
}

static int add_entry(void *arg, const struct master_entry *config,
                     const struct master_entry *options, const char *program, struct str *why)
{
    const struct conf *conf = arg;
    struct service_entry *entry = NEW(struct service_entry);
    int code;

    if (entry == NULL)
        return -ENOMEM;
    entry->config = config;
    entry->options = options;
    entry->program = program;
    entry->type = config->type == SERVICE_TYPE_INET ? "inet" : "unix";
    list_init(&entry->children);
    list_append(&master.entries, &entry->link);
    set_limits(entry, conf);
    code = check_program(entry, conf, why);
    if (code == 0)
        code = take_overrides(entry, conf, why);
    if (code == 0)
        code = listeners_open(entry, conf, why);
    return code;
}

/* Postscreen's port is smtpd's here, with the options of the smtpd line behind it. */
static bool is_postscreen(const struct master_entry *config)
{
    return config->type == SERVICE_TYPE_INET && strcmp(config->taken_over_by, "smtpd") == 0;
}

/* What becomes of one line. */
static int take_line(const struct master_cf *m, const struct master_entry *config,
                     generation_visit_fn *visit, void *arg, struct str *why)
{
    const struct master_entry *options = config;

    if (config->taken_over_by == NULL)
        return config->type == SERVICE_TYPE_PASS ? 0
                                                 : visit(arg, config, config, config->command, why);
    if (!is_postscreen(config))
        return 0;
    options = master_cf_find(m, "smtpd", SERVICE_TYPE_PASS);
    return visit(arg, config, options != NULL ? options : config, "smtpd", why);
}

static void tell_takeovers(const struct master_cf *m)
{
    for (size_t i = 0; i < master_cf_count(m); i++) {
        const struct master_entry *config = master_cf_at(m, i);

        if (config->taken_over_by != NULL && !is_postscreen(config))
            log_info("master.cf line %u: the work of %s (%s) is done by %s", config->line,
                     config->name, config->command, config->taken_over_by);
    }
}

/* Ports do not count: tlsproxy on one of them is not what others ask. */
static bool has_local_service(const struct master_cf *m, const char *command)
{
    for (size_t i = 0; i < master_cf_count(m); i++) {
        const struct master_entry *entry = master_cf_at(m, i);
        if (strcmp(entry->command, command) == 0 && entry->type != SERVICE_TYPE_INET)
            return true;
    }
    return false;
}

int generation_visit(const struct master_cf *m, generation_visit_fn *visit, void *arg,
                     struct str *why)
{
    int code = 0;

    for (size_t i = 0; i < master_cf_count(m) && code == 0; i++)
        code = take_line(m, master_cf_at(m, i), visit, arg, why);
    for (size_t i = 0; i < COUNT_OF(implied_entries) && code == 0; i++) {
        const struct master_entry *implied = &implied_entries[i];

        if (!has_local_service(m, implied->command))
            code = visit(arg, implied, implied, implied->command, why);
    }
    return code;
}

/* --- changing over --- */

static void move_list(struct list *from, struct list *to)
{
    struct list *item;

    list_init(to);
    while ((item = list_pop(from)) != NULL)
        list_append(to, item);
}

static void mark_listeners(bool is_wanted)
{
    LIST_FOR(item, &master.listeners)
    LIST_ITEM(item, struct listener, link)->is_wanted = is_wanted;
}

static void roll_back(struct list *old)
{
    struct list *item;

    while ((item = master.entries.next) != &master.entries)
        free_entry(LIST_ITEM(item, struct service_entry, link));
    move_list(old, &master.entries);
    mark_listeners(false);
    LIST_FOR(at, &master.entries)
    {
        struct service_entry *entry = LIST_ITEM(at, struct service_entry, link);

        for (size_t i = 0; i < entry->listeners.len; i++)
            entry->listeners.items[i]->is_wanted = true;
    }
    listeners_sweep();
}

/* The new entry goes on where the old one was: its processes drain, its lessons
 * from crashes stay, and what ran runs. */
static void retire_entry(struct service_entry *old)
{
    struct service_entry *next = find_entry(&master.entries, old);

    if (next != NULL) {
        next->containment = old->containment;
        /* An admin who reloads has repaired something: try at once. */
        contain_started(&next->containment);
        next->kind = old->kind;
        next->is_contained = old->is_contained;
        next->has_waiting = !list_is_empty(&old->children);
    }
    LIST_FOR_SAFE(item, &old->children)
    child_retire(LIST_ITEM(item, struct child, link));
    free_entry(old);
}

static void set_log(const struct conf *conf)
{
    struct str tag = {0};

    str_printf(&tag, "%s/master", conf_string(conf, "syslog_name"));
    log_set_tag(str_cstr(&tag));
    str_fini(&tag);
}

static void change_over(struct reading *r, struct list *old)
{
    struct list *item;
    struct reading before = {master.conf, master.master_cf, master.config_fd};

    master.conf = r->conf;
    master.master_cf = r->master_cf;
    master.config_fd = r->config_fd;
    master.max_idle_s = (uint32_t)conf_seconds(r->conf, "max_idle");
    master.busy_permille = (uint32_t)conf_int(r->conf, "process_busy_share") * 10;
    master.throttle_ms = conf_ms(r->conf, "service_throttle_time");
    master.hang_ms = conf_ms(r->conf, "task_hang_limit");
    master.drain_ms = conf_ms(r->conf, "drain_time_limit");
    set_log(r->conf);
    mark_listeners(false);
    LIST_FOR(at, &master.entries)
    {
        struct service_entry *entry = LIST_ITEM(at, struct service_entry, link);

        for (size_t i = 0; i < entry->listeners.len; i++) {
            entry->listeners.items[i]->is_wanted = true;
            entry->listeners.items[i]->user = entry;
        }
    }
    while ((item = old->next) != old)
        retire_entry(LIST_ITEM(item, struct service_entry, link));
    listeners_sweep();
    if (before.conf != NULL)
        free_reading(&before);
    master.generation++;
}

int generation_load(struct str *why)
{
    struct reading reading;
    struct list old;
    int code = read_files(&reading, why);

    if (code < 0) {
        free_reading(&reading);
        return code;
    }
    move_list(&master.entries, &old);
    mark_listeners(false);
    code = rundir_make(reading.conf, why);
    if (code == 0 && master.generation == 0)
        tell_takeovers(reading.master_cf);
    if (code == 0)
        code = generation_visit(reading.master_cf, add_entry, reading.conf, why);
    if (code < 0) {
        roll_back(&old);
        free_reading(&reading);
        return code;
    }
    change_over(&reading, &old);
    return 0;
}

void generation_free(void)
{
    struct reading reading = {master.conf, master.master_cf, master.config_fd};
    struct list *item;

    while ((item = master.entries.next) != &master.entries)
        free_entry(LIST_ITEM(item, struct service_entry, link));
    mark_listeners(false);
    listeners_sweep();
    free_reading(&reading);
}
