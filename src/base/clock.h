/* clock.h - time and its AWS spellings. Times are int64 milliseconds since the epoch, UTC. */
#ifndef QUERN_BASE_CLOCK_H
#define QUERN_BASE_CLOCK_H

#include "base/str.h"

int64_t clock_now_ms(void);       /* wall clock */
int64_t clock_monotonic_us(void); /* for durations */
/* "2026-11-23T09:44:00Z". All writers: buf of >= 32 bytes; they return buf. */
char *clock_iso(int64_t ms, char *buf);
/* "2026-11-23T09:44:00.123Z" */
char *clock_iso_ms(int64_t ms, char *buf);
/* "20261123T094400Z", as SigV4's X-Amz-Date */
char *clock_basic(int64_t ms, char *buf);
/* "Mon, 23 Nov 2026 09:44:00 GMT" */
char *clock_http(int64_t ms, char *buf);
/* Parses ISO-8601 date-times (basic or extended, fraction, Z or offset) into *ms. False on anything else. */
bool clock_parse_iso(struct str s, int64_t *ms);
/* Parses the RFC 7231 IMF-fixdate. */
bool clock_parse_http(struct str s, int64_t *ms);

#endif
