/*
 * conf.h: the configuration of one process: main.cf, -o overrides, and the one
 * table of all parameters. Immutable after loading.
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

/* Read DIR/main.cf. On failure *why says file, line and reason. Parameters that
 * are unknown or set but not honoured are collected (conf_warnings). */
int conf_load(struct conf **out, const char *config_directory, struct str *why);
/* A layer over base (borrowed, must outlive it): "name=value" overrides of a
 * master.cf entry. */
int conf_overlay(struct conf **out, const struct conf *base, const char *const *overrides,
                 size_t count, struct str *why);
void conf_free(struct conf *c);

/* Values by name; names not in the table are a bug (panic). Everything was
 * range-checked at load. Strings are expanded; borrowed until conf_free. */
const char *conf_string(const struct conf *c, const char *name);
bool conf_bool(const struct conf *c, const char *name);
int64_t conf_int(const struct conf *c, const char *name);
/* Time parameters, whatever unit they were written in. */
int64_t conf_seconds(const struct conf *c, const char *name);
int64_t conf_ms(const struct conf *c, const char *name);
/* <transport>_name when the table has a pattern row for it and it is set, else
 * default_name: "smtp_destination_concurrency_limit" and the like. */
int64_t conf_transport_int(const struct conf *c, const char *transport, const char *suffix);

/* True when main.cf or -o sets it. */
bool conf_is_set(const struct conf *c, const char *name);
const char *conf_directory(const struct conf *c);

#endif
