/* lines.h: copying a message in wire form to a file with Unix line ends. */
#ifndef LOCAL_LINES_H
#define LOCAL_LINES_H

#include <stdbool.h>
#include <stdint.h>

/* Copy all of in (from its start) to out: CRLF becomes LF; with quote_from a body or
 * header line that begins with "From " gets ">" in front (mbox). At most limit octets
 * (0: any number), else -EFBIG. Ends with a line end. 0 or -errno. */
int lines_copy(int in, int out, bool quote_from, uint64_t limit);

#endif
