/* states.c - the room's life, the table of its operations, and the memory of parsed definitions. See room.h. */
#include "states/exec.h"
#include "states/integ.h"

#include <openssl/evp.h>
#include <stdlib.h>

#include "base/log.h"

enum { POOLED_MACHINES = 4, POOLS = 256, TESTS_AT_ONCE = 16, CHECKS_AT_ONCE = 4 };

struct machine_pool {
	struct asl_machine *idle[POOLED_MACHINES];
	int count;
};

struct deferred *call_defer(struct call *c, json_t *in, wire_async fn)
{
	struct deferred *d = ARENA_NEW(c->arena, struct deferred);
	*d = (struct deferred){ c, json_incref(in), fn };
	return d;
}

void deferred_run(void *deferred)
{
	struct deferred *d = deferred;
	json_t *in = d->in;
	d->fn(d->c, in); /* d goes with its call */
	json_decref(in);
}

/* ---- life ---- */

int states_new(const struct states_options *o, struct states **out, struct error *err)
{
	(void)err;
	CLEANUP_ERROR struct error why = ERROR_INIT;
	struct states *s = mem_calloc(1, sizeof(*s));
	s->o = *o;
	if (s->o.retention_ms <= 0)
		s->o.retention_ms = 90 * 24 * 3600 * 1000LL;
	pthread_mutex_init(&s->lock, NULL);
	s->tests = work_new(TESTS_AT_ONCE);
	s->checks = work_new(CHECKS_AT_ONCE);
	if (o->jsonata_program) {
		const struct jsonata_options jo = { .program = o->jsonata_program };
		if (jsonata_new(&jo, &s->jsonata, &why) < 0)
			log_warn("states", "JSONata expressions will fail: %s", error_text(&why));
	}
	exec_actor_bind(s);
	engine_add_actor(o->engine, &states_execution_actor);
	engine_add_actor(o->engine, &states_pollers_actor);
	engine_add_actor(o->engine, &states_retention_actor);
	exec_effects_init(s);
	integ_effects_init(s);
	asl_calls = &integ_calls;
	*out = s;
	return 0;
}

void states_set_wire(struct states *s, struct wire_server *w)
{
	(void)s;
	integ_wire = w;
}

static int end_waits(struct turn *t, void *arg, struct error *err)
{
	(void)err;
	waiters_end(arg, t);
	return 0;
}

void states_stop(struct states *s)
{
	if (!s)
		return;
	s->stopping = true;
	engine_submit(s->o.engine, end_waits, NULL, s);
}

void states_free(struct states *s)
{
	if (!s)
		return;
	work_free(s->tests); /* each call ends within its limits */
	work_free(s->checks);
	exec_feeds_release(s);
	for (size_t i = 0; i < s->machines.count; i++) {
		struct machine_pool *p = s->machines.entries[i].value;
		while (p->count)
			asl_machine_free(p->idle[--p->count]);
		free(p);
	}
	map_release(&s->machines);
	exec_inputs_release();
	jsonata_free(s->jsonata);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* ---- parsed definitions ---- */

const char *machine_hash(struct arena *a, struct str definition)
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	char *out = arena_alloc(a, 65);
	EVP_Digest(definition.ptr, definition.len, sum, &n, EVP_sha256(), NULL);
	hex_encode(out, sum, 32);
	return out;
}

struct asl_machine *machine_take(struct states *s, struct db *db, const char *hash, struct error *err)
{
	pthread_mutex_lock(&s->lock);
	struct machine_pool *p = map_get(&s->machines, str_from(hash));
	struct asl_machine *m = p && p->count ? p->idle[--p->count] : NULL;
	pthread_mutex_unlock(&s->lock);
	if (m)
		return m;
	struct arena a = ARENA_INIT;
	struct asl_diagnostics d = { .arena = &a };
	struct str definition = definition_get(db, &a, hash, err);
	if (definition.ptr && asl_parse(definition, false, &d, &m) < 0)
		error_set(err, "parse the stored definition %s: %s", hash, d.count ? d.items[0].message : "?");
	arena_release(&a);
	return m;
}

