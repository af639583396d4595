/* exec_retry.c - Retry and Catch. See exec.h. */
#include "states/exec.h"

#include <math.h>
#include <stdlib.h>

int exec_match(const json_t *rules, const char *error)
{
	size_t i;
	json_t *rule;
	json_array_foreach (rules, i, rule)
		if (asl_error_matches(json_object_get(rule, "ErrorEquals"), error))
			return (int)i;
	return -1;
}

double exec_backoff(const json_t *retrier, int64_t n)
{
	double interval = json_get_real(retrier, "IntervalSeconds", 1), rate = json_get_real(retrier, "BackoffRate", 2);
	double most = json_get_real(retrier, "MaxDelaySeconds", 31622400);
	double seconds = interval * pow(rate, (double)n);
	return seconds < most ? seconds : most;
}

bool exec_retry(struct exec *x, struct frame *f, const char *error)
{
	const json_t *rules = json_object_get(f->state->doc, "Retry");
	int i = exec_match(rules, error);
	if (i < 0)
		return false;
	const json_t *rule = json_array_get(rules, (size_t)i);
	if (!f->retries) {
		f->retries = json_array();
		for (size_t k = 0; k < json_array_size(rules); k++)
			json_array_append_new(f->retries, json_integer(0));
	}
	int64_t n = json_integer_value(json_array_get(f->retries, (size_t)i));
	if (n >= json_get_int(rule, "MaxAttempts", 3))
		return false;
	double seconds = exec_backoff(rule, n);
	const char *jitter = json_get_text(rule, "JitterStrategy");
	if (jitter && strcmp(jitter, "FULL") == 0)
		seconds *= (double)(x->random(x->random_ctx) >> 11) / 9007199254740992.0;
	json_array_set_new(f->retries, (size_t)i, json_integer(n + 1));
	f->retry_count++;
	f->attempt++;
	f->phase = PHASE_RETRY;
	json_decref(f->task);
	json_decref(f->work);
	json_decref(f->result);
	json_decref(f->memo);
	f->task = f->work = f->result = f->memo = NULL;
	f->next = f->running = f->done = 0;
	if (x->t)
		exec_timer(x, f, "w", exec_later(x, seconds));
	else
		exec_ready(x, f); /* nobody can wait in memory; the clock of an express run stands still */
	return true;
}

bool exec_catch(struct exec *x, struct frame *f, const char *error, const char *cause)
{
	const json_t *rules = json_object_get(f->state->doc, "Catch");
	int i = exec_match(rules, error ? error : "");
	/* States.ALL catches a task's oversized result (as recorded on AWS), but no other oversized data. */
	if (i < 0 && f->state->type == ASL_TASK && error && strcmp(error, "States.DataLimitExceeded") == 0)
		i = exec_match(rules, "States.ALL");
	if (i < 0)
		return false;
	f->catcher = i;
	free(f->fault.error);
	free(f->fault.cause);
	f->fault.error = error ? mem_strdup(error) : NULL;
	f->fault.cause = cause ? mem_strdup(cause) : NULL;
	f->phase = PHASE_CAUGHT;
	exec_ready(x, f);
	return true;
}
