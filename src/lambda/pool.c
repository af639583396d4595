/* pool.c - which worker runs which invocation.
 *
 * DESIGN: see room.h. A worker asks for work ("polls") and is given one invocation at a time; a new worker is started
 * when more invocations wait than workers are on their way. A worker that ran over its time, crashed, or has code of
 * before a change is ended, never used again. What belongs to the end of an invocation (its outcome, the caller) is
 * kept in l->ended until the lock is given back. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lambda/room.h"

#define WORKER_IDLE_US (300 * 1000000LL)   /* a warm worker without work */
#define WORKER_LIFE_US (36000 * 1000000LL) /* its credentials are good for longer */
#define WORKER_START_US (60 * 1000000LL)   /* to its first poll */
#define WORKER_RETURN_US (10 * 1000000LL)  /* from an answer to the next poll */
#define TIMER_MAX_US (60 * 1000000LL)

/* ---- invocations ---- */

struct invocation *invocation_new(struct lambda *l, struct str payload, const char *client_context)
{
	struct invocation *i = mem_calloc(1, sizeof(*i));
	i->l = l;
	id_uuid(i->id, NULL, NULL);
	i->payload = str_of(mem_strndup(payload.ptr ? payload.ptr : "", payload.len), payload.len);
	i->client_context = client_context ? mem_strdup(client_context) : NULL;
	return i;
}

void invocation_free(struct invocation *i)
{
	free((char *)i->payload.ptr);
	free((char *)i->body.ptr);
	free(i->client_context);
	free(i->arn);
	free(i->version);
	free(i->log_path);
	free(i);
}

static void end_invocation(struct invocation *i, enum lambda_fault fault, bool function_error, struct str body)
{
	struct worker *w = i->worker;
	i->fault = fault;
	i->function_error = function_error;
	i->body = str_of(mem_strndup(body.ptr ? body.ptr : "", body.len), body.len);
	free((char *)i->payload.ptr);
	i->payload = STR_NULL;
	if (w) {
		i->log_path = w->log_path ? mem_strdup(w->log_path) : NULL;
		if (w->current == i)
			w->current = NULL;
	}
	i->worker = NULL;
	i->next = i->l->ended;
	i->l->ended = i;
}

/* {"errorType", "errorMessage"} as the service itself words it. */
static void end_failed(struct invocation *i, const char *type, const char *text)
{
	struct arena a = ARENA_INIT;
	CLEANUP_JSON json_t *body = json_object();
	json_set_text(body, "errorType", type);
	json_set_text(body, "errorMessage", arena_printf(&a, "RequestId: %s Error: %s", i->id, text));
	end_invocation(i, LAMBDA_OK, true, json_text(&a, body));
	arena_release(&a);
}

void pool_lock(struct lambda *l)
{
	pthread_mutex_lock(&l->lock);
}

void pool_unlock(struct lambda *l)
{
	struct invocation *list = l->ended, *next;
	l->ended = NULL;
	pthread_mutex_unlock(&l->lock);
	for (; list; list = next) {
		next = list->next;
		list->done(list);
	}
}

static struct invocation *queue_take(struct pool *p)
{
	struct invocation *i = p->first;
	if (!i)
		return NULL;
	p->first = i->next;
	if (!p->first)
		p->last = &p->first;
	i->next = NULL;
	p->waiting--;
	i->l->queued--;
	return i;
}

/* ---- workers ---- */

void lambda_worker_unref(struct worker *w)
{
	if (--w->refs)
		return;
	json_decref(w->config);
	free(w->blob);
	free(w->name);
	free(w->log_path);
	free(w);
}

static void leave_state(struct worker *w)
{
	struct pool *p = w->pool;
	p->starting -= w->state == WORKER_STARTING;
	p->idle -= w->state == WORKER_IDLE;
	p->busy -= w->state == WORKER_BUSY;
}

static void enter_state(struct worker *w, enum worker_state state)
{
	struct pool *p = w->pool;
	leave_state(w);
	w->state = state;
	w->since_us = clock_monotonic_us();
	p->starting += state == WORKER_STARTING;
	p->idle += state == WORKER_IDLE;
	p->busy += state == WORKER_BUSY;
}

static void refuse_poll(struct worker *w)
{
	struct wire_request *r = w->poll;
	w->poll = NULL;
	if (r)
		wire_send(r, 410,
			  STR("{\"errorMessage\":\"This worker is not needed any more\",\"errorType\":\"Gone\"}"));
}

