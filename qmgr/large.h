/*
 * large.h: files of large content, below queue/large. A file is made by qmgr,
 * written once through a write-only descriptor, and never reused; its number is
 * random, so that only who made it can name it in a commit.
 */
#ifndef QMGR_LARGE_H
#define QMGR_LARGE_H

#include <stdbool.h>
#include <stdint.h>

#include "task/task.h"

void large_init(int directory_fd); /* taken */
void large_fini(void);
/* A message names this file (0: none) / no longer. */
void large_use(uint64_t file);
void large_forget(uint64_t file);
void large_unlink_later(uint64_t file);

#endif
