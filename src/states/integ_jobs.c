/* integ_jobs.c - `.sync` on ECS tasks and SageMaker jobs. See integ.h.
 *
 * DESIGN: the job is started, watched, described and stopped within the execution's turns. The rooms of the jobs send
 * the execution an event when one has ended; f->task.jobs has the ARNs that the state waits for. The result is the
 * job's description; that of a job which did not end well is the cause of States.TaskFailed. Of a SageMaker job AWS
 * gives what its event says: the description, and the tags by their keys (seen in public repositories: outputs of
 * createHyperParameterTuningJob.sync, functions that read $.Tags.AWS_STEP_FUNCTIONS_EXECUTION_ARN). */
#include "states/integ.h"

/* How a SageMaker job is named, asked for, stopped, and when it has ended well. */
static const struct job {
	const char *action, *name, *arn, *describe, *stop, *status;
} jobs[] = {
	{ "createTrainingJob", "TrainingJobName", "TrainingJobArn", "DescribeTrainingJob", "StopTrainingJob",
	  "TrainingJobStatus" },
	{ "createProcessingJob", "ProcessingJobName", "ProcessingJobArn", "DescribeProcessingJob", "StopProcessingJob",
	  "ProcessingJobStatus" },
	{ "createTransformJob", "TransformJobName", "TransformJobArn", "DescribeTransformJob", "StopTransformJob",
	  "TransformJobStatus" },
	{ "createHyperParameterTuningJob", "HyperParameterTuningJobName", "HyperParameterTuningJobArn",
	  "DescribeHyperParameterTuningJob", "StopHyperParameterTuningJob", "HyperParameterTuningJobStatus" },
	{ "createLabelingJob", "LabelingJobName", "LabelingJobArn", "DescribeLabelingJob", "StopLabelingJob",
	  "LabelingJobStatus" },
};

static const struct job *job_of(const struct resource *r)
{
	for (size_t i = 0; strcmp(r->service, "sagemaker") == 0 && i < sizeof(jobs) / sizeof(*jobs); i++)
		if (strcmp(jobs[i].action, r->action) == 0)
			return &jobs[i];
	return NULL;
}

bool integ_job_known(const struct resource *r)
{
	return r->pattern == TASK_SYNC &&
	       (job_of(r) || (strcmp(r->service, "ecs") == 0 && strcmp(r->action, "runTask") == 0));
}

/* ---- the start ---- */

static void add_tag(json_t *tags, const char *key, const char *value)
{
	json_array_append_new(tags, json_pack("{s:s,s:s}", "Key", key, "Value", value));
}

static json_t *with_tags(const struct exec *x, json_t *params)
{
	json_t *in = json_copy(params), *tags = json_object_get(in, "Tags");
	tags = json_is_array(tags) ? json_copy(tags) : json_array();
	add_tag(tags, "AWS_STEP_FUNCTIONS_EXECUTION_ARN", x->arn);
	add_tag(tags, "MANAGED_BY_AWS", "STARTED_BY_STEP_FUNCTIONS");
	json_object_set_new(in, "Tags", tags);
	return in;
}

struct submission {
	struct integ_request q; /* first: found from it */
	struct exec *x;
	json_t *arns;
	struct answer out;
};

static void submitted(struct integ_request *q, struct answer *w)
{
	((struct submission *)q)->out = *w;
}

static int watch(struct submission *sub, struct turn *t, json_t *arn, struct error *err)
{
	const struct states *s = sub->x->s;
	int rc = arn && s->o.watch ? s->o.watch(s->o.watch_ctx, t, json_string_value(arn), sub->x->arn, err) : 0;
	json_array_append(sub->arns, arn);
	return rc ? rc : error_set(err, "Quern can't wait for the end of '%s' yet.", sub->q.r.arn);
}

/* One attempt: what it started goes when it can't be watched. */
static int submit(struct turn *t, void *arg, struct error *err)
{
	struct submission *sub = arg;
	const struct job *job = job_of(&sub->q.r);
	integ_call(&sub->q);
	if (!sub->out.output)
		return 0;
	if (job)
		return watch(sub, t, json_object_get(sub->out.output, job->arn), err);
	size_t i;
	json_t *task;
	json_array_foreach (json_object_get(sub->out.output, "Tasks"), i, task)
		if (watch(sub, t, json_object_get(task, "TaskArn"), err) < 0)
			return -1;
	return 0;
}

/* Asks after a job, or stops it, as the service itself; integ_job_start puts the role in. */
static struct integ_request request_of(struct exec *x, const struct resource *r)
{
	return (struct integ_request){ .s = x->s, .t = x->t, .arena = ARENA_INIT, .r = *r };
}

void integ_job_start(struct exec *x, struct frame *f, const struct resource *r)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_JSON json_t *params = job_of(r) ? with_tags(x, f->work) : json_incref(f->work), *arns = json_array();
	struct submission sub = { .q = request_of(x, r), .x = x, .arns = arns };
	json_t *event = json_pack("{s:s}", "type", "task");
	sub.q.params = params;
	sub.q.done = submitted;
	integ_set_role(&sub.q, x, f);
	if (turn_try(x->t, submit, &sub, &err) < 0) {
		json_decref(sub.out.output);
		sub.out = (struct answer){ .error = "States.Runtime", .cause = error_text(&err) };
	}
	if (sub.out.output) {
		json_object_set(f->task, "jobs", arns);
		json_object_set_new(event, "output", sub.out.output);
	} else {
		json_set_text(event, "error", sub.out.error);
		json_set_text(event, "cause", sub.out.cause);
	}
	arena_release(&sub.q.arena);
	integ_event(x, f, event);
}

