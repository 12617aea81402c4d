/* tool_log.h: messages of command-line tools: "NAME: warning: text" on stderr. */
#ifndef TOOLS_TOOL_LOG_H
#define TOOLS_TOOL_LOG_H

/* argv0's last part becomes the name; returned (borrowed from argv0). */
const char *tool_log_init(const char *argv0);

#endif
