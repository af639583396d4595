/* integ_states.c - states:startExecution, with .sync, .sync:2 and .waitForTaskToken: started within the turn, so
 * exactly once. */
#include "states/integ.h"

static json_t *ms_value(double ms)
{
	return json_integer((json_int_t)ms);
}

void integ_add_headers(json_t *output, json_t *headers, const char *request_id, int status)
{
	json_t *all = json_object(), *value;
	const char *key;
	json_object_foreach (headers, key, value)
		json_object_set_new(all, key, json_pack("[O]", value));
	json_object_set_new(
		output, "SdkHttpMetadata",
		json_pack("{s:o,s:O,s:i}", "AllHttpHeaders", all, "HttpHeaders", headers, "HttpStatusCode", status));
	json_object_set_new(output, "SdkResponseMetadata", json_pack("{s:s}", "RequestId", request_id));
}

void integ_add_metadata(struct arena *a, json_t *output, const char *request_id, int status)
{
	char date[32];
	const char *length = arena_printf(a, "%zu", json_text(a, output).len);
	clock_http(clock_now_ms(), date);
	CLEANUP_JSON json_t *headers =
		json_pack("{s:s,s:s,s:s,s:s,s:s}", "x-amzn-RequestId", request_id, "connection", "keep-alive",
			  "Content-Length", length, "Date", date, "Content-Type", "application/x-amz-json-1.0");
	integ_add_headers(output, headers, request_id, status);
}

void integ_event(struct exec *x, struct frame *f, json_t *event)
{
	json_set_int(event, "frame", f->id);
	json_set_int(event, "attempt", f->attempt);
	exec_task_event(x, f, event);
	json_decref(event);
}

/* May the role start this machine? */
static int may_start(struct exec *x, const struct frame *f, const char *machine, struct error *err)
{
	CLEANUP_ERROR struct error why = ERROR_INIT;
	struct integ_request q = { .s = x->s, .t = x->t, .arena = ARENA_INIT };
	integ_set_role(&q, x, f);
	int rc = integ_caller(&q, &why);
	if (rc == 0 && x->s->o.iam)
		rc = iam_may(x->s->o.iam, &q.arena, &q.who, "states:StartExecution", machine, &why);
	arena_release(&q.arena);
	if (rc < 0 && error_is(&why, "AccessDenied"))
		return error_http(err, 400, "AccessDeniedException", "%s", error_text(&why));
	return rc < 0 ? error_move(err, &why) : 0;
}

static void refused_start(struct exec *x, struct frame *f, const struct error *err, const char *request_id)
{
	struct answer w = { 0 };
	const char *code = err->code[0] ? err->code : "InternalFailure";
	bool denied = strcmp(code, "AccessDeniedException") == 0; /* not known to the SDK */
	if (!integ_role_error(x->a, err, &w)) {
		w.error = arena_printf(x->a, "StepFunctions.%s",
				       integ_exception(x->a, denied ? "AWSStepFunctions" : code));
		w.cause = arena_printf(
			x->a,
			"%s (Service: AWSStepFunctions; Status Code: 400; Error Code: %s; Request ID: %s; Proxy: null)",
			error_text(err), code, request_id);
	}
	integ_event(x, f, json_pack("{s:s,s:s,s:s}", "type", "task", "error", w.error, "cause", w.cause));
}

