/* fuzz_states_run.c - whole executions: the bytes choose a definition, an input, what its tasks answer, and when the
 * daemon dies.
 *
 * DESIGN: an odd first byte takes the rest as text (definition, NUL, input); an even one builds a definition from a
 * grammar, so that nearly every input runs. The execution is the real actor on a manual engine
 * (tests/states/run_rig.h), with objects for Maps to read and a bucket for their results. Checked beside memory safety:
 * no turn fails, the history holds together (rig_wrong), and an execution that has not ended by itself can be stopped.
 */
#include <ftw.h>
#include <stdlib.h>
#include <unistd.h>

#include "../states/run_rig.h"
#include "base/clock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEPS = 400, DEEP = 3, EVENTS = 300, RUNS_A_STORE = 100, RESULT_BYTES = 600, OPEN_US = 2000000 };

struct choices {
	const uint8_t *at, *end;
};

static unsigned pick(struct choices *c, unsigned n)
{
	return c->at < c->end ? *c->at++ % n : 0;
}

/* ---- the grammar ---- */

struct gen {
	struct choices *c;
	struct buf *b;
	int states;
};

#define ONE_OF(g, list) (list)[pick((g)->c, sizeof(list) / sizeof(*(list)))]

static const char *const paths[] = { "$",         "$.a",        "$.b[0]",   "$.list",           "$$.Execution.Input",
				     "$.missing", "$v",         "$$",       "$.list[*].x",      "$.list[?(@.x > 1)]",
				     "$.b[0].c",  "$.list[1:]", "$$.State", "$$.Map.Item.Value" };
static const char *const references[] = { "$", "$.r", "$.a", "$.list[0]", "$.deep.er", NULL };
static const char *const values[] = { "1",
				      "null",
				      "\"text\"",
				      "[1,{\"x\":2},{\"x\":3}]",
				      "{\"a\":5,\"b\":[{\"c\":1}],\"list\":[{\"x\":1},{\"x\":2}]}",
				      "{}",
				      "[]",
				      "{\"Error\":\"E\",\"Cause\":\"{}\"}" };
static const char *const templates[] = { "{\"a.$\":\"$.a\"}",
					 "{\"k\":1,\"n\":{\"m.$\":\"$\"}}",
					 "{\"x.$\":\"States.Array($.a, 1)\"}",
					 "{\"a.$\":\"States.MathAdd($.a, -1)\",\"list.$\":\"$.list\"}",
					 "{\"t.$\":\"$$.Task.Token\"}",
					 "{\"f.$\":\"States.Format('{} {}', $.a, $v)\"}",
					 "{\"list.$\":\"States.ArrayRange(1, 5, 2)\",\"a\":2}",
					 "{}" };
static const char *const errors[] = { "States.ALL", "States.TaskFailed", "E", "States.Timeout", "States.Runtime" };

static void gen_scope(struct gen *g, int depth);

static void gen_maybe(struct gen *g, const char *field, const char *text, bool quoted)
{
	if (text && pick(g->c, 3) == 1)
		buf_printf(g->b, quoted ? ",\"%s\":\"%s\"" : ",\"%s\":%s", field, text);
}

static void gen_data(struct gen *g, bool work)
{
	gen_maybe(g, "InputPath", ONE_OF(g, paths), true);
	gen_maybe(g, "OutputPath", ONE_OF(g, paths), true);
	gen_maybe(g, "ResultPath", ONE_OF(g, references), true);
	gen_maybe(g, "Assign", "{\"v.$\":\"$\"}", false);
	if (work)
		gen_maybe(g, "ResultSelector", ONE_OF(g, templates), false);
}

static void gen_trouble(struct gen *g, int first, int count)
{
	if (pick(g->c, 2))
		buf_printf(g->b,
			   ",\"Retry\":[{\"ErrorEquals\":[\"%s\"],\"MaxAttempts\":%u,\"IntervalSeconds\":%u,"
			   "\"BackoffRate\":1.5}]",
			   ONE_OF(g, errors), pick(g->c, 4), 1 + pick(g->c, 3));
	if (pick(g->c, 2))
		buf_printf(g->b, ",\"Catch\":[{\"ErrorEquals\":[\"%s\"],\"Next\":\"S%u\",\"ResultPath\":\"$.caught\"}]",
			   ONE_OF(g, errors), (unsigned)first + pick(g->c, (unsigned)count));
}