/* ---- the end ---- */

struct frame *integ_job_frame(struct exec *x, const char *arn)
{
	for (size_t i = 0; arn && i < x->nframes; i++) {
		const json_t *arns =
			x->frames[i]->phase == PHASE_TASK ? json_object_get(x->frames[i]->task, "jobs") : NULL;
		for (size_t k = 0; k < json_array_size(arns); k++)
			if (str_eqz(json_str(json_array_get(arns, k)), arn))
				return x->frames[i];
	}
	return NULL;
}

/* Where the state's ECS tasks are; borrowed. */
static json_t *cluster_of(const struct frame *f)
{
	const json_t *tasks = json_object_get(json_object_get(f->task, "submitted"), "Tasks");
	return json_object_get(json_array_get(tasks, 0), "ClusterArn");
}

/* The job's tags by their keys. */
static void add_tags(struct integ_request *q, const struct job *job, json_t *answer)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_JSON json_t *in = json_object(), *out = NULL;
	json_t *tags = json_object(), *tag;
	size_t i;
	json_object_set(in, "ResourceArn", json_object_get(answer, job->arn));
	integ_service_call(q, "sagemaker", "ListTags", in, &out, &err); /* the job is there: it was just described */
	json_array_foreach (json_object_get(out, "Tags"), i, tag)
		json_object_set(tags, json_get_text(tag, "Key"), json_object_get(tag, "Value"));
	json_object_set_new(answer, "Tags", tags);
}

static json_t *describe(struct integ_request *q, struct frame *f, struct answer *out)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_JSON json_t *in = json_object();
	const struct job *job = job_of(&q->r);
	json_t *answer = NULL;
	if (job) {
		json_object_set(in, job->name, json_object_get(f->work, job->name));
		if (integ_service_call(q, "sagemaker", job->describe, in, &answer, &err) < 0)
			integ_optimized_error(&q->arena, "SageMaker", "AmazonSageMaker", &err, out);
		else
			add_tags(q, job, answer);
		return answer;
	}
	json_object_set(in, "Cluster", cluster_of(f));
	json_object_set(in, "Tasks", json_object_get(f->task, "jobs"));
	if (integ_service_call(q, "ecs", "DescribeTasks", in, &answer, &err) < 0)
		integ_optimized_error(&q->arena, "ECS", "AmazonECS", &err, out);
	return answer;
}

/* A task is well when nobody stopped it and each container, essential or not, ended with 0. Source: executions on AWS
 * fail for a sidecar's exit code too (wellcomecollection/catalogue-pipeline, pull request 3377). */
static bool task_went_well(const json_t *task)
{
	size_t i;
	json_t *container;
	if (!str_eqz(json_get_str(task, "StopCode"), "EssentialContainerExited"))
		return false;
	json_array_foreach (json_object_get(task, "Containers"), i, container)
		if (json_get_int(container, "ExitCode", -1) != 0)
			return false;
	return true;
}

/* The result (borrowed), or what failed as *bad; neither: some still run. */
static json_t *tasks_result(json_t *answer, json_t **bad)
{
	json_t *tasks = json_object_get(answer, "Tasks"), *task;
	size_t i;
	json_array_foreach (tasks, i, task)
		if (!str_eqz(json_get_str(task, "LastStatus"), "STOPPED"))
			return NULL;
	json_array_foreach (tasks, i, task)
		if (!task_went_well(task)) {
			*bad = task;
			return NULL;
		}
	if (json_array_size(tasks) == 0)
		*bad = json_object_get(answer, "Failures");
	return json_array_size(tasks) > 1 ? tasks : json_array_get(tasks, 0);
}

void integ_job_ended(struct exec *x, struct frame *f, const struct resource *r)
{
	struct answer out = { 0 };
	struct integ_request q = request_of(x, r);
	const struct job *job = job_of(r);
	CLEANUP_JSON json_t *answer = describe(&q, f, &out);
	json_t *good = NULL, *bad = NULL, *event = json_pack("{s:s}", "type", "ended");
	if (job && answer) {
		bool well = str_eqz(json_get_str(answer, job->status), "Completed");
		*(well ? &good : &bad) = answer;
	} else if (answer) {
		good = tasks_result(answer, &bad);
	}
	if (good) {
		json_object_set(event, "output", good);
	} else {
		json_set_text(event, "error", bad ? "States.TaskFailed" : out.error);
		json_set_text(event, "cause", bad ? asl_text(x->a, bad).ptr : out.cause);
	}
	arena_release(&q.arena);
	if (answer && !good && !bad)
		json_decref(event); /* some still run */
	else
		integ_event(x, f, event);
}

/* ---- stopping ---- */

void integ_job_stop(struct exec *x, struct frame *f, const struct resource *r)
{
	struct integ_request q = request_of(x, r);
	const struct job *job = job_of(r);
	size_t i;
	json_t *arn;
	json_array_foreach (json_object_get(f->task, "jobs"), i, arn) {
		CLEANUP_ERROR struct error err = ERROR_INIT;
		CLEANUP_JSON json_t *out = NULL, *in = json_object();
		if (job) {
			json_object_set(in, job->name, json_object_get(f->work, job->name));
		} else {
			json_object_set(in, "Cluster", cluster_of(f));
			json_object_set(in, "Task", arn);
			json_set_text(in, "Reason", "The state machine's execution was stopped.");
		}
		integ_service_call(&q, job ? "sagemaker" : "ecs", job ? job->stop : "StopTask", in, &out,
				   &err); /* it may have ended meanwhile */
	}
	arena_release(&q.arena);
}
