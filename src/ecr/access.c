/* access.c - what policies are asked about the operations of ECR (struct wire_access). Source: Service Authorization
 * Reference, "Amazon Elastic Container Registry". */
#include "ecr/room.h"

#define REPOSITORY .resource = "repository/{repositoryName}"

const struct wire_access ecr_access[] = {
	{ .operation = "CreateRepository", REPOSITORY },
	{ .operation = "DescribeRepositories", .resource = "repository/{repositoryNames}" },
	{ .operation = "DeleteRepository", REPOSITORY },
	{ .operation = "GetAuthorizationToken" },
	{ .operation = "PutImageTagMutability", REPOSITORY },
	{ .operation = "PutImageScanningConfiguration", REPOSITORY },
	{ .operation = "SetRepositoryPolicy", REPOSITORY },
	{ .operation = "GetRepositoryPolicy", REPOSITORY },
	{ .operation = "DeleteRepositoryPolicy", REPOSITORY },
	{ .operation = "TagResource", .resource = "{resourceArn}" },
	{ .operation = "UntagResource", .resource = "{resourceArn}" },
	{ .operation = "ListTagsForResource", .resource = "{resourceArn}" },
	{ .operation = "DescribeRegistry" },
	{ .operation = "PutLifecyclePolicy", REPOSITORY },
	{ .operation = "GetLifecyclePolicy", REPOSITORY },
	{ .operation = "DeleteLifecyclePolicy", REPOSITORY },
	{ .operation = "StartLifecyclePolicyPreview", REPOSITORY },
	{ .operation = "GetLifecyclePolicyPreview", REPOSITORY },
	{ .operation = "ListImages", REPOSITORY },
	{ .operation = "DescribeImages", REPOSITORY },
	{ .operation = "BatchGetImage", REPOSITORY },
	{ .operation = "PutImage", REPOSITORY },
	{ .operation = "BatchDeleteImage", REPOSITORY },
	{ .operation = "ListImageReferrers", REPOSITORY },
	{ .operation = "StartImageScan", REPOSITORY },
	{ .operation = "DescribeImageScanFindings", REPOSITORY },
	{ .operation = "InitiateLayerUpload", REPOSITORY },
	{ .operation = "UploadLayerPart", REPOSITORY },
	{ .operation = "CompleteLayerUpload", REPOSITORY },
	{ .operation = "BatchCheckLayerAvailability", REPOSITORY },
	{ .operation = "GetDownloadUrlForLayer", REPOSITORY },
	{ .operation = NULL },
};
