/* raw_postgres.h - the least a program on libpq does for the durability that the engine gives. */
#ifndef QUERN_BENCH_ENGINE_RAW_POSTGRES_H
#define QUERN_BENCH_ENGINE_RAW_POSTGRES_H

#include <stdbool.h>
#include <stdint.h>

struct raw_postgres;

/* Connects; ends the program with a message when it can't. Owned by the caller; raw_postgres_close frees it. */
struct raw_postgres *raw_postgres_open(const char *address);
void raw_postgres_close(struct raw_postgres *r);
/* One transaction in one round trip: `rows` rows of bench_history appended, or of bench_raw updated, their numbers
 * below `below` from the xorshift generator *x. Durable on return. */
void raw_postgres_commit(struct raw_postgres *r, bool append, int64_t rows, const char *text, uint64_t *x,
			 int64_t below);

#endif