static void gen_task(struct gen *g, int first, int count)
{
	static const char *const resources[] = {
		"arn:aws:lambda:us-east-1:000000000000:function:f",
		"arn:aws:states:::lambda:invoke",
		"arn:aws:states:::lambda:invoke.waitForTaskToken",
		"arn:aws:states:::aws-sdk:s3:getObject",
		"arn:aws:states:::aws-sdk:sqs:sendMessage",
		"arn:aws:states:us-east-1:000000000000:activity:none",
		"arn:aws:states:::states:startExecution.sync",
		"arn:aws:states:::ecs:runTask.sync",
	};
	const char *resource = ONE_OF(g, resources);
	bool token = strstr(resource, "Token") != NULL;
	buf_printf(g->b, "\"Type\":\"Task\",\"Resource\":\"%s\"", resource);
	buf_printf(g->b, ",\"Parameters\":%s", token ? templates[4] : ONE_OF(g, templates));
	if (pick(g->c, 2))
		buf_printf(g->b, ",\"TimeoutSeconds\":%u,\"HeartbeatSeconds\":%u", 5 + pick(g->c, 9),
			   1 + pick(g->c, 4));
	gen_data(g, true);
	gen_trouble(g, first, count);
}

static void gen_choice(struct gen *g, int first, int count, int next)
{
	static const char *const tests[] = { "\"NumericGreaterThan\":1", "\"IsPresent\":true", "\"IsNull\":false",
					     "\"StringMatches\":\"t*\"", "\"NumericLessThanPath\":\"$.b[0].c\"" };
	buf_addz(g->b, "\"Type\":\"Choice\",\"Choices\":[");
	unsigned rules = 1 + pick(g->c, 3);
	for (unsigned i = 0; i < rules; i++)
		buf_printf(g->b, "%s{\"Variable\":\"%s\",%s,\"Next\":\"S%u\"}", i ? "," : "", ONE_OF(g, paths),
			   ONE_OF(g, tests), (unsigned)first + pick(g->c, (unsigned)count));
	buf_printf(g->b, "],\"Default\":\"S%d\"", next);
}

#define READ "{\"Resource\":\"arn:aws:states:::s3:"
#define WRITE "{\"Resource\":\"arn:aws:states:::s3:putObject\",\"Parameters\":{\"Bucket\":\"b\"}"

static const char *const readers[] = {
	READ "listObjectsV2\",\"Parameters\":{\"Bucket\":\"b\"}}",
	READ "listObjectsV2\",\"Parameters\":{\"Bucket\":\"b\",\"Prefix\":\"in/\"},\"ReaderConfig\":{\"MaxItems\":2}}",
	READ "listObjectsV2\",\"Parameters\":{\"Bucket\":\"none\"}}",
	READ
	"getObject\",\"ReaderConfig\":{\"InputType\":\"JSON\"},\"Parameters\":{\"Bucket\":\"b\",\"Key\":\"in/json\"}}",
	READ "getObject\",\"ReaderConfig\":{\"InputType\":\"JSONL\"},\"Parameters\":{\"Bucket\":\"b\",\"Key\":\"in/"
	     "lines\"}}",
	READ "getObject\",\"ReaderConfig\":{\"InputType\":\"JSONL\"},\"Parameters\":{\"Bucket\":\"b\",\"Key\":\"in/"
	     "broken\"}}",
	READ "getObject\",\"ReaderConfig\":{\"InputType\":\"CSV\",\"CSVHeaderLocation\":\"FIRST_ROW\"},"
	     "\"Parameters\":{\"Bucket\":\"b\",\"Key\":\"in/csv\"}}",
	READ
	"getObject\",\"ReaderConfig\":{\"InputType\":\"JSON\"},\"Parameters\":{\"Bucket\":\"b\",\"Key\":\"gone\"}}",
};
static const char *const writers[] = {
	WRITE "}",
	WRITE ",\"WriterConfig\":{\"Transformation\":\"NONE\",\"OutputType\":\"JSONL\"}}",
	WRITE ",\"WriterConfig\":{\"Transformation\":\"COMPACT\",\"OutputType\":\"JSON\"}}",
	WRITE ",\"WriterConfig\":{\"Transformation\":\"FLATTEN\",\"OutputType\":\"JSONL\"}}",
	WRITE ",\"WriterConfig\":{\"Transformation\":\"FLATTEN\",\"OutputType\":\"JSON\"}}",
	"{\"WriterConfig\":{\"Transformation\":\"NONE\",\"OutputType\":\"JSON\"}}",
	"{\"WriterConfig\":{\"Transformation\":\"FLATTEN\",\"OutputType\":\"JSON\"}}",
	"{\"Resource\":\"arn:aws:states:::s3:putObject\",\"Parameters\":{\"Bucket.$\":\"$.a\",\"Prefix\":\"p\"}}",
};

