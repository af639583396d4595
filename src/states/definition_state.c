/* definition_state.c - checks of a state: its members by type and language, resources, Retry and Catch; see
 * definition_impl.h.
 *
 * DESIGN: one table says which member belongs to which state types and to which query language, and how its value is
 * checked. */
#include <ctype.h>

#include "base/json.h"
#include "states/definition_impl.h"

static const char *const type_names[] = { "Task", "Pass", "Choice", "Wait", "Succeed", "Fail", "Parallel", "Map" };

bool check_type_of(const json_t *state, enum asl_type *type)
{
	for (int i = 0; i <= ASL_MAP; i++)
		if (str_eqz(json_get_str(state, "Type"), type_names[i])) {
			*type = (enum asl_type)i;
			return true;
		}
	return false;
}

bool definition_is_jsonata(const json_t *state, bool jsonata_machine)
{
	const json_t *v = json_object_get(state, "QueryLanguage");
	return v ? !str_eqz(json_str(v), "JSONPath") : jsonata_machine;
}

/* ---- values of members ---- */

static void check_in_out(struct state_check *s, const json_t *v, const char *at)
{
	check_path(s, v, at);
}

static void check_result_path(struct state_check *s, const json_t *v, const char *at)
{
	check_reference(s, v, at, REFERENCE_RESULT);
}

static void check_items_path(struct state_check *s, const json_t *v, const char *at)
{
	if (json_is_null(v))
		return;
	check_reference(s, v, at, REFERENCE_ANY);
}

static void check_state_path(struct state_check *s, const json_t *v, const char *at)
{
	check_reference(s, v, at, REFERENCE_STATE);
}

static void check_any_path(struct state_check *s, const json_t *v, const char *at)
{
	check_reference(s, v, at, REFERENCE_ANY);
}

/* ErrorPath and CausePath may also be calls. */
static void check_fail_path(struct state_check *s, const json_t *v, const char *at)
{
	if (check_string(s->c, v, at))
		check_path(s, v, at);
}

static void check_fail_text(struct state_check *s, const json_t *v, const char *at)
{
	if (check_string(s->c, v, at) && s->jsonata)
		check_jsonata(s, v, at);
}

static void check_seconds(struct state_check *s, const json_t *v, const char *at)
{
	check_number(s, v, at, true, s->type == ASL_WAIT ? 0 : 1, MAX_SECONDS);
}

static void check_timestamp(struct state_check *s, const json_t *v, const char *at)
{
	int64_t ms;
	if (!check_string(s->c, v, at))
		return;
	if (s->jsonata && asl_expression_of(v).ptr)
		check_jsonata(s, v, at);
	else if (!asl_timestamp(json_str(v), &ms))
		check_report(s->c, SCHEMA, at, "String does not match RFC3339 timestamp");
}

static void check_next(struct state_check *s, const json_t *v, const char *at)
{
	check_string(s->c, v, at);
}

static void check_end(struct state_check *s, const json_t *v, const char *at)
{
	check_boolean(s->c, v, at);
}

/* ---- Resource and Credentials ---- */

static bool is_in(const char *const list[], struct str name)
{
	for (int i = 0; list[i]; i++)
		if (str_eqz(name, list[i]))
			return true;
	return false;
}

/* Services with an optimized integration; which of them never wait for a job, or for a token. */
static const char *const services[] = { "aws-sdk",
					"lambda",
					"sns",
					"sqs",
					"dynamodb",
					"events",
					"apigateway",
					"batch",
					"ecs",
					"glue",
					"sagemaker",
					"athena",
					"codebuild",
					"databrew",
					"eks",
					"elasticmapreduce",
					"emr-containers",
					"emr-serverless",
					"http",
					"mediaconvert",
					"bedrock",
					"bedrock-agentcore",
					"states",
					"s3",
					NULL };
static const char *const no_sync[] = { "lambda",     "sns",     "sqs",  "dynamodb",          "events",
				       "apigateway", "aws-sdk", "http", "bedrock-agentcore", NULL };
static const char *const no_token[] = {
	"athena",   "batch",        "codebuild", "elasticmapreduce", "emr-containers", "emr-serverless",    "glue",
	"databrew", "mediaconvert", "sagemaker", "dynamodb",         "http",           "bedrock-agentcore", NULL
};

