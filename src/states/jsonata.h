/* jsonata.h - JSONata 2.0.6 (AWS's version) in a worker process.
 *
 * DESIGN: the official jsonata package runs in JavaScriptCore inside `quern-jsonata` (libexec), a child with no file
 * access, limits on memory and CPU, and one pipe. It is started when first needed and restarted when it was killed. One
 * request: expression, bindings, input; one answer: value, "undefined", or an error (code, message, token, position). A
 * runaway is killed after `hard_ms` and answers as a fault. Half of the workers are for expressions that have shown to
 * be slow, half for those not tried yet, which are given up after a moment: so slow ones hold up only each other.
 * AWS's extras ($partition, $range, $hash, $random, $uuid, $parse) are bound; $eval is removed. */
#ifndef QUERN_STATES_JSONATA_H
#define QUERN_STATES_JSONATA_H

#include <jansson.h>

#include "base/error.h"
#include "base/str.h"

struct jsonata;
struct jsonata_options {
	const char *program;  /* path of quern-jsonata */
	int workers;          /* at most, of each half; 0 = 2 */
	int soft_ms;          /* in-turn limit before JSONATA_PENDING; 0 = 5 */
	int hard_ms;          /* of processor time, then the worker is killed; 0 = 2000 */
	int64_t memory_bytes; /* per worker; 0 = 512 MiB */
};
int jsonata_new(const struct jsonata_options *options, struct jsonata **out, struct error *err);
void jsonata_free(struct jsonata *j);

/* Codes of this program beside the language's own: the result has no JSON form; a limit on time, depth or memory was
 * hit. */
#define JSONATA_UNSUPPORTED "Unsupported"
#define JSONATA_LIMIT "Limit"

/* PENDING: it took longer than the mode allows. BUSY: no worker was free to try it. */
enum jsonata_status { JSONATA_VALUE, JSONATA_UNDEFINED, JSONATA_ERROR, JSONATA_PENDING, JSONATA_BUSY };
/* TRY: at once, for soft_ms, as the core thread may. QUICK: waits for a worker, then for a moment. FULL: waits for a
 * worker of the slow half, and for hard_ms. */
enum jsonata_mode { JSONATA_TRY, JSONATA_QUICK, JSONATA_FULL };
/* Evaluates. `bindings` is an object of variables without "$" ({"states": {...}, "x": 1}); `seed` makes $random and
 * $uuid repeatable. Only TRY and QUICK give PENDING, only TRY gives BUSY. Value: *out owned. Error: *out is
 * {"code","message","position","token"...}. Thread-safe. */
enum jsonata_status jsonata_eval(struct jsonata *j, struct str expression, const json_t *bindings, uint64_t seed,
				 enum jsonata_mode mode, json_t **out);
/* What an expression refers to, without evaluating it; owned. {"error": {"code","message","position"}} when it cannot
 * be parsed, else
 * {"top": [names read without a context], "root": bool ($$), "errorOutput": bool ($states.errorOutput)}. Thread-safe.
 */
json_t *jsonata_inspect(struct jsonata *j, struct str expression);
/* Checks the syntax only: NULL when good, else {"code","message","position"} owned. */
json_t *jsonata_check(struct jsonata *j, struct str expression);

#endif
