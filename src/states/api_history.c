/* api_history.c - GetExecutionHistory, ListExecutions, StartSyncExecution, and clients that wait.
 *
 * DESIGN: pages of a history are named by event ids. A client that waits (an express execution's end, an activity's
 * task) is an entry of a list on the core thread; it does not outlive the process, no more than its connection does. */
#include "states/exec.h"

#include <stdlib.h>

/* ---- history ---- */

struct reading {
	int64_t left, next; /* next: the event id to give next */
	bool reverse, data;
	json_t *events;
};

static void read_lines(struct reading *r, struct str lines)
{
	json_t *batch = json_array(), *line;
	struct str rest = lines, one;
	size_t i, n;
	while (str_split(&rest, '\n', &one))
		if (one.len && (line = json_parse(one, NULL)))
			json_array_append_new(batch, line);
	n = json_array_size(batch);
	for (i = 0; i < n; i++) {
		line = json_array_get(batch, r->reverse ? n - 1 - i : i);
		int64_t id = json_get_int(line, "id", 0);
		if (r->reverse ? id > r->next : id < r->next)
			continue;
		if (r->left == 0)
			break;
		json_array_append_new(r->events, history_event(line, r->data));
		r->left--;
		r->next = r->reverse ? id - 1 : id + 1;
	}
	json_decref(batch);
}

QUERY(api_execution_history)
{
	struct execution_row x;
	struct page p;
	CLEANUP_ROWS struct rows rows = { 0 };
	const char *arn = json_get_text(in, "executionArn");
	int rc;
	if (arn_check(str_from(arn), "execution", err) < 0 || execution_get(db, c->arena, arn, &x, err) < 0 ||
	    page_open(c->arena, in, 1000, &p, err) < 0)
		return -1;
	struct reading r = { .left = p.limit,
			     .reverse = json_get_bool(in, "reverseOrder", false),
			     .data = json_get_bool(in, "includeExecutionData", true),
			     .events = json_array() };
	*out = json_pack("{s:o}", "events", r.events);
	r.next = p.after ? p.after : r.reverse ? INT64_MAX : 1;
	if (r.reverse)
		rc = db_query(db, &rows, err,
			      "SELECT lines FROM states_history WHERE execution=? AND first<=? ORDER BY first DESC",
			      "si", arn, r.next);
	else
		rc = db_query(db, &rows, err,
			      "SELECT lines FROM states_history WHERE execution=? AND first+count>? ORDER BY first",
			      "si", arn, r.next);
	if (rc < 0)
		return -1;
	while ((rc = rows_next(&rows, err)) > 0 && r.left)
		read_lines(&r, rows_str(&rows, 0));
	rows_done(&rows);
	if (rc < 0)
		return -1;
	if (r.left || r.next < 1)
		return 0;
	rc = db_row(db, &rows, err, "SELECT 1 FROM states_history WHERE execution=? AND first+count>?", "si", arn,
		    r.reverse ? 0 : r.next);
	if (rc == 1)
		page_more(*out, r.next, "");
	return rc < 0 ? -1 : 0;
}

/* ---- list ---- */

static int list_check(struct call *c, struct db *db, json_t *in, const char **machine, const char **map_run,
		      struct error *err)
{
	struct start_target g;
	*machine = json_get_text(in, "stateMachineArn");
	*map_run = json_get_text(in, "mapRunArn");
	if (!*machine == !*map_run)
		return error_aws(err, "ValidationException",
				 "Exactly one of stateMachineArn and mapRunArn must be specified");
	if (*map_run)
		return arn_check(str_from(*map_run), "mapRun", err);
	if (start_target_find(c->service_ctx, db, c->arena, *machine, 0, &g, err) < 0)
		return -1;
	if (g.machine.express)
		return error_aws(err, "StateMachineTypeNotSupported",
				 "This operation is not supported by this type of state machine");
	return 0;
}

static void show_listed(json_t *list, struct rows *r)
{
	static const char *const keys[] = {
		"executionArn",           "stateMachineArn",     "name", "status", "mapRunArn",
		"stateMachineVersionArn", "stateMachineAliasArn"
	};
	json_t *o = json_object();
	for (int i = 0; i < 7; i++)
		json_set_text(o, keys[i], rows_str(r, i + 1).ptr);
	json_set_real(o, "startDate", (double)rows_int(r, 8) / 1000.0);
	if (rows_int(r, 9))
		json_set_real(o, "stopDate", (double)rows_int(r, 9) / 1000.0);
	json_set_int(o, "redriveCount", rows_int(r, 10));
	if (rows_int(r, 11))
		json_set_real(o, "redriveDate", (double)rows_int(r, 11) / 1000.0);
	if (json_get(o, "mapRunArn"))
		json_set_int(o, "itemCount", rows_int(r, 12));
	json_array_append_new(list, o);
}