/* AWS has the call, and it takes what the state gives it. */
static bool check_call(struct state_check *s, struct str text)
{
	static const char *const fields[] = { "Parameters", "Arguments" };
	const char *arn = arena_strdup(s->c->arena, text);
	if (!asl_calls)
		return true;
	if (!asl_calls->exists(s->c->arena, arn))
		return false;
	for (size_t i = 0; i < 2; i++) {
		const json_t *params = json_object_get(s->doc, fields[i]);
		const char *stranger = asl_calls->stranger(s->c->arena, arn, params);
		if (stranger)
			check_report(s->c, SCHEMA, check_at(s->c, s->at, fields[i]),
				     "The field \"%s\" is not supported by Step Functions", stranger);
	}
	return true;
}

/* "svc:action.sync" of arn:aws:states:::svc:action.sync. */
static void check_integration(struct state_check *s, struct str text, struct str call, const char *at)
{
	struct str service, rest = call;
	str_split(&rest, ':', &service);
	bool sync2 = str_ends(call, STR(".sync:2")), sync = sync2 || str_ends(call, STR(".sync")),
	     token = str_ends(call, STR(".waitForTaskToken"));
	bool known = rest.ptr && rest.len > 0 && is_in(services, service) && !(sync && is_in(no_sync, service)) &&
		     !(token && is_in(no_token, service)) && !(sync2 && !str_eqz(service, "states")) &&
		     check_call(s, text);
	if (!known)
		check_report(s->c, SCHEMA, at,
			     "The resource provided %.*s is not recognized. The value is not a valid resource ARN, or "
			     "the resource is not available in this region.",
			     STR_ARG(text));
	if (s->c->express && sync)
		check_report(s->c, SCHEMA, at, "Express state machine does not support '.sync' service integration");
	if (s->c->express && token)
		check_report(s->c, SCHEMA, at,
			     "Express state machine does not support '.waitForTaskToken' service integration ");
}

/* "name", "name:$LATEST", "name:alias". */
static bool is_function(struct str name)
{
	struct str function, alias = name;
	str_split(&alias, ':', &function);
	if (function.len == 0)
		return false;
	if (!alias.ptr || str_eqz(alias, "$LATEST"))
		return true;
	for (size_t i = 0; i < alias.len; i++)
		if (!isalnum((unsigned char)alias.ptr[i]) && alias.ptr[i] != '-' && alias.ptr[i] != '_')
			return false;
	return alias.len > 0;
}

/* arn:aws:states:::service:action; published machines write region and account, too. */
static bool is_call(struct str region, struct str account, struct str call)
{
	struct str service;
	if (region.len == 0 && account.len == 0)
		return true;
	return region.len > 0 && account.len > 0 && str_split(&call, ':', &service) && is_in(services, service);
}

/* arn:partition:service:region:account:rest. A template's "${...}" is let through: it is filled in before a machine is
 * used. */
static void check_arn(struct state_check *s, struct str text, const char *at)
{
	struct str rest = text, part[5] = { { 0 } };
	ptrdiff_t open = str_find(text, STR("${"));
	bool good = true;
	if (open >= 0 && str_find(str_skip(text, (size_t)open), STR("}")) > 0)
		return;
	for (int i = 0; i < 5; i++)
		good = good && str_split(&rest, ':', &part[i]);
	good = good && rest.ptr && rest.len > 0 && str_eqz(part[0], "arn") && part[1].len > 0;
	if (good && str_eqz(part[2], "lambda"))
		good = str_starts(rest, STR("function:")) && is_function(str_skip(rest, 9));
	else if (good && str_eqz(part[2], "states") && str_starts(rest, STR("activity:")))
		good = part[3].len > 0 && part[4].len > 0 && rest.len > 9;
	else if (good && str_eqz(part[2], "states") && is_call(part[3], part[4], rest)) {
		check_integration(s, text, rest, at);
		return;
	} else if (good)
		good = str_eqz(part[2], "swf");
	if (!good)
		check_report(s->c, SCHEMA, at, "Value is not a valid resource ARN");
	else if (s->c->express && str_starts(rest, STR("activity:")))
		check_report(s->c, SCHEMA, at, "Express state machine does not support Activity ARN");
}

static void check_resource(struct state_check *s, const json_t *v, const char *at)
{
	/* {"Fn::GetAtt": …} and {"Ref": …} are a template's, to be filled in before a machine is used. */
	void *first = json_object_iter((json_t *)v);
	const char *key = first && json_object_size(v) == 1 ? json_object_iter_key(first) : "";
	if (strncmp(key, "Fn::", 4) == 0 || strcmp(key, "Ref") == 0)
		return;
	if (check_string(s->c, v, at))
		check_arn(s, json_str(v), at);
}