void integ_states_start(struct exec *x, struct frame *f, const struct resource *r)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct start_result started;
	bool sync = r->pattern == TASK_SYNC || r->pattern == TASK_SYNC2;
	const json_t *p = f->work, *input = json_get(p, "Input");
	const char *machine = json_get_text(p, "StateMachineArn"), *request_id = turn_uuid(x->t);
	struct start_request rq = { .machine = machine ? machine : "",
				    .name = json_get_text(p, "Name"),
				    .trace = json_get_text(p, "TraceHeader") };
	if (input)
		rq.input = json_is_string(input) ? json_str(input) : asl_text(x->a, input);
	if (sync) {
		rq.parent = x->arn;
		rq.parent_frame = f->id;
		rq.parent_attempt = f->attempt;
	}
	if (may_start(x, f, rq.machine, &err) < 0 || execution_start(x->s, x->t, &rq, &started, &err) < 0) {
		refused_start(x, f, &err, request_id);
		return;
	}
	if (sync)
		json_set_text(f->task, "child", started.arn);
	json_t *output =
		json_pack("{s:s,s:o}", "ExecutionArn", started.arn, "StartDate", ms_value((double)started.start_ms));
	integ_add_metadata(x->a, output, request_id, 200);
	integ_event(x, f, json_pack("{s:s,s:o}", "type", "task", "output", output));
}

/* Redrive members of a description, as the integration spells them. */
static void add_redrive(struct exec *x, json_t *o, const struct execution_row *row)
{
	CLEANUP_JSON json_t *shown = json_object();
	const char *key;
	json_t *value;
	execution_show_redrive(x->a, shown, row, x->now_ms);
	json_object_foreach (shown, key, value) {
		if (strcmp(key, "redriveDate") == 0)
			json_object_set_new(o, "RedriveDate", ms_value((double)row->redrive_ms));
		else
			json_object_set(o, arena_printf(x->a, "R%s", key + 1), value);
	}
}

/* DescribeExecution's answer, members in the order of the alphabet; with `parsed` input and output are values. */
static json_t *describe(struct exec *x, const struct execution_row *row, const json_t *event, bool parsed)
{
	json_t *o = json_object(), *output = json_object_get(event, "output");
	json_set_text(o, "Cause", row->cause);
	json_set_text(o, "Error", row->error);
	json_set_text(o, "ExecutionArn", row->arn);
	json_object_set_new(o, "Input",
			    parsed ? asl_read_json(x->a, row->input, false, NULL)
				   : json_stringn(row->input.ptr, row->input.len));
	json_object_set_new(o, "InputDetails", json_pack("{s:b}", "Included", 1));
	json_set_text(o, "Name", row->name);
	if (output) {
		struct str text = asl_text(x->a, output);
		json_object_set_new(o, "Output", parsed ? json_incref(output) : json_stringn(text.ptr, text.len));
		json_object_set_new(o, "OutputDetails", json_pack("{s:b}", "Included", 1));
	}
	add_redrive(x, o, row);
	json_object_set_new(o, "StartDate", ms_value((double)row->start_ms));
	json_set_text(o, "StateMachineAliasArn", row->alias);
	json_set_text(o, "StateMachineArn", row->machine);
	json_set_text(o, "StateMachineVersionArn", row->version);
	json_set_text(o, "Status", json_get_text(event, "status"));
	json_object_set_new(o, "StopDate", ms_value((double)x->now_ms));
	json_set_text(o, "TraceHeader", row->trace);
	return o;
}

/* The nested execution has ended: its description is the result, or the cause of the failure. */
void integ_states_ended(struct exec *x, struct frame *f, const json_t *event)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct execution_row row;
	struct resource r;
	if (!resource_parse(x->a, json_get_text(f->state->doc, "Resource"), &r) ||
	    execution_find(turn_db(x->t), x->a, json_get_text(event, "arn"), &row, &err) <= 0)
		return;
	json_t *o = describe(x, &row, event, r.pattern == TASK_SYNC2);
	const char *status = json_get_text(event, "status");
	json_t *answer = json_pack("{s:s}", "type", "ended");
	if (strcmp(status, "SUCCEEDED") == 0) {
		json_object_set(answer, "output", o);
	} else {
		json_set_text(answer, "error", "States.TaskFailed");
		json_set_text(answer, "cause", asl_text(x->a, o).ptr);
	}
	json_decref(o);
	integ_event(x, f, answer);
}
