/* exec_feed.c - makes the children of a distributed Map, on a worker thread. See exec.h.
 *
 * DESIGN: the parent's turn asks for children with the effect "states.children", one at a time for a run; each brings
 * the next few hundred. The thread reads items, evaluates ItemSelector and ItemBatcher, and where the item processor
 * never waits it also runs the children, in memory: they have no effects, so running one again after a crash changes
 * nothing, and the parent's turn writes all of them in one transaction. Children that may wait go back as inputs and
 * become actors.
 *
 * What a run needs is in its row (states_map_run.feed), not in the parent's state. A feed is what was made of it: the
 * reader, the parent's frame for expressions, a parsed machine. Between two effects it is parked under the run's
 * name and its position (items that have children, children made); when it is not there (restart) it is made again and
 * passes over `position` items. So memory is bounded by one piece, whatever the number of items. */
#include "states/integ.h"

#include <stdlib.h>

#include "states/items.h"

enum { PIECE_CHILDREN = 250, PIECE_BYTES = 1 << 20, INPUTS_BYTES = 256 << 10, COUNT_ITEMS = 100000 };

struct feed {
	struct feed *next; /* parked */
	char *map_run;
	int64_t position, index;
	struct states *s;
	json_t *doc; /* {"state", "frame", "source", "run", "scope"}; owned */
	struct items *items;
	json_t *held;                      /* an item that did not fit into the last batch; owned */
	struct asl_machine *machine, view; /* view.top: the item processor */
	struct exec x;                     /* the parent, in memory */
	struct frame *f;
	struct arena a;
	bool runs, batched, has_limits;
	double most, bytes; /* of a batch */
	json_t *batch_input;
};

/* One piece in the making. */
struct piece {
	struct feed *d;
	struct arena a;
	const json_t *ask;
	json_t *done, *inputs;
	int64_t failed;
	size_t bytes;
	bool end;
	struct asl_fault fault;
};

/* ---- life ---- */

static void feed_free(struct feed *d)
{
	if (!d)
		return;
	items_close(d->items);
	exec_release(&d->x);
	const char *hash = json_get_text(json_object_get(json_object_get(d->doc, "state"), "facts"), "hash");
	if (d->machine) {
		d->machine->paths = d->view.paths;
		machine_give(d->s, hash, d->machine);
	}
	json_decref(d->doc);
	json_decref(d->held);
	json_decref(d->batch_input);
	arena_release(&d->a);
	free(d->map_run);
	free(d);
}

static json_t *feed_doc(struct db *db, const char *map_run, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, err, "SELECT feed FROM states_map_run WHERE arn=?", "s", map_run);
	if (rc <= 0 || rows_null(&rows, 0)) {
		if (rc >= 0)
			error_set(err, "read map run %s: it has no source of items", map_run);
		return NULL;
	}
	return json_parse(rows_str(&rows, 0), err);
}

/* The machine and the parent's frame. */
static int feed_load(struct feed *d, struct db *db, struct error *err)
{
	const json_t *state = json_object_get(d->doc, "state");
	json_t *facts = json_object_get(state, "facts");
	exec_init(&d->x, d->s, &d->a);
	d->x.now_ms = clock_now_ms();
	d->x.random = exec_random_kernel;
	exec_facts(&d->x, json_incref(facts));
	d->machine = machine_take(d->s, db, json_get_text(facts, "hash"), err);
	if (!d->machine)
		return -1;
	d->view = *d->machine;
	d->view.timeout_seconds = 0;
	d->x.m = &d->view;
	if (exec_scope(&d->x, &d->view, err) < 0 || exec_load(&d->x, state, err) < 0)
		return -1;
	d->f = exec_frame(&d->x, json_get_int(d->doc, "frame", 0));
	if (!d->f)
		return error_set(err, "map run %s: its state is not there", d->map_run);
	d->view.top = d->f->state->branches[0];
	return 0;
}

static int feed_skip(struct feed *d, int64_t n, struct error *err)
{
	int rc = 1;
	while (d->position < n && (rc = items_skip(d->items, err)) > 0)
		d->position++;
	return rc < 0 ? -1 : rc > 0 ? 0 : error_set(err, "The items are fewer than when they were read before.");
}

static struct feed *feed_open(struct states *s, const char *map_run, int64_t position, int64_t index, struct error *err)
{
	struct feed *d = mem_calloc(1, sizeof(*d));
	d->s = s;
	d->map_run = mem_strdup(map_run);
	d->index = index;
	struct db *db = store_read_begin(engine_store(s->o.engine), err);
	int rc = db ? 0 : -1;
	if (rc == 0)
		rc = (d->doc = feed_doc(db, map_run, err)) ? feed_load(d, db, err) : -1;
	if (db)
		store_read_end(engine_store(s->o.engine), db);
	if (rc == 0)
		rc = items_open(s, json_object_get(d->doc, "source"), &d->items, err);
	if (rc == 0)
		rc = feed_skip(d, position, err);
	if (rc < 0) {
		feed_free(d);
		return NULL;
	}
	d->batched = json_object_get(d->f->state->doc, "ItemBatcher") != NULL;
	d->runs = exec_never_waits(d->f->state->branches[0]) && !d->x.logging;
	return d;
}

