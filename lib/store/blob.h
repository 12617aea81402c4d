/* blob.h: messages in files of their own, "blob/GUID" in the account's directory;
 * written and synced before the record that names one, never changed or reused. */
#ifndef STORE_BLOB_H
#define STORE_BLOB_H

#include <stdint.h>

#include "base/span.h"
#include "store/records.h"

enum { BLOB_NAME_SIZE = 5 + 2 * GUID_SIZE + 1 };
/* A new file for writing; *fd is the caller's. Makes the folder. */
int blob_create(int dirfd, const unsigned char guid[GUID_SIZE], int *fd);
/* Content and name become durable; closes *fd. */
int blob_finish(int dirfd, int *fd);
/* Read-only. ERR_NOT_FOUND. */
int blob_open(int dirfd, const unsigned char guid[GUID_SIZE], int *fd);
void blob_remove(int dirfd, const unsigned char guid[GUID_SIZE]);

#endif
