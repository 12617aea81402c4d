/*
 * Disk errors: what was acknowledged stays, the journal says what it is, and goes on
 * when it can. Each life is a child, as faults are armed once for a process; needs
 * a build with --enable-faults, but for the full disk, which is a real one.
 */
#include "support_journal.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"

enum { KIND = JOURNAL_KIND_USER, BODY = 3000, SEEN_MAX = 4096, RETRY_MS = 1200 };

/* Shared by the life and its judge. */
struct life {
    unsigned commits;  /* to be made */
    unsigned failures; /* calls that failed */
    int first_error, last_error, told, free_error;
    unsigned told_count;
    bool is_accepting_at_end;
    unsigned found; /* by the next process */
    unsigned acknowledged_count;
    uint64_t acknowledged[SEEN_MAX];
};

struct scene {
    struct place *place;
    struct life *life;
    bool is_full_disk;
    const char *filler; /* full disk: a file that is removed after the first error */
};

static void on_failed(void *arg, int error)
{
    struct life *life = arg;

    life->told = error;
    life->told_count++;
}

static int commit_one(struct journal *j, struct life *life)
{
    struct journal_record record = {.kind = KIND, .count = 1, .body = place_body(7, BODY)};
    int rc = journal_commit(j, &record, 1);

    if (rc == 0 && life->acknowledged_count < SEEN_MAX)
        life->acknowledged[life->acknowledged_count++] = record.number;
    return rc;
}

static void live(void *arg)
{
    struct scene *s = arg;
    struct life *life = s->life;
    struct journal_batch_options options = {.on_failed = on_failed, .arg = life};
    struct journal_writer *writer;
    struct journal_segment_info info;
    struct journal *j;

    if (journal_writer_open(&s->place->real.disk, &s->place->queue, NULL, NULL, &writer) < 0 ||
        journal_new(writer, &options, &j) < 0)
        _exit(2);
    for (unsigned i = 0; i < life->commits; i++) {
        int rc = commit_one(j, life);

        if (rc < 0 && s->filler != NULL && unlink(s->filler) == 0)
            s->filler = NULL;
        life->failures += rc < 0;
        life->first_error = life->first_error != 0 ? life->first_error : rc;
        life->last_error = rc < 0 ? rc : life->last_error;
        if (rc < 0 && life->failures == 1)
            task_sleep(deadline_in(RETRY_MS));
    }
    life->is_accepting_at_end = commit_one(j, life) == 0;
    if (s->filler == NULL && !s->is_full_disk && journal_writer_segment(writer, 1, &info))
        life->free_error = journal_free_segment(j, info.number);
    journal_free(j);
}

static void live_with(struct place *place, struct life *life, const char *fault, const char *filler)
{
    struct scene scene = {place, life, filler != NULL, filler};
    struct task_options options = {0};

    setenv("WAYPOST_FAULT", fault, 1);
    if (task_runtime_init(&options) < 0 || task_runtime_run(live, &scene) < 0)
        _exit(3);
    task_runtime_fini();
    _exit(0);
}

