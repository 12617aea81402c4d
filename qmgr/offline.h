/*
 * offline.h: the queue's tools while qmgr is stopped: "qmgr -A DIR" opens the
 * queue, serves one tool on descriptor 0, and ends.
 */
#ifndef QMGR_OFFLINE_H
#define QMGR_OFFLINE_H

/* The exit status. */
int offline_main(const char *config_directory);

#endif