static void gen_map(struct gen *g, int depth, int first, int count)
{
	bool distributed = pick(g->c, 3) == 1;
	buf_addz(g->b, "\"Type\":\"Map\",\"ItemProcessor\":{");
	buf_printf(g->b, "\"ProcessorConfig\":{%s},",
		   !distributed         ? "\"Mode\":\"INLINE\""
		   : pick(g->c, 3) == 1 ? "\"Mode\":\"DISTRIBUTED\",\"ExecutionType\":\"EXPRESS\""
					: "\"Mode\":\"DISTRIBUTED\",\"ExecutionType\":\"STANDARD\"");
	gen_scope(g, depth + 1);
	buf_printf(g->b, "},\"MaxConcurrency\":%u", pick(g->c, 4));
	if (distributed) {
		gen_maybe(g, "ItemReader", ONE_OF(g, readers), false);
		gen_maybe(g, "ItemBatcher", "{\"MaxItemsPerBatch\":2,\"BatchInput\":{\"a.$\":\"$.a\"}}", false);
		gen_maybe(g, "ResultWriter", ONE_OF(g, writers), false);
		gen_maybe(g, "ToleratedFailureCount", "1", false);
		gen_maybe(g, "ToleratedFailurePercentage", "50", false);
	} else {
		gen_maybe(g, "ItemsPath", ONE_OF(g, paths), true);
	}
	gen_maybe(g, "ItemSelector", "{\"i.$\":\"$$.Map.Item.Index\",\"a.$\":\"$$.Map.Item.Value\"}", false);
	gen_data(g, true);
	gen_trouble(g, first, count);
}

static void gen_parallel(struct gen *g, int depth, int first, int count)
{
	unsigned branches = 1 + pick(g->c, 3);
	buf_addz(g->b, "\"Type\":\"Parallel\",\"Branches\":[");
	for (unsigned i = 0; i < branches; i++) {
		buf_addz(g->b, i ? ",{" : "{");
		gen_scope(g, depth + 1);
		buf_addz(g->b, "}");
	}
	buf_addz(g->b, "]");
	gen_data(g, true);
	gen_trouble(g, first, count);
}

static void gen_wait(struct gen *g)
{
	static const char *const times[] = { "\"Seconds\":2", "\"SecondsPath\":\"$.a\"",
					     "\"Timestamp\":\"2020-01-01T00:00:00Z\"", "\"TimestampPath\":\"$.b\"" };
	buf_printf(g->b, "\"Type\":\"Wait\",%s", ONE_OF(g, times));
	gen_maybe(g, "OutputPath", ONE_OF(g, paths), true);
}

