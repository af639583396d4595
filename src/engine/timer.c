/* timer.c - timers that survive a restart.
 *
 * DESIGN: the table has the truth, one row a timer, found by (actor, key). In memory there is only a binary heap of
 * (time, row), 16 bytes a timer, so that a million sleeping executions cost 16 MB and no index on time has to be kept
 * on disk. Replacing or cancelling a timer leaves its old entry in the heap; the row is read when an entry comes up and
 * tells whether it still holds. When more than half of the heap is old it is read again from the table. */
#include "engine/engine_impl.h"

#include <stdlib.h>

static bool earlier(struct timer_due a, struct timer_due b)
{
	return a.at_ms != b.at_ms ? a.at_ms < b.at_ms : a.num < b.num;
}

static void sift_down(struct timer_heap *h, size_t i)
{
	struct timer_due x = h->entries[i];
	for (;;) {
		size_t child = 2 * i + 1;
		if (child >= h->count)
			break;
		if (child + 1 < h->count && earlier(h->entries[child + 1], h->entries[child]))
			child++;
		if (!earlier(h->entries[child], x))
			break;
		h->entries[i] = h->entries[child];
		i = child;
	}
	h->entries[i] = x;
}

static void heap_append(struct timer_heap *h, struct timer_due x)
{
	if (h->count == h->cap) {
		h->cap = h->cap ? h->cap * 2 : 64;
		h->entries = mem_realloc(h->entries, h->cap * sizeof(*h->entries));
	}
	h->entries[h->count++] = x;
}

void engine_timers_push(struct engine *e, int64_t at_ms, int64_t num)
{
	struct timer_heap *h = &e->timers;
	struct timer_due x = { at_ms, num };
	heap_append(h, x);
	size_t i = h->count - 1;
	while (i && earlier(x, h->entries[(i - 1) / 2])) {
		h->entries[i] = h->entries[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	h->entries[i] = x;
}

bool engine_timers_pop_due(struct engine *e, int64_t now_ms, struct timer_due *out)
{
	struct timer_heap *h = &e->timers;
	if (!h->count || h->entries[0].at_ms > now_ms)
		return false;
	*out = h->entries[0];
	h->entries[0] = h->entries[--h->count];
	if (h->count)
		sift_down(h, 0);
	return true;
}

int engine_timers_load(struct engine *e, struct error *err)
{
	struct timer_heap *h = &e->timers;
	CLEANUP_ROWS struct rows rows = { 0 };
	h->count = 0;
	if (db_query(e->db, &rows, err, "SELECT at_ms, num FROM engine_timer", "") < 0)
		return -1;
	int rc;
	while ((rc = rows_next(&rows, err)) > 0)
		heap_append(h, (struct timer_due){ rows_int(&rows, 0), rows_int(&rows, 1) });
	for (size_t i = h->count / 2; i-- > 0;)
		sift_down(h, i);
	h->live = (int64_t)h->count;
	return rc;
}

int engine_timers_tidy(struct engine *e, struct error *err)
{
	struct timer_heap *h = &e->timers;
	atomic_store_explicit(&e->stats.timers, h->live, memory_order_relaxed);
	if (h->count <= 2 * (size_t)h->live + 1024)
		return 0;
	return engine_timers_load(e, err);
}

void engine_timers_release(struct engine *e)
{
	free(e->timers.entries);
	e->timers = (struct timer_heap){ 0 };
}

int engine_timer_write(struct engine *e, struct actor *a, const char *key, const struct timer_op *op, struct error *err)
{
	struct txn *x = &e->txn;
	if (!op->at_ms) {
		int n = db_exec(e->db, err, "DELETE FROM engine_timer WHERE actor=? AND key=?", "is", a->num, key);
		e->timers.live -= n > 0 ? n : 0;
		return n < 0 ? -1 : 0;
	}
	int64_t num = engine_next_num(e);
	CLEANUP_ROWS struct rows rows = { 0 };
	if (db_row(e->db, &rows, err,
		   "INSERT INTO engine_timer(num, actor, key, at_ms, event) VALUES(?, ?, ?, ?, ?) ON CONFLICT(actor, "
		   "key)"
		   " DO UPDATE SET at_ms=excluded.at_ms, event=excluded.event RETURNING num",
		   "iisis", num, a->num, key, op->at_ms, op->text) <= 0)
		return -1;
	int64_t row = rows_int(&rows, 0);
	if (row == num)
		e->timers.live++;
	if (x->ndue == x->due_cap) {
		x->due_cap = x->due_cap ? x->due_cap * 2 : 64;
		x->due = mem_realloc(x->due, x->due_cap * sizeof(*x->due));
	}
	x->due[x->ndue++] = (struct timer_due){ op->at_ms, row };
	return 0;
}