/* The worker is out: its task is stopped, its invocation has been ended by the caller. */
static void worker_end(struct worker *w)
{
	struct lambda *l = w->l;
	struct worker **at = &w->pool->workers;
	if (w->state == WORKER_GONE)
		return;
	leave_state(w);
	while (*at && *at != w)
		at = &(*at)->next;
	if (*at)
		*at = w->next;
	w->state = WORKER_GONE;
	w->pool = NULL;
	map_remove(&l->workers, str_from(w->token));
	map_remove(&l->tasks, str_from(w->task));
	l->worker_count--;
	refuse_poll(w);
	if (!l->stopping) { /* else: it ends by itself, or at the next start */
		w->refs++;
		work_add(l->work, lambda_worker_stop, w);
	}
	lambda_worker_unref(w);
}

static void worker_new(struct pool *p, struct lambda *l)
{
	unsigned char random[16], name[10];
	char hex[21];
	struct worker *w = mem_calloc(1, sizeof(*w));
	random_bytes(random, sizeof(random));
	random_bytes(name, sizeof(name));
	hex_encode(w->token, random, sizeof(random));
	hex_encode(hex, name, sizeof(name));
	snprintf(w->task, sizeof(w->task), "lw-%s", hex);
	w->l = l;
	w->pool = p;
	w->config = json_incref(p->config);
	w->blob = mem_strdup(p->blob);
	w->name = mem_strdup(p->name);
	w->cold = true;
	w->own_report = p->own_report;
	w->refs = 2; /* the pool's and the start's */
	w->state = WORKER_STARTING;
	w->since_us = w->born_us = clock_monotonic_us();
	p->starting++;
	w->next = p->workers;
	p->workers = w;
	map_set(&l->workers, str_from(w->token), w);
	map_set(&l->tasks, str_from(w->task), w);
	l->worker_count++;
	work_add(l->work, lambda_worker_start, w);
}

/* Room for one more worker: an idle one of another pool gives way. */
static bool make_room(struct lambda *l, const struct pool *p)
{
	struct worker *oldest = NULL;
	if (l->worker_count < l->worker_max)
		return true;
	for (size_t i = 0; i < l->workers.count; i++) {
		struct worker *w = l->workers.entries[i].value;
		if (w->state == WORKER_IDLE && w->poll && w->pool != p && (!oldest || w->since_us < oldest->since_us))
			oldest = w;
	}
	if (oldest)
		worker_end(oldest);
	return oldest != NULL;
}

/* ---- dispatch ---- */

static void send_invocation(struct worker *w, struct invocation *i)
{
	char deadline[32];
	struct wire_request *r = w->poll;
	int64_t now_us = clock_monotonic_us();
	struct pool *p = w->pool;
	w->poll = NULL;
	w->current = i;
	i->worker = w;
	i->sent_us = now_us;
	i->deadline_us = now_us + p->timeout_ms * 1000;
	enter_state(w, WORKER_BUSY);
	if (w->own_report)
		lambda_log(w->log_path, "START RequestId: %s Version: %s", i->id, p->version);
	snprintf(deadline, sizeof(deadline), "%lld", (long long)clock_now_ms() + p->timeout_ms);
	wire_set_header(r, "Content-Type", "application/json");
	wire_set_header(r, "Lambda-Runtime-Aws-Request-Id", i->id);
	wire_set_header(r, "Lambda-Runtime-Deadline-Ms", deadline);
	wire_set_header(r, "Lambda-Runtime-Invoked-Function-Arn", i->arn);
	if (i->client_context)
		wire_set_header(r, "Lambda-Runtime-Client-Context", i->client_context);
	pthread_cond_signal(&w->l->cond);
	wire_send(r, 200, i->payload);
}

static void dispatch(struct lambda *l, struct pool *p)
{
	for (struct worker *w = p->workers; w && p->first; w = w->next)
		if (w->state == WORKER_IDLE && w->poll && !w->retired)
			send_invocation(w, queue_take(p));
	while (!l->stopping && p->waiting > p->starting + p->idle && make_room(l, p))
		worker_new(p, l);
}

/* A place became free. */
static void dispatch_all(struct lambda *l)
{
	for (size_t i = 0; i < l->pools.count; i++) {
		struct pool *p = l->pools.entries[i].value;
		if (p->waiting)
			dispatch(l, p);
	}
}

/* Workers of before a change go, at once or when they have answered. */
static void retire_workers(struct pool *p)
{
	struct worker *w = p->workers, *next;
	for (; w; w = next) {
		next = w->next;
		w->retired = true;
		if (!w->current)
			worker_end(w);
	}
}

