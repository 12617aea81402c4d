/* clean.h: when to clean. */
#ifndef STORE_CLEAN_H
#define STORE_CLEAN_H

#include "store/account.h"

/* Octets died: starts cleaning in the background once a segment's worth has. */
void clean_consider(struct store_account *a, uint64_t octets);

#endif
