#include "base/error.h"

#include <stdio.h>
#include <string.h>

static const char *const own_texts[] = {
    "end of stream",
    "too long",
    "syntax error",
    "protocol violation",
    "corrupt data",
    "format or protocol version is too new",
    "not found",
    "exists already",
    "limit reached",
    "temporarily not available",
    "TLS failure",
    "not permitted",
    "read-only after a failed sync",
    "closed",
    "truncated stream",
    "not supported",
};

const char *error_text(int code)
{
    static _Thread_local char unknown[48];
    size_t own = (size_t)(ERR_EOF - code);

    if (code == 0)
        return "success";
    if (code <= ERR_EOF && own < sizeof(own_texts) / sizeof(own_texts[0]))
        return own_texts[own];
    if (code < 0 && code > ERR_EOF) {
        const char *text = strerrordesc_np(-code);
        if (text != NULL)
            return text;
    }
    snprintf(unknown, sizeof(unknown), "unknown error %d", code);
    return unknown;
}
