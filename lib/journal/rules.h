/*
 * rules.h: the rules that make a journal survive power cuts, by name. In normal
 * builds they are simply kept. The simulation (tests/sim) compiles the library
 * with JOURNAL_RULE_SWITCHES, breaks one rule at a time and expects to lose mail:
 * a rule nobody can prove necessary would rot.
 */
#ifndef JOURNAL_RULES_H
#define JOURNAL_RULES_H

#include <stdbool.h>
#include <stdint.h>

enum journal_rule {
    RULE_WRITE_ORDER,        /* 1: writes are issued in order */
    RULE_CONFIRM_ORDER,      /* 1: confirmations go out in order */
    RULE_CRC,                /* 3: checksums are checked */
    RULE_TAG,                /* 4: the tag belongs to this use of the segment */
    RULE_SEED,               /* 4: so does the CRC's seed */
    RULE_CHAIN,              /* 4, 11: each record names the one before it */
    RULE_NONCE,              /* 5: tags cannot be guessed */
    RULE_NO_SEARCH,          /* 5: reading ends at the first bad record */
    RULE_JUMP,               /* 6: after an unclean start numbers go on at the limit */
    RULE_JUMP_SYNC,          /* 6: and the new limit is synced first */
    RULE_RESERVE_SYNC,       /* 6: no number beyond a limit that is not synced */
    RULE_RESERVE_LAST,       /* 7: a RESERVE found last is synced first */
    RULE_SEAL_SYNC,          /* 8: the old segment is synced before the new one exists */
    RULE_SEAL_REPEAT,        /* 8: a segment without its first record does not exist */
    RULE_DIRECTORY_SYNC,     /* 9: a new file's name is synced before it is relied on */
    RULE_NAME_SYNC,          /* 9: so is the name of a new journal's directory */
    RULE_RECOVERY_SYNC,      /* 10: what was read after a crash is synced first */
    RULE_RECOVERY_DIRECTORY, /* 10: so is the directory */
    RULE_BOOT,               /* 12: a hint of another boot is not believed */
    RULE_COPY_SYNC,          /* 13: copies are durable before the original goes */
    RULE_FREE_SYNC,          /* 14: a freed slot is durably free */
    RULE_IDENTITY,           /* 18: a header names its own file */
    RULE_LOCK,               /* 19: reading the tail and appending exclude others */
    RULE_FREE_LIMIT,         /* a segment is freed after a later one holds the limit */
    RULE_SNAPSHOT_SYNC,      /* a snapshot is durable before what it replaces goes */
    RULE_MARK_END,           /* a mark counts only where the journal ends */
    RULE_COUNT
};

#ifdef JOURNAL_RULE_SWITCHES
extern uint32_t journal_rules_off;
#define RULE(rule) ((journal_rules_off >> (rule)&1) == 0)
#else
#define RULE(rule) true
#endif

#endif
