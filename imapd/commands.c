#include "imapd/commands.h"

static const struct command commands[] = {
    {"CAPABILITY", command_capability, 0},
    {"NOOP", command_noop, 0},
    {"LOGOUT", command_logout, COMMAND_NO_SYNC},
    {"ID", command_id, 0},
    {"ENABLE", command_enable, 0},
    {"NAMESPACE", command_namespace, 0},
    {"IDLE", command_idle, 0},

    {"SELECT", command_select, COMMAND_NO_SYNC},
    {"EXAMINE", command_examine, COMMAND_NO_SYNC},
    {"CREATE", command_create, 0},
    {"DELETE", command_delete, 0},
    {"RENAME", command_rename, 0},
    {"SUBSCRIBE", command_subscribe, 0},
    {"UNSUBSCRIBE", command_unsubscribe, 0},
    {"LIST", command_list, 0},
    {"LSUB", command_lsub, 0},
    {"STATUS", command_status, 0},
    {"APPEND", command_append, 0},

    {"CHECK", command_check, COMMAND_SELECTED},
    {"CLOSE", command_close, COMMAND_SELECTED | COMMAND_NO_SYNC},
    {"UNSELECT", command_unselect, COMMAND_SELECTED | COMMAND_NO_SYNC},
    {"EXPUNGE", command_expunge, COMMAND_SELECTED},
    {"SEARCH", command_search, COMMAND_SELECTED | COMMAND_NO_EXPUNGE},
    {"FETCH", command_fetch, COMMAND_SELECTED | COMMAND_NO_EXPUNGE},
    {"STORE", command_store, COMMAND_SELECTED | COMMAND_NO_EXPUNGE},
    {"COPY", command_copy, COMMAND_SELECTED},
    {"MOVE", command_move, COMMAND_SELECTED},

    {"UID EXPUNGE", command_expunge, COMMAND_SELECTED | COMMAND_UID},
    {"UID SEARCH", command_search, COMMAND_SELECTED | COMMAND_UID},
    {"UID FETCH", command_fetch, COMMAND_SELECTED | COMMAND_UID},
    {"UID STORE", command_store, COMMAND_SELECTED | COMMAND_UID},
    {"UID COPY", command_copy, COMMAND_SELECTED | COMMAND_UID},
    {"UID MOVE", command_move, COMMAND_SELECTED | COMMAND_UID},
};

static const struct command *find_uid(struct span name)
{
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        if ((commands[i].flags & COMMAND_UID) != 0 &&
            span_ieq(name, span_cstr(commands[i].name + 4)))
            return &commands[i];
    }
    return NULL;
}

const struct command *command_find(struct span name, struct parse *p)
{
    struct span second;

    if (span_ieq(name, SPAN_LIT("UID")))
        return parse_space(p) && parse_atom(p, &second) == 0 ? find_uid(second) : NULL;
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        if (span_ieq(name, span_cstr(commands[i].name)))
            return &commands[i];
    }
    return NULL;
}
