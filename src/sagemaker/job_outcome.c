/* job_outcome.c - from a task's end to a job's status and FailureReason.
 *
 * DESIGN: pure. The texts are AWS's where they are known: "AlgorithmError: <text>, exit code: N" for the user's code,
 * "ClientError: ..." for what the user can put right, "InternalServerError: ..." for us. */
#include "sagemaker/job_impl.h"

#include <stdarg.h>

#define OUT_OF_MEMORY                                                                                                  \
	"ClientError: Please use an instance type with more memory, or reduce the size of job data processed on an "   \
	"instance."
#define NO_IMAGE                                                                                                       \
	"ClientError: Cannot pull algorithm container. Either the image does not exist or its permissions are "        \
	"incorrect."

static const char *cut(struct arena *a, const char *text, size_t max)
{
	struct str s = str_head(str_from(text), max);
	/* not inside a character */
	if (text[s.len])
		while (s.len && ((unsigned char)text[s.len] & 0xc0) == 0x80)
			s.len--;
	return arena_strdup(a, s);
}

const char *job_reason(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	const char *text = arena_vprintf(a, fmt, ap);
	va_end(ap);
	return cut(a, text, JOB_REASON_MAX);
}

const char *job_text_of(const json_t *event, const char *key)
{
	const char *name;
	json_t *texts;
	json_object_foreach (json_get(event, "texts"), name, texts) {
		const char *text = json_get_text(texts, key);
		if (text && *text)
			return text;
	}
	return NULL;
}

static int64_t exit_code(const json_t *container)
{
	int64_t signal = json_get_int(container, "signal", -1);
	return signal > 0 ? 128 + signal : json_get_int(container, "exit_code", -1);
}

/* The container that failed first, or NULL when all ended well. */
static const json_t *first_failed(const json_t *event)
{
	const json_t *found = NULL;
	json_t *c;
	size_t i;
	json_array_foreach (json_get(event, "containers"), i, c) {
		if (exit_code(c) == 0)
			continue;
		if (!found || json_get_int(c, "finished_at", INT64_MAX) < json_get_int(found, "finished_at", INT64_MAX))
			found = c;
	}
	return found;
}

static const char *algorithm_error(struct arena *a, const json_t *event, const json_t *container)
{
	const char *text =
		json_get_text(json_get(json_get(event, "texts"), json_get_text(container, "name")), "failure");
	const char *tail = arena_printf(a, ", exit code: %lld", (long long)exit_code(container));
	static const char head[] = "AlgorithmError: ";
	if (!text || !*text)
		text = job_text_of(event, "failure");
	text = cut(a, text ? text : "", JOB_REASON_MAX - strlen(head) - strlen(tail));
	struct str trimmed = str_trim(str_from(text));
	return arena_printf(a, "%s%.*s%s", head, STR_ARG(trimmed), tail);
}

static const char *container_error(const json_t *event)
{
	json_t *c;
	size_t i;
	json_array_foreach (json_get(event, "containers"), i, c)
		if (json_get_text(c, "error"))
			return json_get_text(c, "error");
	return NULL;
}

/* A start that failed. NULL: not the user's fault. */
static const char *start_error(struct arena *a, const json_t *event, const char *command)
{
	const char *error = json_get_text(event, "error");
	if (!error)
		error = container_error(event);
	struct str text = str_from(error);
	if (str_starts(text, STR("CannotPullContainerError")))
		return job_reason(a, NO_IMAGE " (%s)", error);
	if (str_starts(text, STR("CannotStartContainerError")))
		return job_reason(a,
				  "ClientError: CannotStartContainerError. Please make sure the container can be run "
				  "with 'docker run <image>%s%s'. (%s)",
				  *command ? " " : "", command, error);
	return NULL;
}

struct job_outcome job_outcome_of(struct arena *a, const json_t *event, bool stopping, const char *command)
{
	struct str reason = json_get_str(event, "reason");
	const json_t *failed = first_failed(event);
	if (str_eqz(reason, "timeout"))
		return (struct job_outcome){ .status = "Stopped", .timeout = true };
	if (str_eqz(reason, "stop") || stopping)
		return (struct job_outcome){ .status = "Stopped" };
	if (str_eqz(reason, "start-failed") || (failed && exit_code(failed) < 0)) {
		const char *text = start_error(a, event, command);
		return (struct job_outcome){ .status = "Failed",
					     .reason = text ? text : JOB_INTERNAL_ERROR,
					     .internal = !text };
	}
	if (!str_eqz(reason, "exited"))
		return (struct job_outcome){ .status = "Failed", .reason = JOB_INTERNAL_ERROR, .internal = true };
	if (!failed && json_get_text(event, "error")) /* its outputs could not be collected */
		return (struct job_outcome){ .status = "Failed", .reason = JOB_INTERNAL_ERROR, .internal = true };
	if (!failed)
		return (struct job_outcome){ .status = "Completed" };
	if (json_get_bool(failed, "oom", false))
		return (struct job_outcome){ .status = "Failed", .reason = OUT_OF_MEMORY };
	return (struct job_outcome){ .status = "Failed", .reason = algorithm_error(a, event, failed) };
}
