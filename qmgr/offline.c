#include "qmgr/offline.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "conf/conf.h"
#include "qmgr/admin.h"
#include "qmgr/ledger.h"
#include "qmgr/tasks.h"
#include "service/privileges.h"

static int queue_fd = -1, status = 1;

static void run(void *arg)
{
    struct str why = {0};

    if (ledger_open(queue_fd, &why) < 0) {
        log_error("%s", str_cstr(&why));
    } else {
        tasks_init();
        admin_serve(0);
        ledger_reap();
        ledger_keep_entries();
        ledger_close();
        status = 0;
    }
    str_fini(&why);
}

int offline_main(const char *config_directory)
{
    struct task_options options = {.has_no_watchdog = true};
    struct str why = {0};
    struct conf *conf;

    log_set_tag("postfix/qmgr");
    log_set_level(LOG_LEVEL_WARN);
    if (conf_load(&conf, config_directory, &why) < 0)
        fatal("%s", str_cstr(&why));
    queue_fd = open(conf_string(conf, "queue_directory"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (queue_fd < 0)
        fatal("cannot open %s: %s", conf_string(conf, "queue_directory"), error_text(-errno));
    /* What is written here belongs to the queue's owner. */
    struct stat st;
    if (geteuid() == 0 && fstatat(queue_fd, "queue", &st, 0) == 0 && st.st_uid != 0) {
        struct identity owner = {.uid = st.st_uid, .gid = st.st_gid};

        if (identity_become(&owner, &why) < 0)
            fatal("%s", str_cstr(&why));
    }
    if (task_runtime_init(&options) < 0 || task_runtime_run(run, NULL) < 0)
        fatal("no event loop");
    task_runtime_fini();
    return status;
}
