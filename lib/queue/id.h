/*
 * id.h: queue ids in Postfix's long form (enable_long_queue_ids = yes): seconds
 * in 6 or more and microseconds in 4 digits of base 52, "z", and a number in
 * base 51. The number comes from the queue's journal and is never given twice;
 * it alone identifies a message.
 */
#ifndef QUEUE_ID_H
#define QUEUE_ID_H

#include <stdint.h>

#include "base/span.h"

enum { QUEUE_ID_TEXT_MAX = 32 }; /* octets of the text form, its NUL included */

struct queue_id {
    uint64_t number; /* 0: none */
    int64_t time_us; /* wall clock when the id was taken */
};

/* Writes the text form, NUL-terminated; returns text. */
const char *queue_id_format(char text[QUEUE_ID_TEXT_MAX], struct queue_id id);
/* 0 or ERR_SYNTAX; accepts exactly what queue_id_format can write. */
int queue_id_parse(struct span text, struct queue_id *id);

#endif
