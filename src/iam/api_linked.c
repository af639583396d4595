/* api_linked.c - service-linked roles: roles that belong to a service, with a name and policies that it chose.
 *
 * DESIGN: those of the services that Quern has, with AWS's names. Nobody else changes them. A deletion is done when
 * DeleteServiceLinkedRole answers, since nothing here works under such a role; its task says so. Source: IAM user
 * guide, "Create a service-linked role"; the pages of the services on theirs. */
#include "iam/room.h"

struct linked {
	const char *service, *name, *policy; /* policy: of AWS's managed ones, NULL: none */
};
static const struct linked all_linked[] = {
	{ "ecs.amazonaws.com", "AWSServiceRoleForECS", "AmazonECSServiceRolePolicy" },
	{ "ecs.application-autoscaling.amazonaws.com", "AWSServiceRoleForApplicationAutoScaling_ECSService", NULL },
	{ "replication.ecr.amazonaws.com", "AWSServiceRoleForECRReplication", NULL },
	{ "sagemaker.amazonaws.com", "AWSServiceRoleForAmazonSageMakerNotebooks", NULL },
};

static const struct linked *linked_of(struct str service)
{
	for (size_t n = 0; n < sizeof(all_linked) / sizeof(*all_linked); n++)
		if (str_eqz(service, all_linked[n].service))
			return &all_linked[n];
	return NULL;
}

static int insert(struct turn *t, const struct linked *l, const json_t *in, struct error *err)
{
	struct arena *a = turn_arena(t);
	CLEANUP_ERROR struct error why = ERROR_INIT;
	struct str name = str_from(l->name);
	const char *document =
		arena_printf(a,
			     "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":"
			     "{\"Service\":\"%s\"},\"Action\":\"sts:AssumeRole\"}]}",
			     l->service);
	if (db_exec(turn_db(t), &why,
		    "INSERT INTO iam_role(name, folded, path, id, document, description, max_session_s, created_ms) "
		    "VALUES(?,?,?,?,?,?,3600,?)",
		    "SssssSi", name, iam_fold(a, name), arena_printf(a, IAM_LINKED_PATH "%s/", l->service),
		    iam_new_id(t, "AROA", 17), document, json_get_str(in, "Description"), turn_now_ms(t)) >= 0)
		return 0;
	if (!error_is(&why, "conflict"))
		return error_move(err, &why);
	return error_aws(err, "InvalidInput",
			 "Service role name %s has been taken in this account, please try a different suffix.",
			 l->name);
}

int iam_op_create_linked(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct iam_role r;
	struct str service = json_get_str(in, "AWSServiceName");
	const struct linked *l = linked_of(service);
	if (!l)
		return error_aws(err, "InvalidInput", "Quern knows no service-linked role of %.*s.", STR_ARG(service));
	if (json_get(in, "CustomSuffix"))
		return error_aws(err, "InvalidInput", "Custom suffix is not allowed for %s", l->service);
	if (insert(t, l, in, err) < 0)
		return -1;
	if (l->policy && db_exec(turn_db(t), err, "INSERT INTO iam_attached(owner, arn) VALUES(?,?)", "ss",
				 arena_printf(turn_arena(t), "role/%s", l->name),
				 arena_printf(turn_arena(t), IAM_MANAGED_PREFIX IAM_LINKED_PATH "%s", l->policy)) < 0)
		return -1;
	if (iam_need_role(iam_of(c), turn_db(t), turn_arena(t), str_from(l->name), &r, err) < 0)
		return -1;
	*out = json_pack("{s:o}", "Role", iam_role_json(turn_arena(t), &r, false));
	return iam_policies_changed(iam_of(c), t, err);
}

int iam_op_delete_linked(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct iam_role r;
	struct arena *a = turn_arena(t);
	struct str name = json_get_str(in, "RoleName");
	if (iam_need_role(iam_of(c), turn_db(t), a, name, &r, err) < 0)
		return -1;
	if (!str_starts(r.path, STR(IAM_LINKED_PATH)))
		return error_aws(err, "InvalidInput", "The role %.*s is not a service-linked role.", STR_ARG(name));
	const char *task = arena_printf(a, "task%.*s%.*s/%s", STR_ARG(r.path), STR_ARG(name), turn_uuid(t));
	const char *owner = arena_printf(a, "role/%.*s", STR_ARG(name));
	if (db_exec(turn_db(t), err, "DELETE FROM iam_attached WHERE owner=?", "s", owner) < 0 ||
	    db_exec(turn_db(t), err, "DELETE FROM iam_role WHERE name=?", "S", name) < 0 ||
	    db_exec(turn_db(t), err, "INSERT INTO iam_deletion(task) VALUES(?)", "s", task) < 0)
		return -1;
	*out = json_pack("{s:s}", "DeletionTaskId", task);
	return iam_policies_changed(iam_of(c), t, err);
}

int iam_op_get_deletion(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	struct str task = json_get_str(in, "DeletionTaskId");
	int rc = db_row(db, &rows, err, "SELECT 1 FROM iam_deletion WHERE task=?", "S", task);
	if (rc == 0)
		return error_aws(err, "NoSuchEntity", "Deletion task %.*s cannot be found.", STR_ARG(task));
	*out = json_pack("{s:s}", "Status", "SUCCEEDED");
	return rc < 0 ? -1 : 0;
}