/* How many items have children. */
static int64_t feed_position(const struct feed *d)
{
	return d->position - (d->held != NULL);
}

/* ---- parking ---- */

static struct feed *feed_take(struct states *s, const char *map_run, int64_t position, int64_t index)
{
	struct feed *found = NULL;
	pthread_mutex_lock(&s->lock);
	for (struct feed **p = &s->feeds; *p; p = &(*p)->next)
		if (strcmp((*p)->map_run, map_run) == 0) {
			found = *p;
			*p = found->next;
			break;
		}
	pthread_mutex_unlock(&s->lock);
	if (found && (feed_position(found) != position || found->index != index)) {
		feed_free(found);
		found = NULL;
	}
	return found;
}

enum { PARKED_MAX = 64 };

/* Keeps the feed; the one that was parked longest ago goes when there are too many. */
static void feed_park(struct feed *d)
{
	struct states *s = d->s;
	struct feed *old = NULL;
	int n = 0;
	pthread_mutex_lock(&s->lock);
	d->next = s->feeds;
	s->feeds = d;
	for (struct feed **p = &s->feeds; *p; p = &(*p)->next)
		if (++n > PARKED_MAX) {
			old = *p;
			*p = NULL;
			break;
		}
	pthread_mutex_unlock(&s->lock);
	feed_free(old);
}

void exec_feed_forget(struct states *s, const char *map_run)
{
	feed_free(feed_take(s, map_run, -1, -1));
}

void exec_feeds_release(struct states *s)
{
	while (s->feeds) {
		struct feed *d = s->feeds;
		s->feeds = d->next;
		feed_free(d);
	}
}

/* ---- inputs ---- */

/* What the child of one item gets: owned. As asl functions return. */
static int item_input(struct feed *d, int64_t i, json_t *value, json_t **out, struct asl_fault *fault)
{
	for (;;) {
		struct asl_env env;
		json_t *context = NULL;
		int rc = exec_map_item(&d->x, d->f, i, value, &context, out, &env, fault);
		if (rc == ASL_PENDING)
			exec_answer(&d->x, d->f, &env);
		exec_env_done(&env);
		json_decref(context);
		if (rc == ASL_PENDING)
			continue;
		json_decref(d->f->memo);
		d->f->memo = NULL;
		return rc;
	}
}

static int batch_eval(struct feed *d, struct asl_env *env, struct asl_fault *fault)
{
	const json_t *batcher = json_object_get(d->f->state->doc, "ItemBatcher");
	bool j = d->f->state->jsonata, has_items = false, has_bytes = false;
	json_t *template = json_object_get(batcher, "BatchInput");
	int rc = asl_number(env, batcher, "MaxItemsPerBatch", j, true, &has_items, &d->most, fault);
	if (rc == ASL_OK)
		rc = asl_number(env, batcher, "MaxInputBytesPerBatch", j, true, &has_bytes, &d->bytes, fault);
	if (rc == ASL_OK && template)
		rc = j ? asl_jsonata(env, template, "BatchInput", &d->batch_input, fault)
		       : asl_payload(env, template, "BatchInput", &d->batch_input, fault);
	if (!has_items || d->most < 1)
		d->most = 1e9;
	if (!has_bytes || d->bytes < 1 || d->bytes > (double)states_quota.payload_bytes)
		d->bytes = (double)states_quota.payload_bytes;
	return rc;
}

static int batch_limits(struct feed *d, struct asl_fault *fault)
{
	while (!d->has_limits) {
		struct asl_env env = exec_env(&d->x, d->f, d->f->input);
		int rc = batch_eval(d, &env, fault);
		if (rc == ASL_PENDING)
			exec_answer(&d->x, d->f, &env);
		exec_env_done(&env);
		if (rc == ASL_FAULT)
			return rc;
		d->has_limits = rc == ASL_OK;
	}
	return ASL_OK;
}

static int reader_fault(struct asl_fault *fault, struct error *err)
{
	asl_fault_set(fault, "States.ItemReaderFailed", "%s", error_text(err));
	fault->whole = true;
	return ASL_FAULT;
}

