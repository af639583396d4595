/* record.h - one log event on disk. Inside the logs room.
 *
 * DESIGN: a log file holds one record a line. A supervisor writes "<epoch ms> <text>\n" (task.h). PutLogEvents, whose
 * messages may hold newlines, writes "<epoch ms>\<ingestion ms> <escaped text>\n", where "\n" stands for a newline and
 * "\\" for a backslash. A line of neither form (torn by a crash, or foreign) is no event and is skipped. */
#ifndef QUERN_LOGS_RECORD_H
#define QUERN_LOGS_RECORD_H

#include "base/arena.h"
#include "base/buf.h"

struct log_record {
	int64_t at_ms, ingested_ms;
	struct str text; /* as it is on disk; borrows the line */
	bool escaped;
};

/* Takes one line, without its newline, apart. False when it is no record. */
bool log_record_parse(struct str line, struct log_record *out);
/* The event's text; in the arena when it had to be unescaped, else borrowed. */
struct str log_record_text(struct arena *a, const struct log_record *r);
/* Appends a record of a client's event. */
void log_record_add(struct buf *b, int64_t at_ms, int64_t ingested_ms, struct str text);

#endif
