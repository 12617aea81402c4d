/*
 * Power cuts and kills, simulated: with all rules nothing is ever lost; without
 * one of the needed rules something is, within a bounded number of lives.
 * CRASHES=100000 asks for so many crashes of each kind of life; SEED=n repeats one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "life.h"

uint32_t journal_rules_off;

typedef void life_fn(struct life *life);

struct setting {
    const char *name;
    life_fn *live;
    uint32_t alignment;
    struct sim_options disk;
    uint64_t reserve; /* 0: the life's own */
};

static const struct setting settings[] = {
    {"queue, 4096 aligned", life_queue, 4096, {.sector = 512}, 0},
    {"queue, unaligned", life_queue, 8, {.sector = 512}, 0},
    {"queue, 4096 aligned, sectors are destroyed", life_queue, 4096, {4096, true, false, false}, 0},
    {"store", life_store, 8, {.sector = 512, .stale = true, .fresh = true}, 0},
    {"store, large sectors", life_store, 8, {.sector = 4096, .fresh = true}, 0},
    {"store, 512 aligned, sectors are destroyed", life_store, 512, {512, true, false, true}, 0},
    {"store, small ranges of numbers", life_store, 8, {.sector = 512, .fresh = true}, 3},
};
enum { QUEUE = 0, QUEUE_UNALIGNED = 1, STORE = 3, STORE_LARGE = 4, STORE_SMALL = 6 };

static void live(const struct setting *s, uint64_t seed, struct life *life)
{
    *life = (struct life){.seed = seed,
                          .crashes = 10,
                          .alignment = s->alignment,
                          .disk = s->disk,
                          .reserve = s->reserve};
    s->live(life);
}

/* Crashes per setting; the short form fits a unit test. */
static uint64_t wanted_crashes(void)
{
    const char *text = getenv("CRASHES");

    return text != NULL ? strtoull(text, NULL, 10) : 600;
}

static void nothing_is_lost(void **state)
{
    const struct setting *s = *state;
    uint64_t crashes = wanted_crashes(), done = 0, confirmed = 0, cleaned = 0;
    uint64_t seed = getenv("SEED") ? strtoull(getenv("SEED"), NULL, 10) : 1;

    journal_rules_off = 0;
    for (; done < crashes; seed++) {
        struct life life;
        live(s, seed, &life);
        if (life.failure[0] != '\0')
            fail_msg("%s: SEED=%llu: %s", s->name, (unsigned long long)seed, life.failure);
        done += life.cuts + life.kills;
        confirmed += life.confirmed;
        cleaned += life.cleaned;
    }
    assert_true(confirmed > done / 2);
    if (getenv("CRASHES"))
        print_message("%s: %llu crashes, %llu confirmed, %llu segments cleaned\n", s->name,
                      (unsigned long long)done, (unsigned long long)confirmed,
                      (unsigned long long)cleaned);
}

struct breach {
    const char *name;
    int setting;
    uint32_t rules; /* switched off */
    unsigned lives; /* at most so many until something is lost */
};
#define OFF(rule) (1U << RULE_##rule)

static const struct breach breaches[] = {
#include "breaches.h"
};

static void something_is_lost(void **state)
{
    const struct breach *b = *state;
    unsigned n;

    journal_rules_off = b->rules;
    for (n = 1; n <= b->lives; n++) {
        struct life life;
        live(&settings[b->setting], n, &life);
        if (life.failure[0] != '\0') {
            if (getenv("VERBOSE"))
                print_message("%s: life %u: %s\n", b->name, n, life.failure);
            break;
        }
    }
    journal_rules_off = 0;
    if (n > b->lives)
        fail_msg("without \"%s\" nothing was lost in %u lives", b->name, b->lives);
}

static void drop_line(void *arg, enum log_level level, struct span text)
{
    if (level >= LOG_LEVEL_PANIC || getenv("LOG"))
        fprintf(stderr, "%.*s\n", SPAN_ARG(text));
}

int main(void)
{
    enum { SETTINGS = sizeof(settings) / sizeof(*settings) };
    enum { BREACHES = sizeof(breaches) / sizeof(*breaches) };
    struct CMUnitTest tests[SETTINGS + BREACHES];
    size_t count = 0;

    log_set_sink(drop_line, NULL);
    for (size_t i = 0; i < SETTINGS; i++)
        tests[count++] = (struct CMUnitTest){.name = settings[i].name,
                                             .test_func = nothing_is_lost,
                                             .initial_state = (void *)&settings[i]};
    for (size_t i = 0; i < BREACHES && !getenv("CRASHES"); i++)
        tests[count++] = (struct CMUnitTest){.name = breaches[i].name,
                                             .test_func = something_is_lost,
                                             .initial_state = (void *)&breaches[i]};
    return _cmocka_run_group_tests("journal/simulation", tests, count, NULL, NULL);
}