static void check_credentials(struct state_check *s, const json_t *v, const char *at)
{
	struct str resource = json_get_str(s->doc, "Resource");
	if (!check_object(s->c, v, at))
		return;
	check_payload(s, v, at);
	if (str_find(resource, STR(":swf:")) >= 0)
		return;
	if (str_find(resource, STR(":activity:")) >= 0)
		check_report(s->c, SCHEMA, at, "The field 'Credentials' is not supported for activities");
	else if (!json_object_get(v, "RoleArn") && (s->jsonata || !json_object_get(v, "RoleArn.$")))
		check_report(s->c, SCHEMA, at, "The field 'RoleArn' is required but was missing");
}

/* ---- Retry and Catch ---- */

static void check_errors(struct state_check *s, const json_t *rule, const char *at, bool last)
{
	const json_t *errors = json_object_get(rule, "ErrorEquals");
	json_t *name;
	size_t i;
	if (!check_array(s->c, errors, check_at(s->c, at, "ErrorEquals"), false))
		return;
	json_array_foreach (errors, i, name) {
		const char *place = check_at_index(s->c, at, "ErrorEquals", i);
		if (!check_string(s->c, name, place) || !str_eqz(json_str(name), "States.ALL"))
			continue;
		if (!last || json_array_size(errors) > 1)
			check_report(s->c, SCHEMA, place, "States.ALL must appear alone and at end of list");
	}
}

static void check_retry(struct state_check *s, const json_t *v, const char *at)
{
	static const char *const known[] = { "ErrorEquals",     "IntervalSeconds", "MaxAttempts", "BackoffRate",
					     "MaxDelaySeconds", "JitterStrategy",  "Comment",     NULL };
	static const char *const required[] = { "ErrorEquals", NULL }, *const jitters[] = { "NONE", "FULL", NULL };
	json_t *rule;
	size_t i;
	if (!check_array(s->c, v, at, true))
		return;
	json_array_foreach (v, i, rule) {
		const char *place = arena_printf(s->c->arena, "%s[%zu]", at, i);
		struct state_check numbers = *s;
		numbers.jsonata = false;
		if (!check_object(s->c, rule, place))
			continue;
		check_known(s->c, rule, place, known);
		check_required(s->c, rule, place, required);
		check_errors(s, rule, place, i + 1 == json_array_size(v));
		check_number(&numbers, json_object_get(rule, "IntervalSeconds"),
			     check_at(s->c, place, "IntervalSeconds"), true, 0, MAX_SECONDS);
		check_number(&numbers, json_object_get(rule, "MaxAttempts"), check_at(s->c, place, "MaxAttempts"), true,
			     0, MAX_SECONDS);
		check_number(&numbers, json_object_get(rule, "MaxDelaySeconds"),
			     check_at(s->c, place, "MaxDelaySeconds"), true, 1, 31622400);
		check_number(&numbers, json_object_get(rule, "BackoffRate"), check_at(s->c, place, "BackoffRate"),
			     false, 1, 1e308);
		check_enum(s->c, json_object_get(rule, "JitterStrategy"), check_at(s->c, place, "JitterStrategy"),
			   jitters);
	}
}

static void check_catch(struct state_check *s, const json_t *v, const char *at)
{
	static const char *const known[] = { "ErrorEquals", "ResultPath", "Next", "Assign", "Output", "Comment", NULL };
	static const char *const required[] = { "ErrorEquals", "Next", NULL };
	json_t *rule;
	size_t i;
	if (!check_array(s->c, v, at, true))
		return;
	struct state_check inside = *s;
	inside.catching = true;
	json_array_foreach (v, i, rule) {
		const char *place = arena_printf(s->c->arena, "%s[%zu]", at, i);
		if (!check_object(s->c, rule, place))
			continue;
		check_known(s->c, rule, place, known);
		check_required(s->c, rule, place, required);
		check_errors(s, rule, place, i + 1 == json_array_size(v));
		check_string(s->c, json_object_get(rule, "Next"), check_at(s->c, place, "Next"));
		if (json_object_get(rule, "ResultPath") && check_language(s, "ResultPath", ONLY_JSONPATH, place))
			check_reference(s, json_object_get(rule, "ResultPath"), check_at(s->c, place, "ResultPath"),
					REFERENCE_RESULT);
		if (json_object_get(rule, "Output") && check_language(s, "Output", ONLY_JSONATA, place))
			check_jsonata(&inside, json_object_get(rule, "Output"), check_at(s->c, place, "Output"));
		if (json_object_get(rule, "Assign"))
			check_assign(&inside, json_object_get(rule, "Assign"), check_at(s->c, place, "Assign"));
	}
}