/* One state; the last one of its scope ends it. */
static void gen_state(struct gen *g, int depth, int first, int count, int i)
{
	bool last = i == first + count - 1;
	unsigned kind = pick(g->c, last ? 8 : 6);
	if (depth >= DEEP && (kind == 4 || kind == 5))
		kind = 0;
	if (last && kind == 3)
		kind = 1;
	buf_printf(g->b, "%s\"S%d\":{", i > first ? "," : "", i);
	switch (kind) {
	case 0:
		buf_addz(g->b, "\"Type\":\"Pass\"");
		gen_maybe(g, "Result", ONE_OF(g, values), false);
		gen_maybe(g, "Parameters", ONE_OF(g, templates), false);
		gen_data(g, false);
		break;
	case 1:
		gen_task(g, first, count);
		break;
	case 2:
		gen_wait(g);
		break;
	case 3:
		gen_choice(g, first, count, i + 1);
		break;
	case 4:
		gen_map(g, depth, first, count);
		break;
	case 5:
		gen_parallel(g, depth, first, count);
		break;
	case 6:
		buf_addz(g->b, "\"Type\":\"Succeed\"}");
		return;
	default:
		buf_addz(g->b, "\"Type\":\"Fail\",\"Error\":\"E\",\"CausePath\":\"$.a\"}");
		return;
	}
	if (kind != 3 && last)
		buf_addz(g->b, ",\"End\":true");
	else if (kind != 3)
		buf_printf(g->b, ",\"Next\":\"S%d\"", i + 1);
	buf_addz(g->b, "}");
}

static void gen_scope(struct gen *g, int depth)
{
	int count = 1 + (int)pick(g->c, depth ? 3 : 5), first = g->states;
	g->states += count;
	buf_printf(g->b, "\"StartAt\":\"S%d\",\"States\":{", first);
	for (int i = first; i < first + count; i++)
		gen_state(g, depth, first, count, i);
	buf_addz(g->b, "}");
}

/* ---- the world ---- */

static json_t *answer(struct rig *g, const struct effect *fx, int64_t *delay_ms)
{
	uint64_t chance = rig_random(g);
	(void)fx;
	*delay_ms = (int64_t)(chance >> 8 & 3) * 1500;
	switch (chance % 8) {
	case 0:
		return NULL;
	case 1:
		return json_pack("{s:s,s:s}", "error", "E", "cause", "why");
	case 2:
		return json_pack("{s:s}", "error", "States.TaskFailed");
	default:
		return json_pack("{s:{s:I,s:[i,i]}}", "output", "a", (json_int_t)(chance >> 20 & 7), "list", 1, 2);
	}
}

static int one_token(struct turn *t, void *arg, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = db_row(turn_db(t), &rows, err, "SELECT token FROM states_token LIMIT 1", "");
	if (rc == 1)
		*(char **)arg = mem_strdup(rows_str(&rows, 0).ptr);
	return rc < 0 ? -1 : 0;
}

/* A callback's holder does something with its token. */
static void use_token(struct rig *g, unsigned what)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_FREE char *token = NULL;
	if (engine_call(g->engine, one_token, &token, &err) < 0)
		abort();
	if (!token)
		return;
	json_t *in = json_pack("{s:s,s:s,s:s}", "taskToken", token, "output", "{\"a\":1}", "error", "E");
	wire_command runs[] = { api_token_success, api_token_failure, api_token_heartbeat };
	json_decref(rig_command(g, runs[what % 3], in, NULL));
}

static bool running(struct rig *g, const char *arn)
{
	CLEANUP_JSON json_t *d = rig_describe(g, arn);
	return str_eqz(json_get_str(d, "status"), "RUNNING");
}

static void hold(struct rig *g, const char *arn)
{
	const char *why = rig_wrong(g, arn);
	if (!why)
		return;
	CLEANUP_JSON json_t *events = rig_history(g, arn);
	char *text = json_dumps(events, JSON_INDENT(1));
	fprintf(stderr, "%s\n%s\n", why, text);
	abort();
}

