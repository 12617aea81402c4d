#include "master/usage.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"

/* A file of /proc as text; false when there is none. */
static bool read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return false;
    n = read(fd, text, size - 1);
    fd_close(&fd);
    if (n <= 0)
        return false;
    text[n] = '\0';
    return true;
}

uint64_t usage_cpu_ticks(pid_t pid)
{
    char path[64], text[512];
    unsigned long user = 0, system = 0;
    const char *fields;

    snprintf(path, sizeof(path), "/proc/%ld/task/%ld/stat", (long)pid, (long)pid);
    if (!read_text(path, text, sizeof(text)))
        return 0;
    /* The name in parentheses may hold anything: the rest is behind the last one. */
    fields = strrchr(text, ')');
    if (fields == NULL || sscanf(fields + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                                 &user, &system) != 2)
        return 0;
    return (uint64_t)user + system;
}

uint64_t usage_resident_kib(pid_t pid)
{
    char path[64], text[128];
    unsigned long size = 0, resident = 0;

    snprintf(path, sizeof(path), "/proc/%ld/statm", (long)pid);
    if (!read_text(path, text, sizeof(text)) || sscanf(text, "%lu %lu", &size, &resident) != 2)
        return 0;
    return resident * (uint64_t)(sysconf(_SC_PAGESIZE) / 1024);
}
