/* log_record.c: how a log line looks between a process and postlogd. */
#include "base/error.h"
#include "service/log_channel.h"

int log_record_encode(struct str *out, const struct log_record *record)
{
    str_printf(out, "%d %lld ", (int)record->level, (long long)record->wall_us);
    str_append(out, record->tag);
    str_append_char(out, '\t');
    str_append(out, record->text);
    return str_append_char(out, '\n');
}

int log_record_decode(struct span *packet, struct log_record *record)
{
    struct span line, level, wall;
    uint32_t number;
    ptrdiff_t end = span_find(*packet, '\n');

    if (packet->n == 0)
        return ERR_EOF;
    if (end < 0)
        return ERR_SYNTAX;
    line = span_take(*packet, (size_t)end);
    *packet = span_drop(*packet, (size_t)end + 1);
    if (!span_next(&line, ' ', &level) || !span_next(&line, ' ', &wall) ||
        !span_next(&line, '\t', &record->tag) || line.p == NULL)
        return ERR_SYNTAX;
    if (span_to_u32(level, &number) < 0 || number > LOG_LEVEL_PANIC ||
        span_to_i64(wall, &record->wall_us) < 0)
        return ERR_SYNTAX;
    record->level = (enum log_level)number;
    record->text = line;
    return 0;
}
