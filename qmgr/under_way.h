/*
 * under_way.h: deliveries that go on while one qmgr ends and the next one begins, as at
 * a reload.
 *
 * The agents that make them present their results to the next qmgr when they are done.
 * Until then it must not give the same messages out again, so the one that ends leaves a
 * list, queue/under-way: a line "under-way PID" with master's pid, and "NUMBER COUNT" for
 * each job, the message's number and how many recipients it has. After a stop master is
 * another one, the agents have ended, and the list does not count. It is no record: when
 * it is missing, messages are delivered twice at worst.
 */
#ifndef QMGR_UNDER_WAY_H
#define QMGR_UNDER_WAY_H

#include "qmgr/entry.h"

/* Before the agents' connections are closed. Blocks for a small file. */
void under_way_save(int queue_fd);
/* After the entries were built: those on the list wait for their results, ten minutes at
 * most (an agent may have died). */
void under_way_load(int queue_fd);
/* Of one that is due. True: its results may still come, and it was put off. */
bool under_way_wait_on(struct entry *e);
/* An agent has presented the result of one recipient, and it was written. */
void under_way_arrived(uint64_t number, bool is_deferral);

#endif