/* What the world may do to an execution beside its tasks. */
static void disturb(struct rig *g, const char *arn, unsigned what)
{
	CLEANUP_JSON json_t *d = rig_describe(g, arn);
	const char *machine = json_get_text(d, "stateMachineArn");
	if (what == 0)
		json_decref(rig_command(g, api_machine_delete, json_pack("{s:s}", "stateMachineArn", machine), NULL));
	else if (what == 1)
		engine_post(g->engine, arn, json_pack("{s:s,s:s}", "type", "ecs.stopped", "taskArn", "arn:x"), NULL,
			    NULL);
	else if (what == 2)
		json_decref(rig_command(g, api_execution_stop,
					json_pack("{s:s,s:s}", "executionArn", arn, "cause", "C"), NULL));
	else
		engine_post(g->engine, arn, json_pack("{s:s,s:s}", "type", "job-ended", "arn", "arn:x"), NULL, NULL);
}

static void tell(struct rig *g, const char *arn, struct choices *c)
{
	for (int i = 0; i < STEPS && running(g, arn); i++) {
		unsigned what = pick(c, 32);
		if (what == 31)
			rig_crash(g);
		else if (what > 27)
			use_token(g, what);
		else if (what > 23 && pick(c, 8) == 7)
			disturb(g, arn, what - 24);
		rig_run(g, 4);
	}
	if (running(g, arn))
		json_decref(rig_command(g, api_execution_stop,
					json_pack("{s:s,s:s}", "executionArn", arn, "error", "Stopped"), NULL));
	rig_run(g, 20);
	if (running(g, arn))
		abort();
	hold(g, arn);
}

static const char *begin(struct rig *g, struct choices *c)
{
	CLEANUP_BUF struct buf b = BUF_INIT;
	struct gen made = { c, &b, 0 };
	if (pick(c, 2)) {
		struct str definition = STR_NULL, rest = str_of(c->at, (size_t)(c->end - c->at));
		str_split(&rest, '\0', &definition);
		return rig_start(g, "STANDARD", definition, rest.ptr ? rest : STR("{}"));
	}
	const char *input = ONE_OF(&made, values);
	buf_addz(&b, "{");
	gen_scope(&made, 0);
	gen_maybe(&made, "TimeoutSeconds", "30", false);
	buf_addz(&b, "}");
	return rig_start(g, "STANDARD", buf_str(&b), str_from(input));
}

static char dir[64];

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void remove_dir(void)
{
	nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void open_world(struct rig *g)
{
	static bool made;
	if (!made) { /* in memory when we can: nothing waits for a disk */
		snprintf(dir, sizeof(dir), "%s/quern-fuzz-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
		if (!mkdtemp(dir) || atexit(remove_dir))
			abort();
	}
	made = true;
	states_quota.history_events = EVENTS;
	states_quota.result_bytes = RESULT_BYTES;
	*g = (struct rig){ .answer = answer, .blobs_dir = dir };
	rig_open(g);
	rig_bucket(g, "b");
	rig_object(g, "b", "in/json", "[{\"x\":1},2,[3,4],{\"a\":null}]");
	rig_object(g, "b", "in/lines", "{\"x\":1}\n\"two\"\n[3]\n");
	rig_object(g, "b", "in/broken", "{\"x\":1}\n{\"y\":\n[3]\n");
	rig_object(g, "b", "in/csv", "a,b\n1,2\n\"3\",4\n");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct rig g;
	static int runs;
	static int64_t opened_us;
	struct choices c = { data, data + size };
	if (size < 8)
		return 0;
	/* S3's keeper is a thread: it must not come to its first round, which would call the engine from aside. */
	if (runs++ % RUNS_A_STORE == 0 || clock_monotonic_us() - opened_us > OPEN_US) {
		opened_us = clock_monotonic_us();
		if (g.store)
			rig_close(&g);
		open_world(&g);
	}
	memcpy(&g.random, data + size - 8, 8);
	const char *arn = begin(&g, &c);
	if (!arn)
		return 0;
	tell(&g, arn, &c);
	CLEANUP_JSON json_t *d = rig_describe(&g, arn);
	if (str_eqz(json_get_str(d, "redriveStatus"), "REDRIVABLE") && pick(&c, 2)) {
		json_t *again = rig_command(&g, api_execution_redrive, json_pack("{s:s}", "executionArn", arn), NULL);
		if (again)
			tell(&g, arn, &c);
		json_decref(again);
	}
	return 0;
}
