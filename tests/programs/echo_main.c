/*
 * echo_main.c: a service for tests of master: answers lines of text.
 *
 *     pid, generation-word, uid   one fact per line: "word VALUE"
 *     crash                       dies by SIGSEGV, with the client in the crash note
 *     hang                        never waits again
 *     exit N                      ends the process with that status
 *     burn MS                     uses the processor
 *     chatter MS                  talks to master without a pause
 *     open PATH | socket          tries what the sandbox forbids: "errno N"
 *     exec                        tries what the sandbox kills for
 *     log TEXT                    writes a log line
 *     quit
 * Anything else comes back as it was.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "service/control.h"
#include "service/inherit.h"
#include "service/service.h"

static void reply(int fd, const char *text)
{
    if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0)
        return;
}

static void burn(long ms)
{
    int64_t end = clock_mono_ms() + ms;

    while (clock_mono_ms() < end)
        task_breathe();
}

static void chatter(long ms)
{
    int64_t end = clock_mono_ms() + ms;
    struct pollfd master = {.fd = INHERIT_CONTROL_FD, .events = POLLOUT};

    while (clock_mono_ms() < end) {
        if (control_send(master.fd, CONTROL_LIMITED, UINT32_MAX, NULL) < 0)
            poll(&master, 1, 10);
    }
}

static void crash(void)
{
    signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
}

static int try_open(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    return fd < 0 ? errno : 0;
}

static bool obey(int fd, char *line)
{
    char text[1200];
    static char name[] = "true";
    char *const arguments[] = {name, NULL};

    if (strcmp(line, "quit") == 0)
        return false;
    if (strcmp(line, "crash") == 0)
        crash();
    if (strcmp(line, "hang") == 0) {
        for (volatile bool is_hanging = true; is_hanging;)
            ;
    }
    if (strncmp(line, "exit ", 5) == 0)
        _exit(atoi(line + 5));
    if (strncmp(line, "burn ", 5) == 0)
        burn(atol(line + 5));
    if (strncmp(line, "chatter ", 8) == 0)
        chatter(atol(line + 8));
    if (strncmp(line, "log ", 4) == 0)
        log_info("%s", line + 4);
    if (strcmp(line, "exec") == 0)
        execv("/bin/true", arguments);
    if (strcmp(line, "pid") == 0)
        snprintf(text, sizeof(text), "pid %ld\n", (long)getpid());
    else if (strcmp(line, "uid") == 0)
        snprintf(text, sizeof(text), "uid %ld\n", (long)getuid());
    else if (strcmp(line, "word") == 0)
        snprintf(text, sizeof(text), "word %s\n", conf_string(service_conf(), "mail_name"));
    else if (strcmp(line, "limit") == 0)
        snprintf(text, sizeof(text), "limit %u\n", service_client_limit());
    else if (strncmp(line, "open ", 5) == 0)
        snprintf(text, sizeof(text), "errno %d\n", try_open(line + 5));
    else if (strcmp(line, "socket") == 0)
        snprintf(text, sizeof(text), "errno %d\n", socket(AF_INET, SOCK_STREAM, 0) < 0 ? errno : 0);
    else
        snprintf(text, sizeof(text), "%s\n", line);
    reply(fd, text);
    return true;
}

static void serve(struct service_client *client)
{
    struct str note = {0};
    char line[1024];
    struct task_fd fd;
    bool go_on = true;

    str_append_cstr(&note, "unknown[");
    if (client->peer != NULL)
        net_address_print(&note, client->peer);
    str_append_char(&note, ']');
    task_set_note(str_span(&note), SPAN_LIT("4XTest0queue"));
    task_fd_init(&fd, client->fd);
    reply(client->fd, "hello\n");
    while (go_on) {
        ssize_t n = recv(client->fd, line, sizeof(line) - 1, 0);

        if (n < 0 && errno == EAGAIN) {
            if (task_fd_wait(&fd, TASK_READABLE, DEADLINE_NONE) < 0)
                break;
            continue;
        }
        if (n <= 0)
            break;
        line[n] = '\0';
        line[strcspn(line, "\r\n")] = '\0';
        go_on = obey(client->fd, line);
    }
    task_fd_fini(&fd);
    fd_close(&client->fd);
    str_fini(&note);
}

static void woken(void)
{
    log_info("woken up");
}

static const struct service echo_service = {
    .name = "echo",
    .kind = SERVICE_CLIENTS,
    .user_parameter = "waypost_smtpd_user",
    .is_chrooted = true,
    .on_client = serve,
    .on_wakeup = woken,
};

int main(int argc, char **argv)
{
    return service_main(argc, argv, &echo_service);
}
