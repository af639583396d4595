/* sagemaker.c - the room's constructor: one wire service made of the operations of pipelines and jobs.
 *
 * DESIGN: pipelines and jobs each bring a table of operations and register their actors and effects; here they are only
 * put together. */
#include "sagemaker/room.h"

static size_t ops_count(const struct wire_op *ops)
{
	size_t n = 0;
	while (ops[n].name)
		n++;
	return n;
}

static struct wire_op *ops_join(void)
{
	size_t np = ops_count(pipeline_ops), nj = ops_count(job_ops);
	struct wire_op *all = mem_calloc(np + nj + 1, sizeof *all);
	memcpy(all, pipeline_ops, np * sizeof *all);
	memcpy(all + np, job_ops, nj * sizeof *all);
	return all;
}

int sagemaker_new(const struct sagemaker_options *options, struct sagemaker **out, struct error *err)
{
	struct sagemaker *s = mem_calloc(1, sizeof *s);
	s->o = *options;
	s->ops = ops_join();
	s->service = (struct wire_service){ .model = "sagemaker",
					    .scope = "sagemaker",
					    .ops = s->ops,
					    .access = sagemaker_access,
					    .passed_to = "sagemaker.amazonaws.com",
					    .ctx = s };
	if (pipelines_init(s, err) < 0 || sagemaker_jobs_init(s, err) < 0) {
		sagemaker_free(s);
		return -1;
	}
	*out = s;
	return 0;
}

void sagemaker_free(struct sagemaker *s)
{
	if (!s)
		return;
	pipelines_release(s);
	mem_cleanup_free(&s->ops);
	mem_cleanup_free(&s);
}

const struct wire_service *sagemaker_service(struct sagemaker *s)
{
	return &s->service;
}

const char *sagemaker_arn(struct sagemaker *s, struct arena *a, const char *kind, const char *name)
{
	return arena_printf(a, "arn:aws:sagemaker:%s:%s:%s/%s", s->o.region, s->o.account, kind, name);
}
