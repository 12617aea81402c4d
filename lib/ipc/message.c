/* Building and reading messages. */
#include "ipc/message.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"

/* --- building --- */

static void set_error(struct ipc_out *m, int error)
{
    if (m->error == 0)
        m->error = error;
}

void ipc_begin(struct ipc_out *m, const char *kind)
{
    size_t n = strlen(kind);

    str_clear(&m->text);
    m->content = SPAN_NONE;
    m->text.max = IPC_ATTRIBUTES_MAX;
    while (m->fd_count > 0)
        fd_close(&m->fds[--m->fd_count]);
    m->values = 0;
    m->error = 0;
    m->kind[0] = '\0';
    if (!ipc_name_is_valid(span_make(kind, n)))
        set_error(m, ERR_SYNTAX);
    else
        memcpy(m->kind, kind, n + 1);
}

/* Count a value and append its name. */
static bool begin_value(struct ipc_out *m, const char *name)
{
    struct span text = span_cstr(name);

    if (m->error != 0)
        return false;
    if (!ipc_name_is_valid(text))
        set_error(m, ERR_SYNTAX);
    else if (m->values >= IPC_VALUES_MAX)
        set_error(m, ERR_LIMIT);
    else
        str_append(&m->text, text);
    m->values++;
    return m->error == 0;
}

static void end_value(struct ipc_out *m)
{
    if (str_append_char(&m->text, '\n') < 0)
        set_error(m, str_error(&m->text));
}

void ipc_put(struct ipc_out *m, const char *name, struct span value)
{
    if (!begin_value(m, name))
        return;
    str_append_char(&m->text, '=');
    str_append_u64(&m->text, value.n);
    str_append_char(&m->text, ':');
    str_append(&m->text, value);
    end_value(m);
}

void ipc_put_u64(struct ipc_out *m, const char *name, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    ipc_put(m, name, span_make(digits + at, sizeof(digits) - at));
}

void ipc_put_i64(struct ipc_out *m, const char *name, int64_t value)
{
    char digits[21];
    size_t at = sizeof(digits);
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

    do {
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0)
        digits[--at] = '-';
    ipc_put(m, name, span_make(digits + at, sizeof(digits) - at));
}

void ipc_put_bool(struct ipc_out *m, const char *name, bool value)
{
    ipc_put(m, name, value ? SPAN_LIT("yes") : SPAN_LIT("no"));
}

void ipc_put_content(struct ipc_out *m, struct span content)
{
    if (content.n > IPC_CONTENT_MAX)
        set_error(m, ERR_TOO_LONG);
    else if (m->content.n > 0)
        set_error(m, ERR_LIMIT);
    else
        m->content = content;
}

void ipc_put_fd(struct ipc_out *m, const char *name, int fd)
{
    int copy;

    if (m->error != 0)
        return;
    if (m->fd_count >= IPC_FDS_MAX) {
        set_error(m, ERR_LIMIT);
        return;
    }
    copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0) {
        set_error(m, -errno);
        return;
    }
    m->fds[m->fd_count++] = copy;
    if (!begin_value(m, name))
        return;
    str_append_char(&m->text, '@');
    end_value(m);
}

void ipc_out_copy(struct ipc_out *m, const struct ipc_out *from)
{
    ENSURE(from->fd_count == 0);
    ipc_begin(m, from->kind);
    set_error(m, from->error);
    if (str_set(&m->text, str_span(&from->text)) < 0)
        set_error(m, str_error(&m->text));
    m->content = from->content;
    m->values = from->values;
}

void ipc_out_fini(struct ipc_out *m)
{
    while (m->fd_count > 0)
        fd_close(&m->fds[--m->fd_count]);
    str_fini(&m->text);
    m->content = SPAN_NONE;
    m->values = 0;
    m->error = 0;
}

void ipc_begin_reply(struct ipc_out *m, const struct ipc_in *request)
{
    struct span id;

    ipc_begin(m, "reply");
    if (ipc_get(request, "id", &id) == 0)
        ipc_put(m, "id", id);
}

/* --- reading --- */

struct ipc_in *ipc_in_new(const struct ipc_frame *frame, const int *fds)
{
    size_t size = frame->kind.n + frame->values.n + frame->content.n;
    struct ipc_in *m = malloc(sizeof(*m) + size);
    char *to;

    if (m == NULL) {
        for (size_t i = 0; i < frame->descriptors; i++) {
            int fd = fds[i];

            fd_close(&fd);
        }
        return NULL;
    }
    to = m->data;
    m->kind = span_make(memcpy(to, frame->kind.p, frame->kind.n), frame->kind.n);
    to += frame->kind.n;
    m->values = span_make(memcpy(to, frame->values.p, frame->values.n), frame->values.n);
    to += frame->values.n;
    m->content = span_make(memcpy(to, frame->content.p, frame->content.n), frame->content.n);
    m->fd_count = frame->descriptors;
    for (size_t i = 0; i < m->fd_count; i++)
        m->fds[i] = fds[i];
    return m;
}

void ipc_in_free(struct ipc_in *m)
{
    if (m == NULL)
        return;
    for (size_t i = 0; i < m->fd_count; i++)
        fd_close(&m->fds[i]);
    free(m);
}

bool ipc_is(const struct ipc_in *m, const char *kind)
{
    return span_eq(m->kind, span_cstr(kind));
}

bool ipc_walk(const struct ipc_in *m, struct ipc_walk *w)
{
    return ipc_value_next(m->values, w);
}

int ipc_get(const struct ipc_in *m, const char *name, struct span *value)
{
    struct span wanted = span_cstr(name);
    struct ipc_walk w = {0};

    while (ipc_walk(m, &w)) {
        if (!w.is_descriptor && span_eq(w.name, wanted)) {
            *value = w.value;
            return 0;
        }
    }
    return ERR_NOT_FOUND;
}

int ipc_get_u64(const struct ipc_in *m, const char *name, uint64_t *value)
{
    struct span text;
    int rc = ipc_get(m, name, &text);

    return rc < 0 ? rc : span_to_u64(text, value);
}

int ipc_get_i64(const struct ipc_in *m, const char *name, int64_t *value)
{
    struct span text;
    int rc = ipc_get(m, name, &text);

    return rc < 0 ? rc : span_to_i64(text, value);
}

int ipc_get_bool(const struct ipc_in *m, const char *name, bool *value)
{
    struct span text;
    int rc = ipc_get(m, name, &text);

    if (rc < 0)
        return rc;
    *value = span_eq(text, SPAN_LIT("yes"));
    return *value || span_eq(text, SPAN_LIT("no")) ? 0 : ERR_SYNTAX;
}

struct span ipc_content(const struct ipc_in *m)
{
    return m->content;
}

int ipc_take_fd(struct ipc_in *m, const char *name, int *fd)
{
    struct span wanted = span_cstr(name);
    struct ipc_walk w = {0};
    size_t index = 0;

    while (ipc_walk(m, &w)) {
        if (!w.is_descriptor)
            continue;
        if (span_eq(w.name, wanted) && m->fds[index] >= 0) {
            *fd = m->fds[index];
            m->fds[index] = -1;
            return 0;
        }
        index++;
    }
    return ERR_NOT_FOUND;
}
