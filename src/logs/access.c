/* access.c - what policies are asked about the operations of CloudWatch Logs (struct wire_access). A group is asked for
 * as AWS's refusals name it, "log-group:NAME:log-stream:". Source: Service Authorization Reference, "Amazon CloudWatch
 * Logs". */
#include "logs/room.h"

/* A group is named, or given by its ARN with or without ":*". */
static void find_group(struct call *c, struct db *db, const json_t *in, json_t *resources, json_t *roles)
{
	const char *id = json_get_text(in, "logGroupIdentifier"), *stream = json_get_text(in, "logStreamName");
	const char *name = json_get_text(in, "logGroupName");
	struct str group = str_from(name ? name : id);
	ptrdiff_t at = str_find(group, STR(":log-group:"));
	if (at >= 0)
		group = str_skip(group, (size_t)at + 11);
	if (str_ends(group, STR(":*")))
		group = str_head(group, group.len - 2);
	json_array_append_new(resources, json_sprintf("arn:aws:logs:%s:%s:log-group:%.*s:log-stream:%s", c->region,
						      c->account, STR_ARG(group), stream ? stream : ""));
}

const struct wire_access logs_access[] = {
	{ .operation = "CreateLogGroup", .find = find_group },
	{ .operation = "DeleteLogGroup", .find = find_group },
	{ .operation = "DescribeLogGroups", .resource = "log-group::log-stream:" },
	{ .operation = "PutRetentionPolicy", .find = find_group },
	{ .operation = "DeleteRetentionPolicy", .find = find_group },
	{ .operation = "CreateLogStream", .find = find_group },
	{ .operation = "DeleteLogStream", .find = find_group },
	{ .operation = "DescribeLogStreams", .find = find_group },
	{ .operation = "GetLogEvents", .find = find_group },
	{ .operation = "FilterLogEvents", .find = find_group },
	{ .operation = "PutLogEvents", .find = find_group },
	{ .operation = "TagResource", .resource = "{resourceArn}" },
	{ .operation = "UntagResource", .resource = "{resourceArn}" },
	{ .operation = "ListTagsForResource", .resource = "{resourceArn}" },
	{ .operation = "TagLogGroup", .find = find_group },
	{ .operation = "UntagLogGroup", .find = find_group },
	{ .operation = "ListTagsLogGroup", .find = find_group },
	{ .operation = NULL },
};