static void pool_fill(struct pool *p, const struct lambda_version *v)
{
	json_decref(p->config);
	free(p->revision);
	free(p->blob);
	p->config = json_incref(v->config);
	p->revision = mem_strdup(json_get_text(v->config, "RevisionId"));
	p->blob = mem_strdup(v->blob);
	p->timeout_ms = json_get_int(v->config, "Timeout", 3) * 1000;
	p->memory_mb = json_get_int(v->config, "MemorySize", 128);
	p->own_report = str_starts(json_get_str(v->config, "Runtime"), STR("provided"));
}

static struct pool *pool_get(struct lambda *l, const struct lambda_version *v)
{
	struct arena a = ARENA_INIT;
	const char *key = arena_printf(&a, "%s:%s", v->name, v->version);
	struct pool *p = map_get(&l->pools, str_from(key));
	if (!p) {
		p = mem_calloc(1, sizeof(*p));
		p->key = mem_strdup(key);
		p->name = mem_strdup(v->name);
		p->version = mem_strdup(v->version);
		p->last = &p->first;
		pool_fill(p, v);
		map_set(&l->pools, str_from(key), p);
	} else if (strcmp(p->revision, json_get_text(v->config, "RevisionId"))) {
		retire_workers(p);
		pool_fill(p, v);
	}
	arena_release(&a);
	return p;
}

static void pool_free(struct pool *p)
{
	json_decref(p->config);
	free(p->key);
	free(p->name);
	free(p->version);
	free(p->revision);
	free(p->blob);
	free(p);
}

/* Invocations of all versions of a function: the reserved number is for them together. */
static int at_work(struct lambda *l, const char *name)
{
	int n = 0;
	for (size_t i = 0; i < l->pools.count; i++) {
		const struct pool *p = l->pools.entries[i].value;
		if (!strcmp(p->name, name))
			n += p->busy + p->waiting;
	}
	return n;
}

void pool_invoke(struct lambda *l, const struct lambda_version *v, struct invocation *i)
{
	pool_lock(l);
	struct pool *p = pool_get(l, v);
	i->version = mem_strdup(v->version);
	if (l->stopping)
		end_invocation(i, LAMBDA_BROKEN, false, STR("Quern is shutting down"));
	else if (!l->o.tasks)
		end_invocation(i, LAMBDA_BROKEN, false, STR("this daemon runs without an executor"));
	else if ((v->reserved >= 0 && at_work(l, v->name) >= v->reserved) || l->queued >= LAMBDA_QUEUE_MAX)
		end_invocation(i, LAMBDA_THROTTLED, false, STR("Rate Exceeded."));
	else {
		*p->last = i;
		p->last = &i->next;
		p->waiting++;
		l->queued++;
		dispatch(l, p);
	}
	pool_unlock(l);
}

void pool_retire(struct lambda *l, const char *name)
{
	pool_lock(l);
	for (size_t i = 0; i < l->pools.count; i++) {
		struct pool *p = l->pools.entries[i].value;
		if (!strcmp(p->name, name))
			retire_workers(p);
	}
	dispatch_all(l);
	pool_unlock(l);
}

/* ---- what workers say ---- */

static struct worker *worker_of(struct lambda *l, struct str token)
{
	return map_get(&l->workers, token);
}

bool pool_knows(struct lambda *l, struct str token)
{
	pool_lock(l);
	bool known = worker_of(l, token) != NULL;
	pool_unlock(l);
	return known;
}

bool pool_uses(struct lambda *l, const char *blob)
{
	bool used = false;
	pool_lock(l);
	for (size_t i = 0; i < l->workers.count && !used; i++)
		used = strcmp(((struct worker *)l->workers.entries[i].value)->blob, blob) == 0;
	pool_unlock(l);
	return used;
}

/* What a custom runtime does not write itself. */
static void write_report(struct worker *w, struct invocation *i, const char *more)
{
	double ms = (double)(clock_monotonic_us() - i->sent_us) / 1000;
	lambda_log(w->log_path,
		   "END RequestId: %s\nREPORT RequestId: %s\tDuration: %.2f ms\tBilled Duration: %lld ms\tMemory Size: "
		   "%lld MB\t%s",
		   i->id, i->id, ms, (long long)(ms + 0.999), (long long)w->pool->memory_mb, more);
}

bool pool_poll(struct lambda *l, struct str token, struct wire_request *r)
{
	pool_lock(l);
	struct worker *w = worker_of(l, token);
	if (w) {
		if (w->current)
			end_failed(w->current, "Runtime.InvalidState",
				   "The runtime asked for the next invocation before it answered this one");
		refuse_poll(w); /* of a connection that was given up */
		w->poll = r;
		enter_state(w, WORKER_IDLE);
		if (w->retired || l->stopping)
			worker_end(w);
		else
			dispatch(l, w->pool);
		dispatch_all(l);
	}
	pool_unlock(l);
	return w != NULL;
}

