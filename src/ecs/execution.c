/* execution.c - what a task's execution role has to allow before the task may start: its images, its log streams, its
 * secrets and environment files. Source: Amazon ECS developer guide, "Amazon ECS task execution IAM role"; "Amazon ECS
 * stopped tasks error messages". */
#include "ecs/room.h"

#include "secrets/secrets.h"

struct check {
	struct ecs *e;
	struct db *db;
	struct arena *a;
	struct principal who;
	const char *reason; /* of the refusal */
	struct error *err;
};

/* 0 go on, 1 refused, < 0 a fault. */
static int may(struct check *k, const char *action, const char *resource, const char *before)
{
	CLEANUP_ERROR struct error why = ERROR_INIT;
	if (iam_may(k->e->o.iam, k->a, &k->who, action, resource, &why) == 0)
		return 0;
	if (!error_is(&why, "AccessDenied"))
		return error_move(k->err, &why);
	k->reason = arena_printf(k->a, "%sAccessDeniedException: %s", before, error_text(&why));
	return 1;
}

/* An image of this registry: "<account>.dkr.ecr.<region>.<domain>/<repository>[:tag|@digest]". */
static int check_image(struct check *k, struct str image)
{
	static const char pull[] = "CannotPullContainerError: pull image manifest has been retried 1 time(s): ",
			  login[] = "ResourceInitializationError: unable to pull secrets or registry auth: execution "
				    "resource retrieval failed: unable to retrieve ecr registry auth: service call has "
				    "been retried 1 time(s): ";
	struct str rest = image, host;
	if (!str_starts(image, str_from(arena_printf(k->a, "%s.dkr.ecr.", k->e->o.account))) ||
	    !str_split(&rest, '/', &host) || !rest.ptr)
		return 0;
	size_t end = 0;
	while (end < rest.len && rest.ptr[end] != ':' && rest.ptr[end] != '@')
		end++;
	const char *repository = arena_printf(k->a, "arn:aws:ecr:%s:%s:repository/%.*s", k->e->o.region,
					      k->e->o.account, (int)end, rest.ptr);
	int rc = may(k, "ecr:GetAuthorizationToken", "*", login);
	if (rc == 0)
		rc = may(k, "ecr:BatchGetImage", repository, pull);
	return rc ? rc : may(k, "ecr:GetDownloadUrlForLayer", repository, pull);
}

static int check_images(struct check *k, const json_t *plan)
{
	size_t i;
	json_t *c;
	int rc = 0;
	json_array_foreach (json_get_path(plan, "spec.containers"), i, c)
		if (rc == 0)
			rc = check_image(k, json_get_str(c, "image"));
	return rc;
}

static int check_logs(struct check *k, const json_t *plan)
{
	static const char before[] = "ResourceInitializationError: failed to validate logger args: create stream has "
				     "been retried 1 times: failed to create Cloudwatch log ";
	size_t i;
	json_t *log;
	int rc = 0;
	json_array_foreach (json_get(plan, "logs"), i, log) {
		const char *group = arena_printf(k->a, "arn:aws:logs:%s:%s:log-group:%s:log-stream:", k->e->o.region,
						 k->e->o.account, json_get_text(log, "group"));
		const char *stream = arena_printf(k->a, "%s%s", group, json_get_text(log, "stream"));
		if (rc == 0 && json_get_bool(log, "create", false))
			rc = may(k, "logs:CreateLogGroup", group, arena_printf(k->a, "%sgroup: ", before));
		if (rc == 0)
			rc = may(k, "logs:CreateLogStream", stream, arena_printf(k->a, "%sstream: ", before));
		if (rc == 0)
			rc = may(k, "logs:PutLogEvents", stream, arena_printf(k->a, "%sstream: ", before));
	}
	return rc;
}

static int check_secret(struct check *k, const char *from)
{
	bool manager = strstr(from, ":secretsmanager:") != NULL;
	const char *before = arena_printf(k->a,
					  "ResourceInitializationError: unable to pull secrets or registry auth: "
					  "execution resource retrieval failed: unable to retrieve secret%s from %s: "
					  "service call has been retried 1 time(s): ",
					  manager ? "" : "s", manager ? "asm" : "ssm");
	const char *name = *from == '/' ? from + 1 : from;
	const char *arn = manager                         ? secrets_arn(k->db, k->a, from)
			  : strncmp(from, "arn:", 4) == 0 ? from
							  : arena_printf(k->a, "arn:aws:ssm:%s:%s:parameter/%s",
									 k->e->o.region, k->e->o.account, name);
	return may(k, manager ? "secretsmanager:GetSecretValue" : "ssm:GetParameters", arn, before);
}

static int check_lookups(struct check *k, const json_t *plan)
{
	size_t i, n;
	json_t *look, *one;
	int rc = 0;
	json_array_foreach (json_get(plan, "lookups"), i, look) {
		json_array_foreach (json_get(look, "files"), n, one)
			if (rc == 0)
				rc = may(k, "s3:GetObject", json_get_text(one, "value"),
					 "ResourceInitializationError: failed to download env files: file download "
					 "command: non empty error stream: ");
		if (rc == 0 && json_get(look, "config"))
			rc = may(k, "s3:GetObject", json_get_text(json_get(look, "config"), "value"),
				 "ResourceInitializationError: failed to download firelens s3 config file: ");
		json_array_foreach (json_get(look, "secrets"), n, one)
			if (rc == 0)
				rc = check_secret(k, json_get_text(one, "valueFrom"));
	}
	return rc;
}

int ecs_execution_check(struct ecs *e, struct turn *t, const char *task, const json_t *plan, const char **reason,
			struct error *err)
{
	struct check k = { .e = e, .db = turn_db(t), .a = turn_arena(t), .err = err };
	const char *role = json_get_text(plan, "execution_role");
	if (!role || !e->o.iam)
		return 0; /* without one the machine itself is asked, and it may do all of this */
	if (iam_role_principal(e->o.iam, k.db, k.a, role, task, &k.who, err) < 0)
		return -1;
	int rc = check_lookups(&k, plan);
	if (rc == 0)
		rc = check_images(&k, plan);
	if (rc == 0)
		rc = check_logs(&k, plan);
	*reason = k.reason;
	return rc;
}