/* The next item as a child gets it. 1, 0 no more, < 0 with fault. */
static int next_item(struct feed *d, json_t **out, struct asl_fault *fault)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_JSON json_t *value = NULL;
	int rc = items_next(d->items, &value, &err);
	if (rc <= 0)
		return rc < 0 ? reader_fault(fault, &err) : 0;
	rc = item_input(d, d->position, value, out, fault);
	d->position += rc == ASL_OK;
	return rc == ASL_OK ? 1 : -1;
}

/* {"BatchInput", "Items"}: as many items as fit, at least one. After a fault none of them counts as read. */
static int next_batch(struct feed *d, json_t **out, int64_t *items, struct asl_fault *fault)
{
	int64_t before = feed_position(d);
	if (batch_limits(d, fault) < 0)
		return -1;
	CLEANUP_JSON json_t *o = json_object();
	json_t *list = json_array();
	if (d->batch_input)
		json_object_set(o, "BatchInput", d->batch_input);
	json_object_set_new(o, "Items", list);
	size_t used = asl_size_bytes(o);
	while ((double)json_array_size(list) < d->most) {
		json_t *one = d->held;
		d->held = NULL;
		int rc = one ? 1 : next_item(d, &one, fault);
		if (rc < 0) {
			d->position = before;
			return -1;
		}
		if (rc == 0)
			break;
		size_t size = asl_size_bytes(one);
		if (json_array_size(list) && (double)(used + size) > d->bytes) {
			d->held = one;
			break;
		}
		json_array_append_new(list, one);
		used += size + 1;
	}
	*items = (int64_t)json_array_size(list);
	*out = *items ? json_incref(o) : NULL;
	return *items > 0;
}

/* The input of the next child: 1 (owned), 0 no more, < 0 with fault. *items: how many it has in a batch, else 0. */
static int next_input(struct feed *d, json_t **out, int64_t *items, struct asl_fault *fault)
{
	*items = 0;
	*out = NULL;
	int rc = d->batched ? next_batch(d, out, items, fault) : next_item(d, out, fault);
	if (rc <= 0 || (int64_t)asl_size_bytes(*out) <= states_quota.payload_bytes)
		return rc;
	json_decref(*out);
	*out = NULL;
	asl_fault_set(fault, "States.DataLimitExceeded",
		      "The state/task '%s' returned a result with a size exceeding the maximum number of bytes service "
		      "limit.",
		      d->f->state->name);
	fault->whole = true;
	return -1;
}

/* ---- running ---- */

/* Runs the child here. NULL: it needs more steps than a turn may have, so it shall be an actor. */
static json_t *run_child(struct piece *p, struct str input, int64_t items)
{
	struct feed *d = p->d;
	struct arena a = ARENA_INIT;
	struct exec c;
	json_t *done = NULL;
	exec_init(&c, d->s, &a);
	c.now_ms = clock_now_ms();
	c.random = exec_random_kernel;
	c.m = &d->view;
	d->x.a = &a;
	d->x.now_ms = c.now_ms;
	json_t *facts = exec_child_facts(&d->x, json_object_get(d->doc, "run"), d->f->id, d->index, items,
					 json_object_get(d->doc, "scope"), input);
	d->x.a = &p->a;
	exec_facts(&c, facts);
	exec_begin(&c);
	if (!exec_run(&c)) {
		int64_t end_ms = clock_now_ms();
		if (c.redrive)
			json_set_int(c.redrive, "next_event", c.next_event);
		/* nothing in it is shared, else the engine copies the whole piece */
		json_t *redrive = json_deep_copy(c.redrive);
		json_object_del(facts, "scope");
		done = json_pack("{s:O,s:s,s:I,s:I,s:s*,s:s*,s:o*}", "facts", facts, "st", exec_status_names[c.status],
				 "ms", (json_int_t)end_ms, "ev", (json_int_t)c.next_event, "er", c.error, "ca", c.cause,
				 "rs", redrive);
		if (c.output)
			json_object_set_new(done, "out", json_stringn(c.output_text.ptr, c.output_text.len));
		if (!c.express)
			json_object_set_new(done, "h", json_stringn(c.lines.ptr, c.lines.len));
		p->bytes += input.len + c.output_text.len + c.lines.len;
		p->failed += c.status != EXEC_SUCCEEDED ? (items ? items : 1) : 0;
	}
	exec_release(&c);
	arena_release(&a);
	return done;
}

/* The next child into the piece. 1, 0 the piece ends here, < 0 with p->fault. */
static int add_child(struct piece *p)
{
	struct feed *d = p->d;
	CLEANUP_JSON json_t *value = NULL;
	int64_t items;
	int rc = next_input(d, &value, &items, &p->fault);
	p->end = rc == 0;
	if (rc <= 0)
		return rc;
	struct str input = asl_text(&p->a, value);
	json_t *done = d->runs ? run_child(p, input, items) : NULL;
	if (done) {
		json_array_append_new(p->done, done);
	} else {
		p->bytes += input.len;
		json_array_append_new(p->inputs, json_pack("{s:I,s:I,s:s%}", "i", (json_int_t)d->index, "n",
							   (json_int_t)items, "in", input.ptr, input.len));
	}
	d->index++;
	return done || !d->runs; /* one that is to be an actor is the last, so that the order holds */
}

