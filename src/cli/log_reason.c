/* log_reason.c - says why an execution or a task failed, behind its output.
 *
 * DESIGN: on stderr: the output itself is data. The reasons are those that the API gives; a long one is cut. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "cli/find.h"
#include "cli/log_streams.h"

enum { REASON_MAX = 600 };

static void tell(const char *what, const char *name, const char *reason)
{
	size_t n = reason ? strlen(reason) : 0;
	fprintf(stderr, "quern: %s `%s`: %.*s%s\n", what, name, REASON_MAX, n ? reason : "no reason is known",
		n > REASON_MAX ? "..." : "");
}

static int pipeline_reason(struct log_source *s, struct error *err)
{
	CLEANUP_JSON json_t *steps = find_pipeline_steps(s->client, s->arn, err);
	json_t *step;
	size_t i;
	json_array_foreach (steps, i, step) {
		const char *name = json_get_text(step, "StepName");
		if (!str_eqz(json_get_str(step, "StepStatus"), "Failed") || (s->step && strcmp(s->step, name) != 0))
			continue;
		tell("failed step", name, json_get_text(step, "FailureReason"));
		if (find_step_job(step))
			fprintf(stderr, "  try: quern debug %s %s\n", find_last_piece(s->arn), name);
	}
	return steps ? 0 : -1;
}

static int machine_reason(struct log_source *s, struct error *err)
{
	struct find_state *one;
	const char *state = NULL;
	CLEANUP_JSON json_t *now = client_call(s->client, "states", "AWSStepFunctions.DescribeExecution",
					       json_pack("{s:s}", "executionArn", s->arn), err);
	if (!now || find_machine_states(s->client, s->config, s->arn, &one, err) < 0)
		return -1;
	const char *status = json_get_text(now, "status"), *error = json_get_text(now, "error"),
		   *cause = json_get_text(now, "cause");
	if (str_eqz(str_from(status), "SUCCEEDED") || str_eqz(str_from(status), "RUNNING"))
		return 0;
	tell("execution", find_last_piece(s->arn),
	     arena_printf(&s->config->arena, "%s%s%s%s%s", status, error ? ": " : "", error ? error : "",
			  cause ? ": " : "", cause ? cause : ""));
	for (; one; one = one->next)
		if (one->task)
			state = one->state;
	if (state)
		fprintf(stderr, "  try: quern debug %s %s\n", find_last_piece(s->arn), state);
	return 0;
}

static int task_reason(struct log_source *s, struct error *err)
{
	CLEANUP_JSON json_t *task = log_source_task(s, s->arn, err);
	json_t *one;
	size_t i;
	bool failed = false;
	json_array_foreach (json_get(task, "containers"), i, one) {
		const char *reason = json_get_text(one, "reason");
		json_t *code = json_get(one, "exitCode");
		if (!reason && json_integer_value(code) == 0)
			continue;
		failed = true;
		tell("container", json_get_text(one, "name"),
		     reason ? reason
			    : arena_printf(&s->config->arena, "exit code %lld", (long long)json_integer_value(code)));
	}
	if (failed)
		fprintf(stderr, "  try: quern debug %s\n", find_last_piece(s->arn));
	return task ? 0 : -1;
}

int log_source_tell_reason(struct log_source *s, struct error *err)
{
	static int (*const reasons[])(struct log_source *, struct error *) = {
		[LOG_OF_PIPELINE] = pipeline_reason,
		[LOG_OF_MACHINE] = machine_reason,
		[LOG_OF_TASK] = task_reason,
	};
	return reasons[s->kind](s, err);
}