/* ---- the table ---- */

enum {
	TASK = 1 << ASL_TASK,
	PASS = 1 << ASL_PASS,
	CHOICE = 1 << ASL_CHOICE,
	WAIT = 1 << ASL_WAIT,
	SUCCEED = 1 << ASL_SUCCEED,
	FAIL = 1 << ASL_FAIL,
	PARALLEL = 1 << ASL_PARALLEL,
	MAP = 1 << ASL_MAP,
	ALL = 255,
	MOVES = TASK | PASS | WAIT | PARALLEL | MAP,
	WORKS = TASK | PARALLEL | MAP,
};

/* With no function the value is checked elsewhere. */
static const struct member {
	const char *name;
	int types;
	enum language language;
	void (*check)(struct state_check *s, const json_t *v, const char *at);
} members[] = {
	{ "Type", ALL, ANY_LANGUAGE, NULL },
	{ "Comment", ALL, ANY_LANGUAGE, NULL },
	{ "QueryLanguage", ALL, ANY_LANGUAGE, NULL },
	{ "Next", MOVES, ANY_LANGUAGE, check_next },
	{ "End", MOVES, ANY_LANGUAGE, check_end },
	{ "InputPath", ALL & ~FAIL, ONLY_JSONPATH, check_in_out },
	{ "OutputPath", ALL & ~FAIL, ONLY_JSONPATH, check_in_out },
	{ "ResultPath", WORKS | PASS, ONLY_JSONPATH, check_result_path },
	{ "Parameters", WORKS | PASS, ONLY_JSONPATH, check_template },
	{ "ResultSelector", WORKS, ONLY_JSONPATH, check_template },
	{ "Result", PASS, ONLY_JSONPATH, NULL },
	{ "Arguments", TASK | PARALLEL, ONLY_JSONATA, check_jsonata },
	{ "Output", ALL & ~FAIL, ONLY_JSONATA, check_jsonata },
	{ "Assign", ALL & ~(FAIL | SUCCEED), ANY_LANGUAGE, check_assign },
	{ "Resource", TASK, ANY_LANGUAGE, check_resource },
	{ "Credentials", TASK, ANY_LANGUAGE, check_credentials },
	{ "TimeoutSeconds", TASK, ANY_LANGUAGE, check_seconds },
	{ "TimeoutSecondsPath", TASK, ONLY_JSONPATH, check_any_path },
	{ "HeartbeatSeconds", TASK, ANY_LANGUAGE, check_seconds },
	{ "HeartbeatSecondsPath", TASK, ONLY_JSONPATH, check_any_path },
	{ "Retry", WORKS, ANY_LANGUAGE, check_retry },
	{ "Catch", WORKS, ANY_LANGUAGE, check_catch },
	{ "Seconds", WAIT, ANY_LANGUAGE, check_seconds },
	{ "SecondsPath", WAIT, ONLY_JSONPATH, check_any_path },
	{ "Timestamp", WAIT, ANY_LANGUAGE, check_timestamp },
	{ "TimestampPath", WAIT, ONLY_JSONPATH, check_any_path },
	{ "Error", FAIL, ANY_LANGUAGE, check_fail_text },
	{ "Cause", FAIL, ANY_LANGUAGE, check_fail_text },
	{ "ErrorPath", FAIL, ONLY_JSONPATH, check_fail_path },
	{ "CausePath", FAIL, ONLY_JSONPATH, check_fail_path },
	{ "Choices", CHOICE, ANY_LANGUAGE, NULL },
	{ "Default", CHOICE, ANY_LANGUAGE, NULL },
	{ "Branches", PARALLEL, ANY_LANGUAGE, NULL },
	{ "ItemProcessor", MAP, ANY_LANGUAGE, NULL },
	{ "Iterator", MAP, ANY_LANGUAGE, NULL },
	{ "ItemsPath", MAP, ONLY_JSONPATH, check_items_path },
	{ "Items", MAP, ONLY_JSONATA, NULL },
	{ "ItemSelector", MAP, ANY_LANGUAGE, NULL },
	{ "ItemReader", MAP, ANY_LANGUAGE, NULL },
	{ "ItemBatcher", MAP, ANY_LANGUAGE, NULL },
	{ "ResultWriter", MAP, ANY_LANGUAGE, NULL },
	{ "Label", MAP, ANY_LANGUAGE, NULL },
	{ "MaxConcurrency", MAP, ANY_LANGUAGE, NULL },
	{ "MaxConcurrencyPath", MAP, ONLY_JSONPATH, check_state_path },
	{ "ToleratedFailureCount", MAP, ANY_LANGUAGE, NULL },
	{ "ToleratedFailureCountPath", MAP, ONLY_JSONPATH, check_state_path },
	{ "ToleratedFailurePercentage", MAP, ANY_LANGUAGE, NULL },
	{ "ToleratedFailurePercentagePath", MAP, ONLY_JSONPATH, check_state_path },
};

