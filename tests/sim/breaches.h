/* breaches.h: what must be lost without which rule (rows of test_simulation.c). */
{"rule 1: writes or confirmations in order", QUEUE, OFF(WRITE_ORDER) | OFF(CONFIRM_ORDER), 2000},
    {"rule 3: CRC", QUEUE, OFF(CRC), 1000},
    {"rule 6: numbers jump to the limit", QUEUE, OFF(JUMP), 100},
    {"rule 6: the jump is synced", QUEUE, OFF(JUMP_SYNC), 1000},
    {"rule 6: a limit is durable before it is passed", QUEUE, OFF(RESERVE_SYNC), 2000},
    {"rule 9: directory sync of a new file", QUEUE, OFF(DIRECTORY_SYNC), 500},
    {"rule 10: recovery syncs what it read", QUEUE, OFF(RECOVERY_SYNC), 2000},
    {"rule 13: copies before freeing", QUEUE, OFF(COPY_SYNC), 2000},
