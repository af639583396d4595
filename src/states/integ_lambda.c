/* integ_lambda.c - functions: a function's ARN as the resource, and lambda:invoke. See integ.h.
 *
 * DESIGN: nothing waits for the function: its end finishes the request. What lambda:invoke adds to the answer are the
 * headers that AWS's service sends with it. */
#include "states/integ.h"

static const char *hex_id(struct arena *a, int bytes)
{
	unsigned char raw[16];
	char *out = arena_alloc(a, (size_t)bytes * 2 + 1);
	random_bytes(raw, (size_t)bytes);
	hex_encode(out, raw, (size_t)bytes);
	return out;
}

/* A trace that nobody samples. */
static const char *trace_id(struct arena *a)
{
	return arena_printf(a, "root=1-%08llx-%s;parent=%s;sampled=0", (unsigned long long)(clock_now_ms() / 1000),
			    hex_id(a, 12), hex_id(a, 8));
}

static void add_metadata(struct arena *a, json_t *output, struct str body)
{
	char date[32];
	CLEANUP_JSON json_t *headers = json_object();
	const char *id = integ_request_id(a), *log = json_get_text(output, "LogResult");
	if (log)
		json_set_text(headers, "X-Amz-Log-Result", log);
	json_set_text(headers, "X-Amz-Executed-Version", json_get_text(output, "ExecutedVersion"));
	json_set_text(headers, "x-amzn-Remapped-Content-Length", "0");
	json_set_text(headers, "Connection", "keep-alive");
	json_set_text(headers, "x-amzn-RequestId", id);
	json_set_text(headers, "Content-Length", arena_printf(a, "%zu", body.len));
	json_set_text(headers, "Date", clock_http(clock_now_ms(), date));
	json_set_text(headers, "X-Amzn-Trace-Id", trace_id(a));
	json_set_text(headers, "Content-Type", "application/json");
	integ_add_headers(output, headers, id, (int)json_get_int(output, "StatusCode", 200));
}

/* The function's own error: its type is the error's name. lambda:invoke reads the payload and writes it anew. */
static void function_error(struct arena *a, const json_t *value, struct str body, bool direct, struct answer *out)
{
	const char *type = json_get_text(value, "errorType");
	if (type) {
		out->error = arena_strdup(a, str_from(type));
		out->cause = direct ? arena_strdup(a, body) : asl_text(a, value).ptr;
		return;
	}
	out->error = "Lambda.Unknown";
	out->cause = arena_printf(a,
				  "The cause could not be determined because Lambda did not return an error type. "
				  "Returned payload: %.*s",
				  STR_ARG(body));
}

static void set_payload(struct arena *a, json_t *in, struct str text)
{
	char *coded = arena_alloc(a, 4 * ((text.len + 2) / 3) + 1);
	base64_encode(coded, text.ptr, text.len);
	json_set_text(in, "Payload", coded);
}

/* The payload's bytes; STR_NULL when there is none. */
static struct str payload_of(struct arena *a, const json_t *answer)
{
	struct str blob = json_get_str(answer, "Payload");
	char *plain = arena_alloc(a, blob.len + 4);
	ptrdiff_t n = blob.ptr ? base64_decode(plain, blob) : 0;
	return blob.ptr ? str_of(plain, n > 0 ? (size_t)n : 0) : STR_NULL;
}

static void answered(void *arg, int rc, json_t *answer, struct error *err)
{
	struct integ_request *q = arg;
	struct arena *a = &q->arena;
	struct answer out = { 0 };
	bool direct = q->r.kind == TASK_LAMBDA_ARN;
	if (rc < 0) {
		integ_optimized_error(a, "Lambda", "AWSLambda", err, &out);
		q->done(q, &out);
		return;
	}
	struct str body = payload_of(a, answer);
	json_t *value = body.len ? asl_read_json(a, body, false, NULL) : NULL;
	if (!value)
		value = json_null();
	if (json_get(answer, "FunctionError")) {
		function_error(a, value, body, direct, &out);
		json_decref(value);
	} else if (direct) {
		out.output = value;
	} else {
		out.output = json_copy(answer);
		json_object_set_new(out.output, "Payload", value);
		add_metadata(a, out.output, body);
	}
	json_decref(answer);
	q->done(q, &out);
}

/* A text is the payload as it stands, anything else its JSON. */
json_t *integ_lambda_params(struct arena *a, const json_t *params)
{
	json_t *in = json_copy((json_t *)params), *payload = json_get(params, "Payload");
	if (payload)
		set_payload(a, in, json_is_string(payload) ? json_str(payload) : asl_text(a, payload));
	return in;
}

void integ_lambda_output(struct arena *a, json_t *output)
{
	struct str body = payload_of(a, output);
	json_t *text = body.ptr ? json_stringn(body.ptr, body.len) : NULL;
	if (text) /* bytes that are no text stay base64 */
		json_object_set_new(output, "Payload", text);
}

void integ_lambda_call(struct integ_request *q)
{
	struct arena *a = &q->arena;
	json_t *in = json_object(), *payload = q->params;
	arena_defer(a, integ_json_release, in);
	if (q->r.kind == TASK_LAMBDA_ARN) {
		json_set_text(in, "FunctionName", q->r.arn);
	} else {
		json_object_update(in, q->params);
		json_object_del(in, "Payload");
		payload = json_object_get(q->params, "Payload");
	}
	/* A text is the payload as it stands; none at all is an empty object. */
	struct str text = !payload || json_is_null(payload)                         ? STR("{}")
			  : json_is_string(payload) && q->r.kind != TASK_LAMBDA_ARN ? json_str(payload)
										    : asl_text(a, payload);
	set_payload(a, in, text);
	integ_wire_call(q, "lambda", "Invoke", in, answered);
}
