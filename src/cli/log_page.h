/* log_page.h - reading an answer of GetLogEvents. */
#ifndef QUERN_CLI_LOG_PAGE_H
#define QUERN_CLI_LOG_PAGE_H

#include "base/error.h"
#include "base/str.h"

/* Calls fn with each event's message, borrowed for the call, in order. *token borrows the text of nextForwardToken from
 * `text` (STR_NULL when it has none or it holds escapes). Returns how many events there were, or -1 with err when
 * `text` is not such an answer; fn may have been called for the events before that. */
int64_t log_page_read(struct str text, void (*fn)(void *ctx, struct str message), void *ctx, struct str *token,
		      struct error *err);

#endif