bool pool_result(struct lambda *l, struct str token, struct str id, bool failed, bool too_large, struct str body)
{
	pool_lock(l);
	struct worker *w = worker_of(l, token);
	struct invocation *i = w ? w->current : NULL;
	bool known = i && str_eqz(id, i->id);
	if (known) {
		if (w->own_report)
			write_report(w, i, "");
		enter_state(w, WORKER_IDLE);
		w->cold = false;
		if (too_large) {
			CLEANUP_JSON json_t *o = json_pack(
				"{s:s, s:s}", "errorType", "Function.ResponseSizeTooLarge", "errorMessage",
				"Response payload size exceeded maximum allowed payload size (6291556 bytes).");
			CLEANUP_FREE char *text = json_text_dup(o);
			end_invocation(i, LAMBDA_OK, true, str_from(text));
		} else {
			end_invocation(i, LAMBDA_OK, failed, body);
		}
		if (w->retired)
			worker_end(w);
	}
	pool_unlock(l);
	return known;
}

/* The runtime could not load the function: whoever waits longest is told. */
bool pool_init_failed(struct lambda *l, struct str token, struct str body)
{
	pool_lock(l);
	struct worker *w = worker_of(l, token);
	if (w) {
		struct arena a = ARENA_INIT;
		struct pool *p = w->pool;
		struct invocation *i = w->current ? w->current : queue_take(p);
		CLEANUP_JSON json_t *o = json_parse(body, NULL);
		if (i && o && json_object_get(o, "requestId"))
			json_set_text(o, "requestId", i->id);
		if (i) {
			i->worker = w;
			end_invocation(i, LAMBDA_OK, true, o ? json_text(&a, o) : body);
		}
		worker_end(w);
		dispatch_all(l);
		arena_release(&a);
	}
	pool_unlock(l);
	return w != NULL;
}

static void fail_start(struct lambda *l, struct worker *w, const char *why)
{
	struct invocation *i = w->pool ? queue_take(w->pool) : NULL;
	log_warn("lambda", "a worker of %s could not be started: %s", w->name, why);
	if (i)
		end_invocation(i, LAMBDA_BROKEN, false, str_from(why));
	worker_end(w);
	dispatch_all(l);
}

void pool_start_failed(struct lambda *l, struct worker *w, const char *why)
{
	pool_lock(l);
	if (w->state != WORKER_GONE)
		fail_start(l, w, why);
	pool_unlock(l);
}

static const char *exit_text(struct arena *a, const json_t *event)
{
	const json_t *c = json_array_get(json_get(event, "containers"), 0);
	int64_t code = json_get_int(c, "exit_code", 0), sig = json_get_int(c, "signal", 0);
	if (json_get_bool(c, "oom", false) || sig == 9 || code == 137)
		return "Runtime exited with error: signal: killed";
	if (sig)
		return arena_printf(a, "Runtime exited with error: signal: %s", strsignal((int)sig));
	return code ? arena_printf(a, "Runtime exited with error: exit status %lld", (long long)code)
		    : "Runtime exited without providing a reason";
}

/* A worker's end that nobody asked for. */
static void crashed(struct lambda *l, struct worker *w, const json_t *event)
{
	struct arena a = ARENA_INIT;
	bool oom = json_get_bool(json_array_get(json_get(event, "containers"), 0), "oom", false),
	     starting = w->state == WORKER_STARTING;
	const char *why = exit_text(&a, event);
	struct invocation *i = w->current;
	if (i) {
		lambda_log(w->log_path, "RequestId: %s Error: %s\n%s", i->id, why,
			   oom ? "The function's memory was used up (MemorySize)" : "Runtime.ExitError");
		write_report(w, i, "Status: error\tError Type: Runtime.ExitError");
	} else if (starting && (i = queue_take(w->pool))) {
		i->worker = w;
	}
	if (i)
		end_failed(i, oom ? "Runtime.OutOfMemory" : "Runtime.ExitError", why);
	worker_end(w);
	dispatch_all(l);
	arena_release(&a);
}

void pool_task_stopped(struct lambda *l, const json_t *event)
{
	pool_lock(l);
	struct worker *w = map_get(&l->tasks, json_get_str(event, "task"));
	if (w && str_eqz(json_get_str(event, "reason"), "start-failed"))
		fail_start(l, w,
			   json_get_text(event, "error") ? json_get_text(event, "error")
							 : "the container did not start");
	else if (w)
		crashed(l, w, event);
	pool_unlock(l);
}