QUERY(api_execution_list)
{
	struct page p;
	CLEANUP_ROWS struct rows rows = { 0 };
	const char *machine, *map_run, *status = json_get_text(in, "statusFilter"),
				       *redrive = json_get_text(in, "redriveFilter");
	int rc;
	if (list_check(c, db, in, &machine, &map_run, err) < 0 || page_open(c->arena, in, 100, &p, err) < 0)
		return -1;
	json_t *list = json_array();
	*out = json_pack("{s:o}", "executions", list);
	const char *column = map_run ? "map_run=?" : "(machine=? OR version=? OR alias=?) AND map_run IS NULL";
	const char *sql = arena_printf(c->arena,
				       "SELECT num, arn, machine, name, status, map_run, version, alias, start_ms, "
				       "stop_ms, redrive_count, redrive_ms, item_count FROM "
				       "states_execution WHERE %s AND num<?%s%s ORDER BY num DESC LIMIT ?",
				       column, status ? " AND status=?" : " AND ?=''",
				       !redrive                           ? ""
				       : strcmp(redrive, "REDRIVEN") == 0 ? " AND redrive_count>0"
									  : " AND redrive_count=0");
	int64_t before = p.after ? p.after : INT64_MAX;
	const char *wanted = status ? status : "";
	if (map_run)
		rc = db_query(db, &rows, err, sql, "sisi", map_run, before, wanted, p.limit + 1);
	else
		rc = db_query(db, &rows, err, sql, "sssisi", machine, machine, machine, before, wanted, p.limit + 1);
	int64_t last = 0;
	while (rc >= 0 && (rc = rows_next(&rows, err)) > 0) {
		if ((int64_t)json_array_size(list) == p.limit) {
			page_more(*out, last, "");
			break;
		}
		last = rows_int(&rows, 0);
		show_listed(list, &rows);
	}
	return rc < 0 ? -1 : 0;
}

/* ---- clients that wait ---- */

struct waiter {
	struct waiter *next;
	struct call *call;
	char *key; /* execution or activity ARN */
	char *worker;
	json_t *out; /* the answer, once there is one */
	int64_t until_ms;
};

static void waiter_answer(void *arg)
{
	struct waiter *w = arg;
	json_t *out = w->out;
	struct call *call = w->call;
	free(w->key);
	free(w->worker);
	free(w);
	wire_answer(call, 0, out, NULL);
}

static void waiter_refuse(void *arg)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct waiter *w = arg;
	struct call *call = w->call;
	json_decref(w->out);
	free(w->key);
	free(w->worker);
	free(w);
	error_http(&err, 503, "ServiceUnavailableException", "Quern is shutting down");
	wire_answer(call, -1, NULL, &err);
}

void waiters_end(struct states *s, struct turn *t)
{
	struct waiter *w;
	while ((w = s->waiters)) {
		s->waiters = w->next;
		turn_after_commit(t, waiter_refuse, w);
	}
}

static struct waiter *waiter_take(struct states *s, const char *key)
{
	for (struct waiter **p = &s->waiters; *p; p = &(*p)->next)
		if (strcmp((*p)->key, key) == 0) {
			struct waiter *w = *p;
			*p = w->next;
			w->next = NULL;
			return w;
		}
	return NULL;
}

/* A command that is run again must not leave two. */
static void waiter_forget(struct states *s, const struct call *c)
{
	for (struct waiter **p = &s->waiters, *w; (w = *p); p = &w->next)
		if (w->call == c) {
			*p = w->next;
			free(w->key);
			free(w->worker);
			free(w);
			return;
		}
}

static struct waiter *waiter_add(struct states *s, struct call *c, const char *key)
{
	waiter_forget(s, c);
	struct waiter **p = &s->waiters, *w = mem_calloc(1, sizeof(*w));
	while (*p)
		p = &(*p)->next;
	w->call = c;
	w->key = mem_strdup(key);
	*p = w;
	return w;
}