static void check_members(struct state_check *s)
{
	const char *key;
	json_t *v;
	json_object_foreach ((json_t *)s->doc, key, v) {
		const struct member *m = NULL;
		for (size_t i = 0; !m && i < sizeof(members) / sizeof(*members); i++)
			if (strcmp(members[i].name, key) == 0 && (members[i].types & 1 << s->type))
				m = &members[i];
		if (!m)
			check_report(s->c, SCHEMA, s->at, "Field '%s' is not supported", key);
		else if (check_language(s, key, m->language, s->at) && m->check)
			m->check(s, v, check_at(s->c, s->at, key));
	}
}

/* What a Task has beside its members' values. */
static void check_task(struct state_check *s)
{
	static const char *const required[] = { "Resource", NULL };
	static const char *const timeouts[] = { "TimeoutSeconds", "TimeoutSecondsPath", NULL };
	static const char *const heartbeats[] = { "HeartbeatSeconds", "HeartbeatSecondsPath", NULL };
	const json_t *timeout = json_object_get(s->doc, "TimeoutSeconds"),
		     *heartbeat = json_object_get(s->doc, "HeartbeatSeconds");
	check_required(s->c, s->doc, s->at, required);
	check_one_of(s->c, s->doc, s->at, timeouts, false);
	check_one_of(s->c, s->doc, s->at, heartbeats, false);
	if (json_is_number(timeout) && json_is_number(heartbeat) &&
	    json_number_value(heartbeat) >= json_number_value(timeout))
		check_report(s->c, SCHEMA, check_at(s->c, s->at, "HeartbeatSeconds"),
			     "HeartbeatSeconds must be less than TimeoutSeconds");
}

static void check_wait(struct state_check *s)
{
	static const char *const all[] = { "SecondsPath", "Seconds", "TimestampPath", "Timestamp", NULL },
				 *const jsonata[] = { "Seconds", "Timestamp", NULL };
	check_one_of(s->c, s->doc, s->at, s->jsonata ? jsonata : all, true);
}

static void check_fail(struct state_check *s)
{
	static const char *const errors[] = { "Error", "ErrorPath", NULL }, *const causes[] = { "Cause", "CausePath",
												NULL };
	check_one_of(s->c, s->doc, s->at, errors, false);
	check_one_of(s->c, s->doc, s->at, causes, false);
}

static void check_transition(struct state_check *s)
{
	static const char *const fields[] = { "Next", "End", NULL };
	bool next = json_object_get(s->doc, "Next") != NULL;
	if (!(MOVES & 1 << s->type))
		return;
	if (next && json_is_true(json_object_get(s->doc, "End")))
		check_report(s->c, SCHEMA, s->at, "There should only be one of the following fields: [Next, End]");
	else if (!next && json_is_false(json_object_get(s->doc, "End")))
		check_report(s->c, SCHEMA, s->at,
			     "This object should have only one of the following fields: [Next, End]");
	else if (!next)
		check_one_of(s->c, s->doc, s->at, fields, true);
}

/* The state's own language; false when it is refused, which is then all there is to say about the state. */
static bool check_query_language(struct state_check *s)
{
	static const char *const languages[] = { "JSONPath", "JSONata", NULL };
	const json_t *v = json_object_get(s->doc, "QueryLanguage");
	s->jsonata = definition_is_jsonata(s->doc, s->c->jsonata_machine);
	check_enum(s->c, v, check_at(s->c, s->at, "QueryLanguage"), languages);
	if (!v || s->jsonata || !s->c->jsonata_machine || s->c->in_distributed)
		return true;
	check_report(s->c, SCHEMA, s->at,
		     "'QueryLanguage' can not be 'JSONPath' if set to 'JSONata' for whole state machine");
	return false;
}