/* ---- time ---- */

static void timed_out(struct lambda *l, struct worker *w)
{
	struct arena a = ARENA_INIT;
	char now[32];
	struct invocation *i = w->current;
	const char *text = arena_printf(&a, "Task timed out after %.2f seconds", (double)w->pool->timeout_ms / 1000);
	lambda_log(w->log_path, "%s %s %s", clock_iso_ms(clock_now_ms(), now), i->id, text);
	write_report(w, i, "Status: timeout");
	end_failed(i, "Sandbox.Timedout", text);
	worker_end(w);
	arena_release(&a);
}

/* When `w` has to be looked at again; it may be gone after this. */
static int64_t look_at(struct lambda *l, struct worker *w, int64_t now_us)
{
	int64_t due;
	switch (w->state) {
	case WORKER_BUSY:
		due = w->current ? w->current->deadline_us : w->since_us + WORKER_RETURN_US;
		if (now_us >= due && w->current)
			timed_out(l, w);
		else if (now_us >= due)
			worker_end(w);
		return due;
	case WORKER_STARTING:
		due = w->since_us + WORKER_START_US;
		if (now_us >= due)
			fail_start(l, w, "the runtime did not ask for work within 60 seconds");
		return due;
	case WORKER_IDLE:
		due = w->since_us + (w->poll ? WORKER_IDLE_US : WORKER_RETURN_US);
		due = due < w->born_us + WORKER_LIFE_US ? due : w->born_us + WORKER_LIFE_US;
		if (now_us >= due)
			worker_end(w);
		return due;
	default:
		return INT64_MAX;
	}
}

static int64_t look_around(struct lambda *l)
{
	int64_t now_us = clock_monotonic_us(), next = now_us + TIMER_MAX_US;
	int before = l->worker_count;
	for (size_t i = l->workers.count; i-- > 0;) {
		if (i >= l->workers.count)
			continue;
		int64_t due = look_at(l, l->workers.entries[i].value, now_us);
		if (due > now_us && due < next)
			next = due;
	}
	for (size_t i = l->pools.count; i-- > 0;) {
		struct pool *p = l->pools.entries[i].value;
		if (p->waiting + p->starting + p->idle + p->busy)
			continue;
		map_remove(&l->pools, str_from(p->key));
		pool_free(p);
	}
	if (l->worker_count < before)
		dispatch_all(l);
	return next;
}

static void *timer_run(void *arg)
{
	struct lambda *l = arg;
	pool_lock(l);
	while (!l->stopping) {
		int64_t next = look_around(l);
		pool_unlock(l);
		pool_lock(l);
		struct timespec at = { .tv_sec = next / 1000000, .tv_nsec = next % 1000000 * 1000 };
		if (!l->stopping)
			pthread_cond_timedwait(&l->cond, &l->lock, &at);
	}
	pool_unlock(l);
	return NULL;
}

int pool_init(struct lambda *l, struct error *err)
{
	pthread_condattr_t attr;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	l->worker_max = cpus > 2 ? (int)cpus * 8 : 16;
	pthread_mutex_init(&l->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&l->cond, &attr);
	pthread_condattr_destroy(&attr);
	int rc = pthread_create(&l->timer, NULL, timer_run, l);
	if (rc)
		return error_errno(err, rc, "start the timer thread of functions");
	l->timer_runs = true;
	return 0;
}

void pool_stop(struct lambda *l)
{
	static const struct str why = { "Quern is shutting down", 22 };
	pool_lock(l);
	l->stopping = true;
	for (size_t i = 0; i < l->pools.count; i++)
		for (struct invocation *v; (v = queue_take(l->pools.entries[i].value));)
			end_invocation(v, LAMBDA_BROKEN, false, why);
	for (size_t i = l->workers.count; i-- > 0;) {
		struct worker *w = l->workers.entries[i].value;
		if (w->current)
			end_invocation(w->current, LAMBDA_BROKEN, false, why);
		worker_end(w);
	}
	pthread_cond_broadcast(&l->cond);
	pool_unlock(l);
	if (l->timer_runs)
		pthread_join(l->timer, NULL);
	l->timer_runs = false;
}

void pool_release(struct lambda *l)
{
	for (size_t i = 0; i < l->pools.count; i++)
		pool_free(l->pools.entries[i].value);
	map_release(&l->pools);
	map_release(&l->workers);
	map_release(&l->tasks);
	pthread_cond_destroy(&l->cond);
	pthread_mutex_destroy(&l->lock);
}