void waiters_execution_ended(struct states *s, struct turn *t, const char *arn, json_t *out)
{
	struct waiter *w = waiter_take(s, arn);
	if (!w) {
		json_decref(out);
		return;
	}
	w->out = out;
	turn_after_commit(t, waiter_answer, w);
}

/* ---- activities' tasks ---- */

enum { POLL_MS = 60000 };

/* The oldest task of an activity goes to a worker: {"taskToken","input"}, or NULL when there is none. */
static int task_take(struct turn *t, const char *activity, const char *worker, json_t **out, struct error *err)
{
	struct db *db = turn_db(t);
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(db, &rows, err,
			"SELECT a.id, a.token, a.input, k.execution, k.frame, k.attempt FROM states_activity_task a "
			"JOIN states_token k ON k.token=a.token "
			"WHERE a.activity=? ORDER BY a.id LIMIT 1",
			"s", activity);
	*out = NULL;
	if (rc <= 0)
		return rc;
	struct str token = arena_str(turn_arena(t), rows_str(&rows, 1)), input = rows_str(&rows, 2);
	*out = json_pack("{s:s,s:o}", "taskToken", token.ptr, "input", json_stringn(input.ptr, input.len));
	json_t *e = json_pack("{s:s,s:I,s:I}", "type", "worker", "frame", (json_int_t)rows_int(&rows, 4), "attempt",
			      (json_int_t)rows_int(&rows, 5));
	json_set_text(e, "worker", worker);
	turn_send(t, arena_strdup(turn_arena(t), rows_str(&rows, 3)), e);
	rows_done(&rows);
	return db_exec(db, err, "DELETE FROM states_activity_task WHERE token=?", "S", token) < 0 ? -1 : 0;
}

void waiters_activity_ready(struct states *s, struct turn *t, const char *activity)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	for (struct waiter *w = s->waiters; w; w = w->next)
		if (strcmp(w->key, activity) == 0) {
			json_t *out = NULL;
			if (task_take(t, activity, w->worker, &out, &err) < 0 || !out)
				return;
			w = waiter_take(s, activity);
			w->out = out;
			turn_after_commit(t, waiter_answer, w);
			return;
		}
}

struct poll {
	struct call *c;
	struct states *s;
	json_t *in, *out;
	bool waits;
};

/* The pollers' clock: an actor, because it has timers. */
static int pollers_turn(struct turn *t, json_t *state, json_t *event, struct error *err)
{
	struct states *s = exec_actor_room();
	(void)state;
	(void)event;
	(void)err;
	int64_t now = turn_now_ms(t), next = 0;
	for (struct waiter **p = &s->waiters, *w; (w = *p);) {
		if (w->until_ms && w->until_ms <= now) {
			*p = w->next;
			turn_after_commit(t, waiter_answer, w);
			continue;
		}
		if (w->until_ms && (!next || w->until_ms < next))
			next = w->until_ms;
		p = &w->next;
	}
	turn_timer(t, "poll", next, next ? json_pack("{s:s}", "type", "tick") : NULL);
	return 0;
}
const struct actor_type states_pollers_actor = { .name = "states.pollers", .turn = pollers_turn };

static int poll_run(struct turn *t, void *arg, struct error *err)
{
	struct poll *p = arg;
	CLEANUP_ROWS struct rows rows = { 0 };
	const char *arn = json_get_text(p->in, "activityArn"), *worker = json_get_text(p->in, "workerName");
	json_decref(p->out);
	p->out = NULL;
	if (arn_check(str_from(arn), "activity", err) < 0)
		return -1;
	int rc = db_row(turn_db(t), &rows, err, "SELECT 1 FROM states_activity WHERE arn=?", "s", arn);
	rows_done(&rows);
	if (rc <= 0)
		return rc < 0 ? -1 : error_aws(err, "ActivityDoesNotExist", "Activity Does Not Exist: '%s'", arn);
	if (task_take(t, arn, worker, &p->out, err) < 0)
		return -1;
	p->waits = !p->out;
	if (!p->waits)
		return 0;
	if (!turn_exists(t, "states/pollers") &&
	    turn_spawn(t, "states.pollers", "states/pollers", json_object(), err) < 0)
		return -1;
	turn_send(t, "states/pollers", json_pack("{s:s}", "type", "tick"));
	struct waiter *w = waiter_add(p->s, p->c, arn);
	w->worker = worker ? mem_strdup(worker) : NULL;
	w->until_ms = turn_now_ms(t) + POLL_MS;
	return 0;
}

