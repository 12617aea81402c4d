/*
 * conf.h: the configuration of one process: main.cf, -o overrides, and the one
 * table of all parameters (param.h). Immutable after loading, so any thread may
 * read it.
 *
 * Look-up goes through a struct conf, which is a context: the process, or a
 * listener with its -o overrides on top. No globals.
 */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"
#include "base/str.h"

struct conf;
struct param;

/* Read DIR/main.cf. On failure *why says file, line and reason. Names that are
 * set twice are warned about in the log; what is unknown or not honoured:
 * conf_check (check.h). */
int conf_load(struct conf **out, const char *config_directory, struct str *why);
/* The same from memory; path is for messages. */
int conf_load_text(struct conf **out, const char *config_directory, const char *path,
                   struct span text, struct str *why);
/* A layer over base (which may be freed afterwards): "name=value" overrides of a
 * master.cf entry. A process puts "service_name=NAME" first, for $service_name. */
int conf_overlay(struct conf **out, const struct conf *base, const char *const *overrides,
                 size_t count, struct str *why);
/* For postconf: values that do not parse or expand are warned about in the log
 * and stay as they are written; only the file's syntax can fail. Overrides are
 * applied on top. */
int conf_load_lenient(struct conf **out, const char *config_directory, const char *const *overrides,
                      size_t count, struct str *why);
void conf_free(struct conf *c);

/* Values by name; names not in the table, or of another type, are a bug (panic).
 * Everything was range-checked at load. Strings are expanded, but for those of
 * type PARAM_RAW; borrowed until conf_free. */
const char *conf_string(const struct conf *c, const char *name);
bool conf_bool(const struct conf *c, const char *name);
int64_t conf_int(const struct conf *c, const char *name);
/* Time parameters, whatever unit they were written in. */
int64_t conf_seconds(const struct conf *c, const char *name);
int64_t conf_ms(const struct conf *c, const char *name);

/* <transport>_SUFFIX when it is set or has a row of its own, else the pattern's
 * default: conf_transport_int(c, "smtp", "destination_concurrency_limit").
 * The suffix must have a pattern row. transport may be foreign text. */
int64_t conf_transport_int(const struct conf *c, const char *transport, const char *suffix);
int64_t conf_transport_ms(const struct conf *c, const char *transport, const char *suffix);
const char *conf_transport_string(const struct conf *c, const char *transport, const char *suffix);

/* Any name, also user-defined ones (restriction classes, $mua_...): the expanded
 * value, or NULL when it is not defined. */
const char *conf_lookup(const struct conf *c, struct span name);
/* Append text with $name and the like replaced from this configuration, for
 * values of type PARAM_RAW and command lines. Negative with a reason. */
int conf_expand(const struct conf *c, struct span text, struct str *out, struct str *why);

/* The list of ciphers, in OpenSSL's syntax, for the grade that a parameter such as
 * smtpd_tls_ciphers names. */
const char *conf_cipher_list(const struct conf *c, const char *parameter);

/* True when main.cf or -o sets it. */
bool conf_is_set(const struct conf *c, const char *name);
const char *conf_directory(const struct conf *c);

/* --- for postconf and the checks --- */

/* What main.cf and -o set, last one winning, in main.cf's order. */
struct conf_setting {
    const char *name, *value;  /* not expanded */
    unsigned line;             /* 0: -o */
    const struct param *param; /* NULL: pattern or user-defined */
};
size_t conf_setting_count(const struct conf *c);
const struct conf_setting *conf_setting_at(const struct conf *c, size_t index);
/* A row's default as text, computed ones included; not expanded. */
const char *conf_default(const struct conf *c, const struct param *p);
/* The value as it is written (main.cf, -o or default), before expansion; NULL
 * when it is not defined. */
const char *conf_raw(const struct conf *c, struct span name);

#endif