static void check_state(struct check *c, const char *name, const json_t *doc, const char *at)
{
	static const char *const required[] = { "Type", NULL };
	struct state_check s = { .c = c, .name = name, .at = at, .doc = doc };
	if (c->stopped || !check_object(c, doc, at))
		return;
	check_required(c, doc, at, required);
	if (!json_object_get(doc, "Type"))
		return;
	if (!check_type_of(doc, &s.type)) {
		check_report(c, SCHEMA, check_at(c, at, "Type"),
			     "The field 'Type' should have one of these values: [Task, Wait, Pass, Succeed, Fail, "
			     "Choice, Parallel, Map]");
		return;
	}
	if (!check_query_language(&s))
		return;
	check_members(&s);
	check_transition(&s);
	switch (s.type) {
	case ASL_TASK:
		check_task(&s);
		break;
	case ASL_WAIT:
		check_wait(&s);
		break;
	case ASL_FAIL:
		check_fail(&s);
		break;
	case ASL_CHOICE:
		check_choices(&s);
		break;
	case ASL_PARALLEL:
		check_parallel(&s);
		break;
	case ASL_MAP:
		check_map(&s);
		break;
	default:
		break;
	}
}

static void check_name(struct check *c, const char *name, const char *at)
{
	size_t chars = 0;
	for (const char *p = name; *p; p++)
		chars += (*p & 0xc0) != 0x80;
	if (chars == 0)
		check_report(c, "INVALID_STATE_NAME", at, "State name cannot be empty");
	if (chars > MAX_NAME)
		check_report(c, "INVALID_STATE_NAME", at, "State name cannot exceed %d characters", MAX_NAME);
	if (map_set(&c->names, str_from(name), (void *)at))
		check_report(c, "DUPLICATE_STATE_NAME", at, "Duplicate State name: %s", name);
}

/* Every name a scope's own states assign. */
static void collect_variables(const json_t *states, bool jsonata_machine, struct variable_scope *scope)
{
	static const char *const lists[] = { "Choices", "Catch" };
	const char *name, *key;
	json_t *state, *rule, *v;
	size_t i;
	json_object_foreach ((json_t *)states, name, state) {
		const json_t *assigns[64] = { json_object_get(state, "Assign") };
		size_t n = 1;
		for (int k = 0; k < 2; k++)
			json_array_foreach (json_object_get(state, lists[k]), i, rule)
				if (n < 64)
					assigns[n++] = json_object_get(rule, "Assign");
		bool jsonata = definition_is_jsonata(state, jsonata_machine);
		for (i = 0; i < n; i++)
			json_object_foreach ((json_t *)assigns[i], key, v) {
				struct str variable = str_from(key);
				if (!jsonata && str_ends(variable, STR(".$")))
					variable = str_head(variable, variable.len - 2);
				map_set(&scope->names, variable, scope);
			}
	}
}

void check_scope(struct check *c, const json_t *scope, const char *at)
{
	static const char *const required[] = { "States", "StartAt", NULL };
	const json_t *states = json_object_get(scope, "States");
	const char *name;
	json_t *state;
	if (c->depth >= MAX_SCOPES_DEEP) {
		check_report(c, "TOO_DEEPLY_NESTED", at, "The states are nested more than %d deep", MAX_SCOPES_DEEP);
		return;
	}
	check_required(c, scope, at, required);
	check_string(c, json_object_get(scope, "StartAt"), check_at(c, at, "StartAt"));
	at = check_at(c, at, "States");
	if (!check_object(c, states, at))
		return;
	if (json_object_size(states) == 0)
		check_report(c, SCHEMA, at, "Value cannot be empty");
	struct variable_scope variables = { .names = MAP_INIT, .outer = c->variables }, *before = c->variables;
	collect_variables(states, c->jsonata_machine, &variables);
	c->variables = &variables;
	c->depth++;
	json_object_foreach ((json_t *)states, name, state) {
		const char *place = check_at(c, at, name);
		if (!c->single)
			check_name(c, name, place);
		check_state(c, name, state, place);
	}
	c->depth--;
	c->variables = before;
	map_release(&variables.names);
}
