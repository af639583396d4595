/* access.c - what policies are asked about the operations of Step Functions (struct wire_access). Source: Service
 * Authorization Reference, "AWS Step Functions". */
#include "states/room.h"

#define MACHINE "{stateMachineArn}"
#define EXECUTION "{executionArn}"
#define ALIAS "{stateMachineAliasArn}"
#define ACTIVITY "{activityArn}"

const struct wire_access states_access[] = {
	{ .operation = "CreateStateMachine", .resource = "stateMachine:{name}", .pass = "roleArn" },
	{ .operation = "UpdateStateMachine", .resource = MACHINE, .pass = "roleArn" },
	{ .operation = "DeleteStateMachine", .resource = MACHINE },
	{ .operation = "DescribeStateMachine", .resource = MACHINE },
	{ .operation = "DescribeStateMachineForExecution", .resource = EXECUTION },
	{ .operation = "ListStateMachines" },
	{ .operation = "ValidateStateMachineDefinition" },
	{ .operation = "PublishStateMachineVersion", .resource = MACHINE },
	{ .operation = "DeleteStateMachineVersion", .resource = "{stateMachineVersionArn}" },
	{ .operation = "ListStateMachineVersions", .resource = MACHINE },
	{ .operation = "CreateStateMachineAlias", .resource = "{routingConfiguration.stateMachineVersionArn}" },
	{ .operation = "UpdateStateMachineAlias", .resource = ALIAS },
	{ .operation = "DeleteStateMachineAlias", .resource = ALIAS },
	{ .operation = "DescribeStateMachineAlias", .resource = ALIAS },
	{ .operation = "ListStateMachineAliases", .resource = MACHINE },
	{ .operation = "TagResource", .resource = "{resourceArn}" },
	{ .operation = "UntagResource", .resource = "{resourceArn}" },
	{ .operation = "ListTagsForResource", .resource = "{resourceArn}" },
	{ .operation = "StartExecution", .resource = MACHINE },
	{ .operation = "StopExecution", .resource = EXECUTION },
	{ .operation = "RedriveExecution", .resource = EXECUTION },
	{ .operation = "DescribeExecution", .resource = EXECUTION },
	{ .operation = "ListExecutions", .resource = "{stateMachineArn|mapRunArn}" },
	{ .operation = "GetExecutionHistory", .resource = EXECUTION },
	{ .operation = "StartSyncExecution", .resource = MACHINE },
	{ .operation = "DescribeMapRun", .resource = "{mapRunArn}" },
	{ .operation = "ListMapRuns", .resource = EXECUTION },
	{ .operation = "UpdateMapRun", .resource = "{mapRunArn}" },
	{ .operation = "CreateActivity", .resource = "activity:{name}" },
	{ .operation = "DeleteActivity", .resource = ACTIVITY },
	{ .operation = "DescribeActivity", .resource = ACTIVITY },
	{ .operation = "ListActivities" },
	{ .operation = "GetActivityTask", .resource = ACTIVITY },
	{ .operation = "SendTaskSuccess" },
	{ .operation = "SendTaskFailure" },
	{ .operation = "SendTaskHeartbeat" },
	{ .operation = "TestState", .pass = "roleArn" },
	{ .operation = NULL },
};