static void poll_done(void *arg, int rc, struct error *err)
{
	struct poll *p = arg;
	json_t *out = rc < 0 ? NULL : p->out;
	bool waits = p->waits && rc >= 0;
	if (rc < 0)
		json_decref(p->out);
	json_decref(p->in);
	if (!waits)
		wire_answer(p->c, rc, out, err);
}

ASYNC(api_activity_task)
{
	struct poll *p = ARENA_NEW(c->arena, struct poll);
	*p = (struct poll){ .c = c, .s = c->service_ctx, .in = json_incref(in) };
	engine_submit(c->engine, poll_run, poll_done, p);
}

/* ---- StartSyncExecution ---- */

struct sync {
	struct call *c;
	struct states *s;
	json_t *in;
};

static int sync_run(struct turn *t, void *arg, struct error *err)
{
	struct sync *y = arg;
	struct start_result r;
	const struct start_request rq = { .machine = json_get_text(y->in, "stateMachineArn"),
					  .name = json_get_text(y->in, "name"),
					  .input = json_get_str(y->in, "input"),
					  .trace = json_get_text(y->in, "traceHeader"),
					  .sync = true };
	if (execution_start(y->s, t, &rq, &r, err) < 0)
		return -1;
	waiter_add(y->s, y->c, r.arn);
	return 0;
}

static void sync_done(void *arg, int rc, struct error *err)
{
	struct sync *y = arg;
	json_decref(y->in);
	if (rc < 0)
		wire_answer(y->c, rc, NULL, err);
}

/* An express execution that never waits runs here and now. 1 done, 0 it may wait, < 0. */
static int sync_in_memory(struct call *c, struct states *s, const json_t *in, const struct start_target *g,
			  struct db *db, json_t **out, struct error *err)
{
	struct asl_machine *m = machine_take(s, db, g->hash, err);
	const char *name = json_get_text(in, "name");
	char id[37], id2[37];
	struct exec x;
	if (!m)
		return -1;
	if (!exec_never_waits(m->top) || (g->logging && !strstr(g->logging, "\"OFF\""))) {
		machine_give(s, g->hash, m);
		return 0;
	}
	id_uuid(id, NULL, NULL);
	id_uuid(id2, NULL, NULL);
	name = name ? name : arena_strdup(c->arena, str_from(id));
	const char *arn =
		states_arn(s, c->arena, "express", arena_printf(c->arena, "%s:%s:%s", g->machine.name, name, id2));
	struct str input = json_get_str(in, "input");
	exec_init(&x, s, c->arena);
	x.now_ms = clock_now_ms();
	x.random = exec_random_kernel;
	x.m = m;
	exec_facts(&x, execution_facts(g, arn, name, input.ptr ? input : STR("{}"), x.now_ms));
	json_set_text(x.facts, "trace", json_get_text(in, "traceHeader"));
	bool whole = exec_run_whole(&x); /* it has done nothing yet that would count twice */
	x.now_ms = clock_now_ms();
	if (whole)
		*out = exec_sync_answer(&x);
	exec_release(&x);
	machine_give(s, g->hash, m);
	return whole;
}

ASYNC(api_execution_sync)
{
	struct states *s = c->service_ctx;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct start_target g;
	struct str input = json_get_str(in, "input");
	const char *name = json_get_text(in, "name");
	json_t *out = NULL;
	struct db *db = store_read_begin(engine_store(c->engine), &err);
	int rc = db ? start_target_find(s, db, c->arena, json_get_text(in, "stateMachineArn"), exec_random_kernel(NULL),
					&g, &err)
		    : -1;
	if (rc == 0 && !g.machine.express)
		rc = error_aws(&err, "StateMachineTypeNotSupported",
			       "This operation is not supported by this type of state machine");
	if (rc == 0 && name)
		rc = name_check(str_from(name), &err);
	if (rc == 0)
		rc = input_check(c->arena, input.ptr ? input : STR("{}"), NULL, &err);
	if (rc == 0)
		rc = sync_in_memory(c, s, in, &g, db, &out, &err);
	if (db)
		store_read_end(engine_store(c->engine), db);
	if (rc != 0) {
		wire_answer(c, rc < 0 ? -1 : 0, out, &err);
		return;
	}
	struct sync *y = ARENA_NEW(c->arena, struct sync);
	*y = (struct sync){ c, s, json_incref(in) };
	engine_submit(c->engine, sync_run, sync_done, y);
}