static void make_piece(struct piece *p)
{
	struct feed *d = p->d;
	int64_t want = d->runs ? PIECE_CHILDREN : json_get_int(p->ask, "want", 1);
	size_t bytes = d->runs ? PIECE_BYTES : INPUTS_BYTES;
	d->x.a = &p->a;
	p->failed = json_get_int(p->ask, "failed", 0);
	for (int64_t n = 0; n < want && p->bytes < bytes && add_child(p) > 0; n++)
		if (p->failed && exec_over_threshold(p->ask, p->failed))
			break;
	d->x.a = &d->a;
}

/* ---- the effect ---- */

static void add_fault(json_t *event, struct asl_fault *fault)
{
	if (!fault->error[0])
		return;
	json_object_set_new(event, "fault",
			    json_pack("{s:s,s:s*,s:s*,s:b}", "error", fault->error, "cause", fault->cause, "location",
				      fault->location, "whole", fault->whole));
	asl_fault_release(fault);
}

/* Only counts, for percentages: a part of the items, or all. */
static void count_items(struct feed *d, json_t *event)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct asl_fault fault = ASL_FAULT_INIT;
	int rc = 1;
	for (int i = 0; i < COUNT_ITEMS && (rc = items_skip(d->items, &err)) > 0; i++)
		d->position++;
	if (rc < 0)
		reader_fault(&fault, &err);
	json_set_bool(event, "end", rc == 0);
	add_fault(event, &fault);
}

/* False: there was a fault, and the feed is of no use any more. */
static bool fill_event(struct feed *d, const json_t *ask, json_t *event)
{
	struct piece p = { .d = d, .ask = ask, .done = json_array(), .inputs = json_array() };
	if (json_get_bool(ask, "count_only", false))
		count_items(d, event);
	else
		make_piece(&p);
	json_object_set_new(event, "done", p.done);
	json_object_set_new(event, "inputs", p.inputs);
	if (p.end)
		json_set_bool(event, "end", true);
	add_fault(event, &p.fault);
	json_set_int(event, "position", feed_position(d));
	json_set_int(event, "index", d->index);
	arena_release(&p.a);
	return !json_object_get(event, "fault");
}

void exec_feed_perform(void *ctx, struct engine *e, const struct effect *fx)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct states *s = ctx;
	const char *map_run = json_get_text(fx->payload, "map_run");
	int64_t position = json_get_int(fx->payload, "position", 0), index = json_get_int(fx->payload, "index", 0);
	json_t *event = json_pack("{s:s,s:O,s:O}", "type", "children", "frame", json_object_get(fx->payload, "frame"),
				  "attempt", json_object_get(fx->payload, "attempt"));
	struct feed *d = feed_take(s, map_run, position, index);
	if (!d)
		d = feed_open(s, map_run, position, index, &err);
	if (d) {
		if (fill_event(d, fx->payload, event))
			feed_park(d);
		else
			feed_free(d);
	} else {
		struct asl_fault fault = ASL_FAULT_INIT;
		reader_fault(&fault, &err);
		add_fault(event, &fault);
	}
	engine_effect_done(e, fx->seq, event);
}

/* ---- what was not begun ---- */

int exec_feed_rest(struct states *s, const char *map_run, int64_t position, int64_t index,
		   int (*fn)(void *ctx, struct str input, struct error *err), void *ctx, struct arena *a,
		   const char **unread, struct error *err)
{
	CLEANUP_ERROR struct error why = ERROR_INIT;
	struct feed *d = feed_take(s, map_run, position, index);
	struct asl_fault fault = ASL_FAULT_INIT;
	int rc, stopped = 0;
	*unread = NULL;
	if (!d && !(d = feed_open(s, map_run, position, index, &why))) {
		*unread = arena_strdup(a, str_from(error_text(&why)));
		return 0;
	}
	do {
		struct arena one = ARENA_INIT;
		CLEANUP_JSON json_t *value = NULL;
		int64_t items;
		d->x.a = &one;
		rc = next_input(d, &value, &items, &fault);
		if (rc > 0)
			stopped = fn(ctx, asl_text(&one, value), err);
		arena_release(&one);
	} while (rc > 0 && stopped >= 0);
	d->x.a = &d->a;
	feed_free(d);
	if (rc < 0)
		*unread = arena_printf(a, "%s: %s", fault.error, fault.cause ? fault.cause : "");
	asl_fault_release(&fault);
	return stopped < 0 ? -1 : 0;
}
