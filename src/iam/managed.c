/* managed.c - AWS's managed policies that scripts for machine learning attach.
 *
 * DESIGN: their names and meaning are AWS's (AWS Managed Policy Reference Guide); the texts are written here, for the
 * services and actions that matter in that work, and get_policy_version shows them. They are in the order of their
 * ARNs. */
#include "iam/room.h"

#define POLICY(statements) "{\"Version\":\"2012-10-17\",\"Statement\":[" statements "]}"

const struct iam_managed iam_managed[] = {
	{ "/", "AWSLambdaExecute", "What functions that work on objects need: get and put of all objects, and logs.",
	  POLICY("{\"Effect\":\"Allow\",\"Action\":\"logs:*\",\"Resource\":\"arn:aws:logs:*:*:*\"},"
		 "{\"Effect\":\"Allow\",\"Action\":[\"s3:GetObject\",\"s3:PutObject\"],"
		 "\"Resource\":\"arn:aws:s3:::*\"}") },
	{ "/", "AWSLambda_FullAccess",
	  "All of Lambda, the logs and metrics of its functions, and the passing of roles to it.",
	  POLICY("{\"Effect\":\"Allow\",\"Action\":[\"lambda:*\",\"iam:ListRoles\",\"iam:GetRole\","
		 "\"iam:GetRolePolicy\",\"iam:GetPolicy\",\"iam:GetPolicyVersion\","
		 "\"iam:ListAttachedRolePolicies\",\"iam:ListRolePolicies\",\"cloudwatch:GetMetricData\","
		 "\"cloudwatch:ListMetrics\",\"states:DescribeStateMachine\",\"states:ListStateMachines\","
		 "\"logs:DescribeLogGroups\"],\"Resource\":\"*\"},{\"Effect\":\"Allow\","
		 "\"Action\":\"iam:PassRole\",\"Resource\":\"*\","
		 "\"Condition\":{\"StringEquals\":{\"iam:PassedToService\":[\"lambda.amazonaws.com\"]}}},"
		 "{\"Effect\":\"Allow\",\"Action\":[\"logs:DescribeLogStreams\",\"logs:GetLogEvents\","
		 "\"logs:FilterLogEvents\"],\"Resource\":\"arn:aws:logs:*:*:log-group:/aws/lambda/*\"}") },
	{ "/", "AWSLambda_ReadOnlyAccess", "Reading of Lambda and of its functions' logs.",
	  POLICY("{\"Effect\":\"Allow\",\"Action\":[\"lambda:Get*\",\"lambda:List*\",\"iam:ListRoles\","
		 "\"iam:GetRole\",\"iam:GetRolePolicy\",\"iam:GetPolicy\",\"iam:GetPolicyVersion\","
		 "\"iam:ListAttachedRolePolicies\",\"iam:ListRolePolicies\",\"cloudwatch:GetMetricData\","
		 "\"cloudwatch:ListMetrics\",\"states:DescribeStateMachine\",\"states:ListStateMachines\","
		 "\"logs:DescribeLogGroups\"],\"Resource\":\"*\"},{\"Effect\":\"Allow\","
		 "\"Action\":[\"logs:DescribeLogStreams\",\"logs:GetLogEvents\",\"logs:FilterLogEvents\"],"
		 "\"Resource\":\"arn:aws:logs:*:*:log-group:/aws/lambda/*\"}") },
	{ "/", "AWSStepFunctionsConsoleFullAccess", "All of Step Functions, and what its console does beside.",
	  POLICY("{\"Effect\":\"Allow\",\"Action\":\"states:*\",\"Resource\":\"*\"},{\"Effect\":\"Allow\","
		 "\"Action\":[\"iam:ListRoles\",\"iam:GetRole\",\"lambda:ListFunctions\"],\"Resource\":\"*\"},"
		 "{\"Effect\":\"Allow\",\"Action\":\"iam:PassRole\","
		 "\"Resource\":\"arn:aws:iam::*:role/service-role/StatesExecutionRole*\"}") },
	{ "/", "AWSStepFunctionsFullAccess", "All of Step Functions.",
	  POLICY("{\"Effect\":\"Allow\",\"Action\":\"states:*\",\"Resource\":\"*\"}") },
	{ "/", "AWSStepFunctionsReadOnlyAccess", "Reading of Step Functions.",
	  POLICY("{\"Effect\":\"Allow\",\"Action\":[\"states:List*\",\"states:Describe*\","
		 "\"states:GetExecutionHistory\"],\"Resource\":\"*\"}") },
	{ "/", "AdministratorAccess", "Everything.",
	  POLICY("{\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"*\"}") },
	{ "/", "AmazonDynamoDBFullAccess", "All of DynamoDB.",
	  POLICY("{\"Effect\":\"Allow\",\"Action\":\"dynamodb:*\",\"Resource\":\"*\"}") },
	{ "/", "AmazonEC2ContainerRegistryFullAccess", "All of ECR.",
	  POLICY("{\"Effect\":\"Allow\",\"Action\":[\"ecr:*\",\"cloudtrail:LookupEvents\"],\"Resource\":\"*\"},"
		 "{\"Effect\":\"Allow\",\"Action\":\"iam:CreateServiceLinkedRole\",\"Resource\":\"*\","
		 "\"Condition\":{\"StringEquals\":{\"iam:AWSServiceName\":[\"replication.ecr.amazonaws.com\"]}}}") },
	{ "/", "AmazonEC2ContainerRegistryPowerUser",
	  "Pulls and pushes of images; repositories are neither made nor deleted.",
	  POLICY("{\"Effect\":\"Allow\",\"Action\":[\"ecr:GetAuthorizationToken\","
		 "\"ecr:BatchCheckLayerAvailability\",\"ecr:GetDownloadUrlForLayer\","
		 "\"ecr:GetRepositoryPolicy\",\"ecr:DescribeRepositories\",\"ecr:ListImages\","
		 "\"ecr:DescribeImages\",\"ecr:BatchGetImage\",\"ecr:GetLifecyclePolicy\","
		 "\"ecr:GetLifecyclePolicyPreview\",\"ecr:ListTagsForResource\","
		 "\"ecr:DescribeImageScanFindings\",\"ecr:InitiateLayerUpload\",\"ecr:UploadLayerPart\","
		 "\"ecr:CompleteLayerUpload\",\"ecr:PutImage\"],\"Resource\":\"*\"}") },
	{ "/", "AmazonEC2ContainerRegistryReadOnly", "Pulls of images, and reading what there is.",
	  POLICY("{\"Effect\":\"Allow\",\"Action\":[\"ecr:GetAuthorizationToken\","
		 "\"ecr:BatchCheckLayerAvailability\",\"ecr:GetDownloadUrlForLayer\","
		 "\"ecr:GetRepositoryPolicy\",\"ecr:DescribeRepositories\",\"ecr:ListImages\","
		 "\"ecr:DescribeImages\",\"ecr:BatchGetImage\",\"ecr:GetLifecyclePolicy\","
		 "\"ecr:GetLifecyclePolicyPreview\",\"ecr:ListTagsForResource\","
		 "\"ecr:DescribeImageScanFindings\"],\"Resource\":\"*\"}") },
	{ "/", "AmazonECS_FullAccess", "All of ECS, and what belongs to its tasks: logs, the passing of roles to them.",
	  POLICY("{\"Effect\":\"Allow\",\"Action\":[\"ecs:*\",\"logs:CreateLogGroup\","
		 "\"logs:DescribeLogGroups\",\"logs:FilterLogEvents\",\"iam:ListRoles\","
		 "\"iam:ListAttachedRolePolicies\",\"lambda:ListFunctions\",\"cloudwatch:Describe*\","
		 "\"cloudwatch:Get*\",\"cloudwatch:DeleteAlarms\",\"cloudwatch:PutMetricAlarm\","
		 "\"application-autoscaling:*\",\"events:DescribeRule\",\"events:DeleteRule\","
		 "\"events:ListRuleNamesByTarget\",\"events:ListTargetsByRule\",\"events:PutRule\","
		 "\"events:PutTargets\",\"events:RemoveTargets\"],\"Resource\":\"*\"},{\"Effect\":\"Allow\","
		 "\"Action\":[\"ssm:GetParameter\",\"ssm:GetParameters\",\"ssm:GetParametersByPath\"],"
		 "\"Resource\":\"arn:aws:ssm:*:*:parameter/aws/service/ecs*\"},{\"Effect\":\"Allow\","
		 "\"Action\":\"iam:PassRole\",\"Resource\":\"*\","
		 "\"Condition\":{\"StringEquals\":{\"iam:PassedToService\":[\"ecs-tasks.amazonaws.com\"]}}}") },
	{ "/", "AmazonEventBridgeFullAccess", "All of EventBridge, and the passing of roles to it.",
	  POLICY("{\"Effect\":\"Allow\",\"Action\":[\"events:*\",\"schemas:*\",\"scheduler:*\",\"pipes:*\"],"
		 "\"Resource\":\"*\"},{\"Effect\":\"Allow\",\"Action\":\"iam:PassRole\",\"Resource\":\"*\","
		 "\"Condition\":{\"StringEquals\":{\"iam:PassedToService\":[\"events.amazonaws.com\","
		 "\"scheduler.amazonaws.com\",\"pipes.amazonaws.com\"]}}}") },
	{ "/", "AmazonEventBridgeSchedulerFullAccess", "All of EventBridge Scheduler, and the passing of roles to it.",
	  POLICY("{\"Effect\":\"Allow\",\"Action\":\"scheduler:*\",\"Resource\":\"*\"},{\"Effect\":\"Allow\","
		 "\"Action\":\"iam:PassRole\",\"Resource\":\"*\","
		 "\"Condition\":{\"StringEquals\":{\"iam:PassedToService\":[\"scheduler.amazonaws.com\"]}}}") },
	{ "/", "AmazonS3FullAccess", "All of S3.",
	  POLICY("{\"Effect\":\"Allow\",\"Action\":[\"s3:*\",\"s3-object-lambda:*\"],\"Resource\":\"*\"}") },
	{ "/", "AmazonS3ReadOnlyAccess", "Reading of all buckets.",
	  POLICY("{\"Effect\":\"Allow\",\"Action\":[\"s3:Get*\",\"s3:List*\",\"s3:Describe*\","
		 "\"s3-object-lambda:Get*\",\"s3-object-lambda:List*\"],\"Resource\":\"*\"}") },
	{ "/", "AmazonSNSFullAccess", "All of SNS.",
	  POLICY("{\"Effect\":\"Allow\",\"Action\":\"sns:*\",\"Resource\":\"*\"}") },
	{ "/", "AmazonSQSFullAccess", "All of SQS.",
	  POLICY("{\"Effect\":\"Allow\",\"Action\":\"sqs:*\",\"Resource\":\"*\"}") },
	{ "/", "AmazonSSMFullAccess", "All of Systems Manager.",
	  POLICY("{\"Effect\":\"Allow\",\"Action\":[\"ssm:*\",\"cloudwatch:PutMetricData\",\"logs:*\"],"
		 "\"Resource\":\"*\"}") },
	{ "/", "AmazonSSMReadOnlyAccess", "Reading of Systems Manager, parameters included.",
	  POLICY("{\"Effect\":\"Allow\",\"Action\":[\"ssm:Describe*\",\"ssm:Get*\",\"ssm:List*\"],"
		 "\"Resource\":\"*\"}") },
	{ "/", "AmazonSageMakerFullAccess",
	  "All of SageMaker, and of other services what its jobs and pipelines need: buckets, objects and secrets that "
	  "have sagemaker in their names, images, logs, functions and machines of that name, and the passing of roles "
	  "to SageMaker.",
	  POLICY("{\"Effect\":\"Allow\",\"Action\":[\"sagemaker:*\",\"sagemaker-geospatial:*\"],"
		 "\"Resource\":\"*\"},{\"Effect\":\"Allow\",\"Action\":[\"cloudwatch:DeleteAlarms\","
		 "\"cloudwatch:DescribeAlarms\",\"cloudwatch:GetMetricData\",\"cloudwatch:GetMetricStatistics\","
		 "\"cloudwatch:ListMetrics\",\"cloudwatch:PutMetricAlarm\",\"cloudwatch:PutMetricData\","
		 "\"application-autoscaling:*\",\"ecr:BatchCheckLayerAvailability\",\"ecr:BatchGetImage\","
		 "\"ecr:CreateRepository\",\"ecr:Describe*\",\"ecr:GetAuthorizationToken\","
		 "\"ecr:GetDownloadUrlForLayer\",\"ecr:StartImageScan\",\"iam:ListRoles\",\"iam:GetRole\","
		 "\"lambda:ListFunctions\",\"logs:CreateLogDelivery\",\"logs:CreateLogGroup\","
		 "\"logs:CreateLogStream\",\"logs:DeleteLogDelivery\",\"logs:Describe*\","
		 "\"logs:GetLogDelivery\",\"logs:GetLogEvents\",\"logs:ListLogDeliveries\","
		 "\"logs:PutLogEvents\",\"logs:PutResourcePolicy\",\"logs:UpdateLogDelivery\","
		 "\"secretsmanager:ListSecrets\",\"sns:ListTopics\",\"sts:GetCallerIdentity\"],"
		 "\"Resource\":\"*\"},{\"Effect\":\"Allow\",\"Action\":[\"ecr:BatchDeleteImage\","
		 "\"ecr:CompleteLayerUpload\",\"ecr:DeleteRepository\",\"ecr:DeleteRepositoryPolicy\","
		 "\"ecr:InitiateLayerUpload\",\"ecr:PutImage\",\"ecr:SetRepositoryPolicy\","
		 "\"ecr:UploadLayerPart\"],\"Resource\":\"arn:aws:ecr:*:*:repository/*sagemaker*\"},"
		 "{\"Effect\":\"Allow\",\"Action\":[\"secretsmanager:CreateSecret\","
		 "\"secretsmanager:DescribeSecret\",\"secretsmanager:GetSecretValue\"],"
		 "\"Resource\":\"arn:aws:secretsmanager:*:*:secret:AmazonSageMaker-*\"},{\"Effect\":\"Allow\","
		 "\"Action\":[\"s3:AbortMultipartUpload\",\"s3:DeleteObject\",\"s3:GetObject\","
		 "\"s3:PutObject\"],\"Resource\":[\"arn:aws:s3:::*SageMaker*\",\"arn:aws:s3:::*Sagemaker*\","
		 "\"arn:aws:s3:::*sagemaker*\",\"arn:aws:s3:::*aws-glue*\"]},{\"Effect\":\"Allow\","
		 "\"Action\":\"s3:GetObject\",\"Resource\":\"*\","
		 "\"Condition\":{\"StringEqualsIgnoreCase\":{\"s3:ExistingObjectTag/SageMaker\":\"true\"}}},"
		 "{\"Effect\":\"Allow\",\"Action\":[\"s3:CreateBucket\",\"s3:GetBucketLocation\","
		 "\"s3:ListAllMyBuckets\",\"s3:ListBucket\",\"s3:GetBucketCORS\",\"s3:PutBucketCORS\"],"
		 "\"Resource\":\"*\"},{\"Effect\":\"Allow\",\"Action\":[\"s3:GetBucketAcl\","
		 "\"s3:PutObjectAcl\"],\"Resource\":[\"arn:aws:s3:::*SageMaker*\",\"arn:aws:s3:::*Sagemaker*\","
		 "\"arn:aws:s3:::*sagemaker*\"]},{\"Effect\":\"Allow\",\"Action\":\"lambda:InvokeFunction\","
		 "\"Resource\":[\"arn:aws:lambda:*:*:function:*SageMaker*\","
		 "\"arn:aws:lambda:*:*:function:*sagemaker*\",\"arn:aws:lambda:*:*:function:*Sagemaker*\","
		 "\"arn:aws:lambda:*:*:function:*LabelingFunction*\"]},{\"Effect\":\"Allow\","
		 "\"Action\":[\"states:DescribeExecution\",\"states:GetExecutionHistory\","
		 "\"states:StartExecution\",\"states:StopExecution\",\"states:UpdateStateMachine\","
		 "\"states:CreateStateMachine\",\"states:DescribeStateMachine\",\"states:DeleteStateMachine\"],"
		 "\"Resource\":[\"arn:aws:states:*:*:statemachine:*sagemaker*\","
		 "\"arn:aws:states:*:*:stateMachine:*sagemaker*\","
		 "\"arn:aws:states:*:*:execution:*sagemaker*:*\"]},{\"Effect\":\"Allow\","
		 "\"Action\":\"states:ListStateMachines\",\"Resource\":\"*\"},{\"Effect\":\"Allow\","
		 "\"Action\":\"sns:*\",\"Resource\":\"arn:aws:sns:*:*:*SageMaker*\"},{\"Effect\":\"Allow\","
		 "\"Action\":\"iam:PassRole\",\"Resource\":\"arn:aws:iam::*:role/*AmazonSageMaker*\"},"
		 "{\"Effect\":\"Allow\",\"Action\":\"iam:PassRole\",\"Resource\":\"arn:aws:iam::*:role/*\","
		 "\"Condition\":{\"StringEquals\":{\"iam:PassedToService\":\"sagemaker.amazonaws.com\"}}}") },
	{ "/", "AmazonSageMakerReadOnly", "Reading of SageMaker.",
	  POLICY("{\"Effect\":\"Allow\",\"Action\":[\"sagemaker:BatchDescribeModelPackage\","
		 "\"sagemaker:BatchGet*\",\"sagemaker:Describe*\",\"sagemaker:Get*\",\"sagemaker:List*\","
		 "\"sagemaker:Search\",\"application-autoscaling:Describe*\",\"cloudwatch:DescribeAlarms\","
		 "\"ecr:Describe*\"],\"Resource\":\"*\"}") },
	{ "/", "CloudWatchFullAccess", "All of CloudWatch and of its logs.",
	  POLICY("{\"Effect\":\"Allow\",\"Action\":[\"cloudwatch:*\",\"logs:*\",\"sns:*\","
		 "\"autoscaling:Describe*\",\"iam:GetPolicy\",\"iam:GetPolicyVersion\",\"iam:GetRole\"],"
		 "\"Resource\":\"*\"}") },
	{ "/", "CloudWatchLogsFullAccess", "All of CloudWatch Logs.",
	  POLICY("{\"Effect\":\"Allow\",\"Action\":[\"logs:*\",\"cloudwatch:GenerateQuery\"],"
		 "\"Resource\":\"*\"}") },
	{ "/", "CloudWatchLogsReadOnlyAccess", "Reading of CloudWatch Logs.",
	  POLICY("{\"Effect\":\"Allow\",\"Action\":[\"logs:Describe*\",\"logs:Get*\",\"logs:List*\","
		 "\"logs:StartQuery\",\"logs:StopQuery\",\"logs:TestMetricFilter\",\"logs:FilterLogEvents\","
		 "\"logs:StartLiveTail\",\"logs:StopLiveTail\"],\"Resource\":\"*\"}") },
	{ "/", "CloudWatchReadOnlyAccess", "Reading of CloudWatch and of its logs.",
	  POLICY("{\"Effect\":\"Allow\",\"Action\":[\"cloudwatch:Describe*\",\"cloudwatch:Get*\","
		 "\"cloudwatch:List*\",\"logs:Get*\",\"logs:List*\",\"logs:Describe*\",\"logs:FilterLogEvents\","
		 "\"logs:StartQuery\",\"logs:StopQuery\",\"logs:TestMetricFilter\",\"sns:Get*\",\"sns:List*\"],"
		 "\"Resource\":\"*\"}") },
	{ "/", "IAMFullAccess", "All of IAM.",
	  POLICY("{\"Effect\":\"Allow\",\"Action\":[\"iam:*\",\"organizations:DescribeAccount\","
		 "\"organizations:DescribeOrganization\"],\"Resource\":\"*\"}") },
	{ "/", "IAMReadOnlyAccess", "Reading of IAM.",
	  POLICY("{\"Effect\":\"Allow\",\"Action\":[\"iam:Generate*\",\"iam:Get*\",\"iam:List*\","
		 "\"iam:Simulate*\"],\"Resource\":\"*\"}") },
	{ "/", "PowerUserAccess", "Everything but the management of users, roles and policies.",
	  POLICY("{\"Effect\":\"Allow\",\"NotAction\":[\"iam:*\",\"organizations:*\",\"account:*\"],"
		 "\"Resource\":\"*\"},{\"Effect\":\"Allow\",\"Action\":[\"iam:CreateServiceLinkedRole\","
		 "\"iam:DeleteServiceLinkedRole\",\"iam:ListRoles\",\"organizations:DescribeOrganization\","
		 "\"account:ListRegions\"],\"Resource\":\"*\"}") },
	{ "/", "ReadOnlyAccess", "Reading of all services, objects and parameters included, but of no secret's value.",
	  POLICY("{\"Effect\":\"Allow\",\"Action\":[\"ecr:BatchCheck*\",\"ecr:BatchGet*\",\"ecr:Describe*\","
		 "\"ecr:Get*\",\"ecr:List*\",\"ecs:Describe*\",\"ecs:List*\",\"iam:Generate*\",\"iam:Get*\","
		 "\"iam:List*\",\"iam:Simulate*\",\"lambda:Get*\",\"lambda:List*\",\"logs:Describe*\","
		 "\"logs:FilterLogEvents\",\"logs:Get*\",\"logs:List*\",\"s3:Get*\",\"s3:List*\","
		 "\"sagemaker:BatchDescribeModelPackage\",\"sagemaker:BatchGet*\",\"sagemaker:Describe*\","
		 "\"sagemaker:Get*\",\"sagemaker:List*\",\"sagemaker:Search\",\"secretsmanager:DescribeSecret\","
		 "\"secretsmanager:List*\",\"secretsmanager:GetResourcePolicy\",\"ssm:Describe*\",\"ssm:Get*\","
		 "\"ssm:List*\",\"states:Describe*\",\"states:GetExecutionHistory\",\"states:List*\","
		 "\"states:ValidateStateMachineDefinition\",\"sts:GetAccessKeyInfo\",\"sts:GetCallerIdentity\","
		 "\"sts:GetSessionToken\",\"cloudwatch:Describe*\",\"cloudwatch:Get*\",\"cloudwatch:List*\","
		 "\"events:Describe*\",\"events:List*\",\"events:TestEventPattern\",\"scheduler:Get*\","
		 "\"scheduler:List*\",\"sqs:Get*\",\"sqs:List*\",\"sns:Get*\",\"sns:List*\","
		 "\"dynamodb:BatchGet*\",\"dynamodb:Describe*\",\"dynamodb:Get*\",\"dynamodb:List*\","
		 "\"dynamodb:Query\",\"dynamodb:Scan\"],\"Resource\":\"*\"}") },
	{ "/", "SecretsManagerReadWrite", "All of Secrets Manager.",
	  POLICY("{\"Effect\":\"Allow\",\"Action\":[\"secretsmanager:*\",\"kms:DescribeKey\","
		 "\"kms:ListAliases\",\"kms:ListKeys\",\"lambda:ListFunctions\"],\"Resource\":\"*\"},"
		 "{\"Effect\":\"Allow\",\"Action\":[\"lambda:AddPermission\",\"lambda:CreateFunction\","
		 "\"lambda:GetFunction\",\"lambda:InvokeFunction\",\"lambda:UpdateFunctionConfiguration\"],"
		 "\"Resource\":\"arn:aws:lambda:*:*:function:SecretsManager*\"}") },
	{ "/aws-service-role/", "AmazonECSServiceRolePolicy",
	  "What ECS does by itself: networks of tasks, load balancers, logs.",
	  POLICY("{\"Effect\":\"Allow\",\"Action\":[\"ec2:*NetworkInterface*\",\"ec2:Describe*\","
		 "\"elasticloadbalancing:*Targets\",\"elasticloadbalancing:Describe*\",\"servicediscovery:*Instance*\","
		 "\"autoscaling:Describe*\",\"cloudwatch:*Alarm*\",\"events:*Rule\",\"events:*Targets\","
		 "\"logs:CreateLogStream\",\"logs:DescribeLogStreams\",\"logs:PutLogEvents\"],\"Resource\":\"*\"}") },
	{ "/service-role/", "AWSLambdaBasicExecutionRole", "The writing of logs.",
	  POLICY("{\"Effect\":\"Allow\",\"Action\":[\"logs:CreateLogGroup\",\"logs:CreateLogStream\","
		 "\"logs:PutLogEvents\"],\"Resource\":\"*\"}") },
	{ "/service-role/", "AWSLambdaRole", "Invocation of all functions.",
	  POLICY("{\"Effect\":\"Allow\",\"Action\":\"lambda:InvokeFunction\",\"Resource\":\"*\"}") },
	{ "/service-role/", "AmazonECSTaskExecutionRolePolicy",
	  "What the start of a task needs: its image and its log stream.",
	  POLICY("{\"Effect\":\"Allow\",\"Action\":[\"ecr:GetAuthorizationToken\","
		 "\"ecr:BatchCheckLayerAvailability\",\"ecr:GetDownloadUrlForLayer\",\"ecr:BatchGetImage\","
		 "\"logs:CreateLogStream\",\"logs:PutLogEvents\"],\"Resource\":\"*\"}") },
	{ NULL, NULL, NULL, NULL },
};

const struct iam_managed *iam_managed_find(struct str arn)
{
	static const struct str prefix = { IAM_MANAGED_PREFIX, sizeof(IAM_MANAGED_PREFIX) - 1 };
	if (!str_starts(arn, prefix))
		return NULL;
	struct str rest = str_skip(arn, prefix.len);
	for (const struct iam_managed *m = iam_managed; m->name; m++)
		if (str_starts(rest, str_from(m->path)) && str_eqz(str_skip(rest, strlen(m->path)), m->name))
			return m;
	return NULL;
}
