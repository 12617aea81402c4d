#include "service/control.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/str.h"

static const struct {
    const char *word;
    bool has_number, has_text;
} words[CONTROL_WORDS] = {
    [CONTROL_LIMIT] = {"limit", .has_number = true},
    [CONTROL_REFUSE] = {"refuse", .has_text = true},
    [CONTROL_WAKEUP] = {"wakeup", .has_number = false},
    [CONTROL_DRAIN] = {"drain", .has_number = false},
    [CONTROL_READY] = {"ready", .has_number = false},
    [CONTROL_FAILED] = {"failed", .has_text = true},
    [CONTROL_LIMITED] = {"limited", .has_number = true},
    [CONTROL_FULL] = {"full", .has_number = false},
    [CONTROL_BYE] = {"bye", .has_text = true},
};

int control_decode(struct span packet, struct control_message *message)
{
    ptrdiff_t blank = span_find(packet, ' ');
    struct span word = blank < 0 ? packet : span_take(packet, (size_t)blank);
    struct span rest = blank < 0 ? SPAN_NONE : span_drop(packet, (size_t)blank + 1);

    *message = (struct control_message){.word = CONTROL_UNKNOWN};
    for (int i = CONTROL_UNKNOWN + 1; i < CONTROL_WORDS; i++) {
        if (!span_eq(word, span_cstr(words[i].word)))
            continue;
        message->word = i;
        if (words[i].has_number)
            return span_to_u32(rest, &message->number);
        if (words[i].has_text)
            message->text = rest;
        return 0;
    }
    return 0;
}

int control_send(int fd, enum control_word word, uint32_t number, const char *text)
{
    struct str packet = {.max = CONTROL_PACKET_MAX};
    int code = 0;

    str_append_cstr(&packet, words[word].word);
    if (words[word].has_number)
        str_printf(&packet, " %u", number);
    if (words[word].has_text && text != NULL) {
        str_append_char(&packet, ' ');
        str_append(&packet, span_take(span_cstr(text), CONTROL_PACKET_MAX - packet.len));
    }
    if (send(fd, str_cstr(&packet), packet.len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        code = -errno;
    str_fini(&packet);
    return code;
}

int control_receive(int fd, char *buf, struct control_message *message)
{
    ssize_t n;

    do {
        n = recv(fd, buf, CONTROL_PACKET_MAX, MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == ECONNRESET ? ERR_EOF : -errno;
    if (n == 0)
        return ERR_EOF;
    return control_decode(span_make(buf, (size_t)n), message);
}
