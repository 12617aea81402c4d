/* cmd_check.c: "waypost check": what is wrong, before a start finds out. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "conf/check.h"
#include "conf/master_cf.h"
#include "conf/param.h"
#include "map/map.h"
#include "tools/waypost.h"

enum { TRIAL_MAX = 1024 * 1024 };

static int check_settings(const struct conf *conf, const struct master_cf *master)
{
    struct conf_findings findings = {0};
    int faults = 0;

    if (conf_check(conf, master, &findings) < 0)
        fatal("out of memory");
    for (size_t i = 0; i < findings.list.len; i++) {
        const struct conf_finding *f = &findings.list.items[i];

        if (f->kind == CONF_RESTRICTS) {
            log_error("%s", str_cstr(&f->text));
            faults++;
        } else {
            log_warn("%s", str_cstr(&f->text));
        }
    }
    conf_findings_fini(&findings);
    return faults;
}

static int check_programs(const struct conf *conf, const struct master_cf *master)
{
    int faults = 0;

    for (size_t i = 0; i < master_cf_count(master); i++) {
        const struct master_entry *entry = master_cf_at(master, i);
        struct str path = {0};

        if (entry->taken_over_by != NULL) {
            /* What nobody does is a gap, not news. */
            log_at(strncmp(entry->taken_over_by, "nothing", 7) == 0 ? LOG_LEVEL_WARN
                                                                    : LOG_LEVEL_INFO,
                   "%s/master.cf, line %u: service %s: the work of %s is done by %s",
                   conf_directory(conf), entry->line, entry->name, entry->command,
                   entry->taken_over_by);
            continue;
        }
        str_printf(&path, "%s/%s", conf_string(conf, "daemon_directory"), entry->command);
        if (access(str_cstr(&path), X_OK) < 0) {
            log_error("%s/master.cf, line %u: %s: %s", conf_directory(conf), entry->line,
                      str_cstr(&path), error_text(-errno));
            faults++;
        }
        str_fini(&path);
    }
    return faults;
}

/* As root every program needs its own user; otherwise all run as the caller. */
static int check_users(const struct conf *conf)
{
    static const char *const parameters[] = {
        "waypost_smtpd_user", "waypost_queue_user",  "waypost_smtp_user",
        "waypost_store_user", "waypost_auth_user",   "waypost_login_user",
        "waypost_tls_user",   "waypost_broker_user", "waypost_log_user",
    };
    static const char *const groups[] = {"waypost_user", "setgid_group"};
    int faults = 0;

    if (geteuid() != 0)
        return 0;
    for (size_t i = 0; i < COUNT_OF(parameters); i++) {
        const char *user = conf_string(conf, parameters[i]);

        if (getpwnam(user) == NULL) {
            log_error("user %s (parameter %s) does not exist", user, parameters[i]);
            faults++;
        }
    }
    for (size_t i = 0; i < COUNT_OF(groups); i++) {
        const char *group = conf_string(conf, groups[i]);

        if (getgrnam(group) == NULL) {
            log_error("group %s (parameter %s) does not exist", group, groups[i]);
            faults++;
        }
    }
    if (faults > 0)
        log_error("install the suite's users: systemd-sysusers conf/waypost.sysusers, or "
                  "tools/install-users");
    return faults;
}

static bool is_file_table(struct span word)
{
    return span_starts(word, SPAN_LIT("hash:")) || span_starts(word, SPAN_LIT("btree:")) ||
           span_starts(word, SPAN_LIT("lmdb:"));
}

/* Opening a table says what is wrong with it, and the command that helps. *seen: the
 * tables that were looked at, each between blanks. */
static void check_table(const struct conf *conf, struct span table, struct str *seen)
{
    struct str word = {0}, why = {0};
    struct map *m = NULL;

    str_printf(&word, " %.*s ", SPAN_ARG(table));
    if (strstr(str_cstr(seen), str_cstr(&word)) == NULL) {
        str_append(seen, str_span(&word));
        if (map_open(&m, conf, table, &why) < 0)
            log_warn("%s", str_cstr(&why));
        map_free(m);
    }
    str_fini(&word);
    str_fini(&why);
}

/* Tables that Postfix left behind as Berkeley DB files, or that nobody has made: mail
 * would wait. No fault, as the start does not fail over them. */
static void check_files_of_tables(const struct conf *conf)
{
    struct str seen = {0};

    for (size_t i = 0; i < param_count(); i++) {
        const struct param *p = param_at(i);
        struct span rest, word;

        if (p->status != PARAM_HONOURED || p->type != PARAM_STRING)
            continue;
        rest = span_cstr(conf_string(conf, p->name));
        while (span_token(&rest, ", \t\r\n{}", &word)) {
            if (span_starts(word, SPAN_LIT("proxy:")))
                word = span_drop(word, 6);
            if (is_file_table(word))
                check_table(conf, word, &seen);
        }
    }
    str_fini(&seen);
}

int waypost_check(const struct waypost *w, const struct conf *conf)
{
    struct master_cf *master = NULL;
    struct str why = {0};
    int faults;

    if (master_cf_load(&master, conf, &why) < 0) {
        log_error("%s", str_cstr(&why));
        str_fini(&why);
        return 1 + check_settings(conf, NULL);
    }
    faults = check_settings(conf, master) + check_programs(conf, master) + check_users(conf);
    master_cf_free(master);
    str_fini(&why);
    return faults;
}

static pid_t exec_trial(const struct waypost *w, const struct conf *conf, int output_fd)
{
    struct str path = {0};
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    str_printf(&path, "%s/master", conf_string(conf, "daemon_directory"));
    if (dup2(output_fd, STDOUT_FILENO) >= 0)
        execl(str_cstr(&path), "master", "-c", w->config_directory, "-T", (char *)NULL);
    log_error("%s: %s", str_cstr(&path), error_text(-errno));
    _exit(127);
}

/* Every program loads what it needs: tables, certificates, keys (master(8), -T). Who may
 * not read them cannot ask. */
static int try_services(const struct waypost *w, const struct conf *conf)
{
    struct str text = {0};
    struct span rest, line;
    int ends[2], status = 0, faults = 0;
    pid_t pid;

    if (geteuid() != 0 && access(conf_string(conf, "queue_directory"), W_OK) < 0)
        return 0;
    if (pipe2(ends, O_CLOEXEC) < 0 || (pid = exec_trial(w, conf, ends[1])) < 0)
        fatal("cannot try the services: %s", error_text(-errno));
    fd_close(&ends[1]);
    (void)fd_read_file(ends[0], &text, TRIAL_MAX);
    fd_close(&ends[0]);
    if (waitpid(pid, &status, 0) < 0 || status == 0)
        goto out;
    rest = span_trim(str_span(&text));
    while (span_next(&rest, '\n', &line)) {
        log_error("%.*s", SPAN_ARG(line));
        faults++;
    }
    faults = faults > 0 ? faults : 1;
out:
    str_fini(&text);
    return faults;
}

int cmd_check(const struct waypost *w, int argc, char **argv)
{
    struct conf *conf = waypost_load(w);
    int faults = waypost_check(w, conf), failures = faults == 0 ? try_services(w, conf) : 0;

    check_files_of_tables(conf);
    if (faults > 0)
        log_error("%d fault%s: the mail system would not start", faults, faults == 1 ? "" : "s");
    else if (failures > 0)
        log_error("%d fault%s: services would not start, and a reload would be refused", failures,
                  failures == 1 ? "" : "s");
    conf_free(conf);
    return faults + failures > 0;
}