static void pools_trim(struct states *s)
{
	while (s->machines.count > POOLS) {
		struct machine_pool *p = s->machines.entries[0].value;
		while (p->count)
			asl_machine_free(p->idle[--p->count]);
		map_remove(&s->machines, s->machines.entries[0].key);
		free(p);
	}
}

void machine_give(struct states *s, const char *hash, struct asl_machine *m)
{
	pthread_mutex_lock(&s->lock);
	struct machine_pool *p = map_get(&s->machines, str_from(hash));
	if (!p) {
		pools_trim(s);
		p = mem_calloc(1, sizeof(*p));
		map_set(&s->machines, str_from(hash), p);
	}
	if (p->count < POOLED_MACHINES) {
		p->idle[p->count++] = m;
		m = NULL;
	}
	pthread_mutex_unlock(&s->lock);
	asl_machine_free(m);
}

int machine_check(struct states *s, struct arena *a, struct str definition, bool express, struct asl_machine **out,
		  struct error *err)
{
	struct asl_diagnostics d = { .arena = a, .jsonata = s->jsonata };
	if (asl_parse(definition, express, &d, out) < 0)
		return error_aws(err, "InvalidDefinition", "%s", asl_invalid_definition(a, &d));
	return 0;
}

/* ---- operations ---- */

const struct wire_op states_ops[] = {
	{ .name = "CreateStateMachine", .async = api_machine_create },
	{ .name = "UpdateStateMachine", .async = api_machine_update },
	{ .name = "DeleteStateMachine", .command = api_machine_delete },
	{ .name = "DescribeStateMachine", .query = api_machine_describe },
	{ .name = "DescribeStateMachineForExecution", .query = api_machine_for_execution },
	{ .name = "ListStateMachines", .query = api_machine_list },
	{ .name = "ValidateStateMachineDefinition", .async = api_machine_validate },
	{ .name = "PublishStateMachineVersion", .command = api_version_publish },
	{ .name = "DeleteStateMachineVersion", .command = api_version_delete },
	{ .name = "ListStateMachineVersions", .query = api_version_list },
	{ .name = "CreateStateMachineAlias", .command = api_alias_create },
	{ .name = "UpdateStateMachineAlias", .command = api_alias_update },
	{ .name = "DeleteStateMachineAlias", .command = api_alias_delete },
	{ .name = "DescribeStateMachineAlias", .query = api_alias_describe },
	{ .name = "ListStateMachineAliases", .query = api_alias_list },
	{ .name = "TagResource", .command = api_tag },
	{ .name = "UntagResource", .command = api_untag },
	{ .name = "ListTagsForResource", .query = api_tags_list },
	{ .name = "StartExecution", .command = api_execution_start },
	{ .name = "StopExecution", .command = api_execution_stop },
	{ .name = "RedriveExecution", .command = api_execution_redrive },
	{ .name = "DescribeExecution", .query = api_execution_describe },
	{ .name = "ListExecutions", .query = api_execution_list },
	{ .name = "GetExecutionHistory", .query = api_execution_history },
	{ .name = "StartSyncExecution", .async = api_execution_sync },
	{ .name = "DescribeMapRun", .query = api_map_run_describe },
	{ .name = "ListMapRuns", .query = api_map_run_list },
	{ .name = "UpdateMapRun", .command = api_map_run_update },
	{ .name = "CreateActivity", .command = api_activity_create },
	{ .name = "DeleteActivity", .command = api_activity_delete },
	{ .name = "DescribeActivity", .query = api_activity_describe },
	{ .name = "ListActivities", .query = api_activity_list },
	{ .name = "GetActivityTask", .async = api_activity_task },
	{ .name = "SendTaskSuccess", .command = api_token_success },
	{ .name = "SendTaskFailure", .command = api_token_failure },
	{ .name = "SendTaskHeartbeat", .command = api_token_heartbeat },
	{ .name = "TestState", .async = api_test_state },
	{ .name = NULL },
};

const struct wire_service *states_service(struct states *s)
{
	static struct wire_service service;
	service = (struct wire_service){ .model = "stepfunctions",
					 .scope = "states",
					 .ops = states_ops,
					 .access = states_access,
					 .passed_to = "states.amazonaws.com",
					 .ctx = s };
	return &service;
}
