/* pipeline_step_flow.c - the step types that decide and run nothing: Condition and Fail.
 *
 * DESIGN: both end in the turn that begins them. A Condition that can't be evaluated fails. A Fail step's message may
 * be any expression. */
#include "sagemaker/pipeline_run.h"

static int condition_begin(struct run *r, struct step_row *s, struct error *err)
{
	CLEANUP_ERROR struct error why = ERROR_INIT;
	bool outcome;
	if (run_conditions(r, json_get(s->def->arguments, "Conditions"), &outcome, &why) < 0)
		return run_step_bad(r, s, &why, err);
	CLEANUP_JSON json_t *metadata = json_pack("{s:{s:s}}", "Condition", "Outcome", outcome ? "True" : "False");
	return run_step_succeeded(r, s, outcome, metadata, err);
}

static json_t *condition_properties(struct run *r, const struct step_row *s, struct error *err)
{
	(void)r, (void)err;
	return json_pack("{s:b}", "Outcome", s->metadata && strstr(s->metadata, "\"True\"") != NULL);
}

static int fail_begin(struct run *r, struct step_row *s, struct error *err)
{
	CLEANUP_ERROR struct error why = ERROR_INIT;
	const json_t *message = json_get(s->def->arguments, "ErrorMessage");
	CLEANUP_JSON json_t *value = message ? run_eval(r, message, &why) : json_string("");
	if (!value)
		return run_step_bad(r, s, &why, err);
	struct str text = pipeline_text_cut(expr_text(r->a, value), 3072);
	CLEANUP_JSON json_t *metadata = json_pack("{s:{s:s%}}", "Fail", "ErrorMessage", text.ptr, text.len);
	return run_step_failed(r, s, text.len ? arena_strdup(r->a, text) : NULL, metadata, err);
}

const struct step_type step_condition = {
	.name = "Condition",
	.begin = condition_begin,
	.properties = condition_properties,
	.branches = true,
};

const struct step_type step_fail = {
	.name = "Fail",
	.begin = fail_begin,
	.leaf = true,
};