static struct life *new_life(unsigned commits)
{
    struct life *life =
        mmap(NULL, sizeof(*life), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_true(life != MAP_FAILED);
    life->commits = commits;
    return life;
}

static int note_found(void *arg, const struct journal_record *record)
{
    struct life *life = arg;

    for (unsigned i = 0; record->kind == KIND && i < life->acknowledged_count; i++)
        life->found += life->acknowledged[i] == record->number;
    return 0;
}

/* Of what was acknowledged, how much the next process finds. */
static void count_found(struct place *place, struct life *life)
{
    struct journal_writer *writer;
    int status;

    pid_t pid = fork();
    if (pid == 0) {
        if (journal_writer_open(&place->real.disk, &place->queue, note_found, life, &writer) < 0)
            _exit(6);
        journal_writer_close(writer);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* --- armed faults --- */

static const struct {
    const char *fault;
    int first_error; /* of a commit; 0: none fails */
    int told;        /* to on_failed */
    bool is_accepting_at_end;
    int free_error;
    bool is_killed;
} rows[] = {
    /* A failed write or fdatasync: read-only for the rest of its life, and told so once. */
    {"journal_batch_sync:20:eio", ERR_READ_ONLY, -EIO, false, ERR_READ_ONLY, false},
    {"journal_batch_write:20:eio", ERR_READ_ONLY, -EIO, false, ERR_READ_ONLY, false},
    {"journal_batch_write:20:enospc", ERR_READ_ONLY, -ENOSPC, false, ERR_READ_ONLY, false},
    {"journal_sync:20:eio", ERR_READ_ONLY, -EIO, false, ERR_READ_ONLY, false},
    {"journal_write:20:enospc", ERR_READ_ONLY, -ENOSPC, false, ERR_READ_ONLY, false},
    /* No further segment: refused for a while, then it goes on. */
    {"journal_allocate:3:enospc", -ENOSPC, 0, true, 0, false},
    {"journal_allocate:3:eio", -EIO, 0, true, 0, false},
    {"journal_allocate:3:enospc,journal_unlink:1:eio", -ENOSPC, 0, true, 0, false},
    {"journal_sync_directory:4:eio", -EIO, 0, true, 0, false},
    /* A slot that may or may not be free is not used again. */
    {"journal_free:1:eio", 0, 0, true, -EIO, false},
    {"journal_free:1:enospc", 0, 0, true, -ENOSPC, false},
    /* Killed at these places. */
    {"journal_batch_write:30:kill", 0, 0, false, 0, true},
    {"journal_batch_sync:30:kill", 0, 0, false, 0, true},
    {"journal_allocate:3:kill", 0, 0, false, 0, true},
    {"journal_sync_directory:4:kill", 0, 0, false, 0, true},
    {"journal_free:1:kill", 0, 0, true, 0, true},
};

static void faults_lose_nothing(void **state)
{
#ifndef WAYPOST_FAULTS
    skip();
#endif
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct life *life = new_life(100);
        struct place place;
        int status;

        place_make(&place);
        pid_t pid = fork();
        if (pid == 0)
            live_with(&place, life, rows[i].fault, NULL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        print_message("%s: %u acknowledged, %u refused\n", rows[i].fault, life->acknowledged_count,
                      life->failures);
        assert_int_equal(WIFSIGNALED(status), rows[i].is_killed);
        assert_int_equal(life->first_error, rows[i].first_error);
        assert_int_equal(life->told, rows[i].told);
        assert_int_equal(life->told_count, rows[i].told != 0);
        assert_int_equal(life->is_accepting_at_end, rows[i].is_accepting_at_end);
        if (!rows[i].is_killed)
            assert_int_equal(life->free_error, rows[i].free_error);
        /* A segment that was freed took what was in it. */
        count_found(&place, life);
        if (life->free_error < 0 || (rows[i].is_killed && !rows[i].is_accepting_at_end))
            assert_int_equal(life->found, life->acknowledged_count);
        else
            assert_true(life->found > life->acknowledged_count / 2);
        place_remove(&place);
        munmap(life, sizeof(*life));
    }
}

/* --- a full disk --- */

static void fill(const char *name)
{
    static char octets[64 * 1024];
    FILE *out = fopen(name, "w");

    if (out == NULL)
        _exit(4);
    for (int i = 0; i < 12; i++)
        fwrite(octets, sizeof(octets), 1, out);
    fclose(out);
}

/* In a mount namespace of its own: 1.5 MB, half of it taken. */
static void live_on_full_disk(struct place *place, struct life *life)
{
    char filler[128];

    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", place->path, "tmpfs", 0, "size=1536k") < 0)
        _exit(77);
    close(place->dirfd);
    place->dirfd = open(place->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    disk_real_init(&place->real, place->dirfd);
    snprintf(filler, sizeof(filler), "%s/filler", place->path);
    fill(filler);
    pid_t pid = fork();
    if (pid == 0)
        live_with(place, life, "", filler);
    waitpid(pid, NULL, 0);
    count_found(place, life);
    _exit(0);
}

static void a_full_disk_refuses_and_recovers(void **state)
{
    struct life *life = new_life(250);
    struct place place;
    int status;

    place_make(&place);
    pid_t pid = fork();
    if (pid == 0)
        live_on_full_disk(&place, life);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    place_remove(&place);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip(); /* may not mount */
    assert_int_equal(status, 0);
    assert_int_equal(life->first_error, -ENOSPC);
    assert_int_equal(life->told_count, 0); /* not read-only */
    assert_true(life->is_accepting_at_end);
    assert_true(life->acknowledged_count > 150);
    assert_int_equal(life->found, life->acknowledged_count);
    munmap(life, sizeof(*life));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults_lose_nothing),
        cmocka_unit_test(a_full_disk_refuses_and_recovers),
    };

    return cmocka_run_group_tests_name("journal/faults", tests, NULL, NULL);
}
