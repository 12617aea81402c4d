/* support_store.h: a store in a temporary directory, used from tasks. */
#ifndef TESTS_UNIT_STORE_SUPPORT_H
#define TESTS_UNIT_STORE_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "store/store.h"

struct place {
    char path[64];
    int rootfd;
    struct store_options options;
    struct store *store;
};

/* A fresh root; small segments so that sealing happens. */
void place_make(struct place *p);
void place_remove(struct place *p);
/* Close and open the store again, as another process would find it. */
void place_reopen(struct place *p);
/* Path of a file of an account. */
void place_path(const struct place *p, const char *account, const char *file, char out[256]);

/* A place for each test, and shorthands for what is in it. */
extern struct place place;
int place_setup(void **state);
int place_teardown(void **state);
struct store_account *open_account(const char *id);
struct store_view *open_view(struct store_account *a, uint32_t mailbox);

/* Run main as the first task. */
void run(task_fn *main, void *arg);

/* A message that says n, with about `extra` octets of text. */
void message_text(struct str *out, unsigned n, size_t extra);
/* Append it; returns its UID. */
uint32_t append_message(struct store_account *a, uint32_t mailbox, unsigned n, uint32_t flags);
/* By delivery, without the index. */
uint32_t deliver_message(struct store_account *a, unsigned n, const char *delivery_id);
/* keywords: names with spaces between them. */
int set_flags(struct store_view *v, const uint32_t *uids, size_t count, enum store_flag_op op,
              uint32_t flags, const char *keywords);
/* The message is the one that message_text() makes. */
void check_body(struct store_view *v, uint32_t uid, unsigned n, size_t extra);
uint32_t find_mailbox(struct store_account *a, const char *name);
void check_refresh(struct store_view *v, bool may_expunge, const char *want);

#endif
