/* access.c - what policies are asked about the operations of ECS (struct wire_access). Source: Service Authorization
 * Reference, "Amazon Elastic Container Service". */
#include "ecs/room.h"

/* RunTask: the revision that a family's name means, and the roles that the task will have. */
static void find_run(struct call *c, struct db *db, const json_t *in, json_t *resources, json_t *roles)
{
	static const char *const members[] = { "taskRoleArn", "executionRoleArn" };
	CLEANUP_ERROR struct error ignored = ERROR_INIT;
	json_t *definition = NULL;
	const char *ref = json_get_text(in, "taskDefinition");
	if (!ref || ecs_definition_get(db, c->arena, ref, &definition, &ignored) <= 0)
		return;
	json_array_append(resources, json_object_get(definition, "taskDefinitionArn"));
	for (size_t i = 0; i < 2; i++) {
		json_t *own = json_get(json_get(in, "overrides"), members[i]);
		json_t *role = own ? own : json_get(definition, members[i]);
		if (role)
			json_array_append(roles, role);
	}
}

#define CLUSTER "cluster/{cluster=default}"
#define IN_CLUSTER "ecs:cluster=" CLUSTER
#define TASK "task/{cluster=default}/{task}"

const struct wire_access ecs_access[] = {
	{ .operation = "CreateCluster", .resource = "cluster/{clusterName=default}" },
	{ .operation = "DescribeClusters", .resource = "cluster/{clusters=default}" },
	{ .operation = "ListClusters" },
	{ .operation = "UpdateCluster", .resource = CLUSTER },
	{ .operation = "UpdateClusterSettings", .resource = CLUSTER },
	{ .operation = "PutClusterCapacityProviders", .resource = CLUSTER },
	{ .operation = "DeleteCluster", .resource = CLUSTER },
	{ .operation = "ListContainerInstances", .resource = CLUSTER },
	{ .operation = "DescribeContainerInstances",
	  .resource = "container-instance/{cluster=default}/{containerInstances}",
	  .keys = IN_CLUSTER },
	{ .operation = "RegisterTaskDefinition",
	  .resource = "task-definition/{family}:*",
	  .pass = "taskRoleArn executionRoleArn" },
	{ .operation = "DescribeTaskDefinition" },
	{ .operation = "DeregisterTaskDefinition" },
	{ .operation = "DeleteTaskDefinitions", .resource = "task-definition/{taskDefinitions}" },
	{ .operation = "ListTaskDefinitions" },
	{ .operation = "ListTaskDefinitionFamilies" },
	{ .operation = "ExecuteCommand", .resource = TASK, .keys = IN_CLUSTER },
	{ .operation = "RunTask",
	  .resource = "task-definition/{taskDefinition}",
	  .find = find_run,
	  .keys = IN_CLUSTER },
	{ .operation = "StopTask", .resource = TASK, .keys = IN_CLUSTER },
	{ .operation = "DescribeTasks", .resource = "task/{cluster=default}/{tasks}", .keys = IN_CLUSTER },
	{ .operation = "ListTasks", .resource = "container-instance/{cluster=default}/*", .keys = IN_CLUSTER },
	{ .operation = "TagResource", .resource = "{resourceArn}" },
	{ .operation = "UntagResource", .resource = "{resourceArn}" },
	{ .operation = "ListTagsForResource", .resource = "{resourceArn}" },
	{ .operation = NULL },
};
