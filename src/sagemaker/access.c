/* access.c - what policies are asked about the operations of SageMaker (struct wire_access). Source: Service
 * Authorization Reference, "Amazon SageMaker AI". */
#include "sagemaker/room.h"

#define PIPELINE .resource = "pipeline/{PipelineName,lower}"
#define DEFINITION .reads = "PipelineDefinitionS3Location.Bucket PipelineDefinitionS3Location.ObjectKey"
#define EXECUTION .resource = "{PipelineExecutionArn}"
#define PROCESSING .resource = "processing-job/{ProcessingJobName}"
#define TRAINING .resource = "training-job/{TrainingJobName}"
#define MODEL .resource = "model/{ModelName}"
#define GROUP .resource = "model-package-group/{ModelPackageGroupName}"
#define PACKAGE .resource = "model-package/{ModelPackageArn|ModelPackageName|ModelPackageArnList}"

const struct wire_access sagemaker_access[] = {
	{ .operation = "CreatePipeline", PIPELINE, .pass = "RoleArn", DEFINITION },
	{ .operation = "UpdatePipeline", PIPELINE, .pass = "RoleArn", DEFINITION },
	{ .operation = "DeletePipeline", PIPELINE },
	{ .operation = "DescribePipeline", PIPELINE },
	{ .operation = "ListPipelines" },
	{ .operation = "ListPipelineVersions", PIPELINE },
	{ .operation = "UpdatePipelineVersion", .resource = "{PipelineArn}" },
	{ .operation = "StartPipelineExecution", PIPELINE, .pass = "RoleArn" },
	{ .operation = "StopPipelineExecution", EXECUTION },
	{ .operation = "RetryPipelineExecution", EXECUTION },
	{ .operation = "UpdatePipelineExecution", EXECUTION },
	{ .operation = "DescribePipelineExecution", EXECUTION },
	{ .operation = "DescribePipelineDefinitionForExecution", EXECUTION },
	{ .operation = "ListPipelineExecutions", PIPELINE },
	{ .operation = "ListPipelineExecutionSteps", EXECUTION },
	{ .operation = "ListPipelineParametersForExecution", EXECUTION },
	{ .operation = "CreateProcessingJob",
	  PROCESSING,
	  .pass = "RoleArn",
	  .keys = "sagemaker:InstanceTypes={ProcessingResources.ClusterConfig.InstanceType}" },
	{ .operation = "DescribeProcessingJob", PROCESSING },
	{ .operation = "ListProcessingJobs" },
	{ .operation = "StopProcessingJob", PROCESSING },
	{ .operation = "DeleteProcessingJob", PROCESSING },
	{ .operation = "CreateTrainingJob",
	  TRAINING,
	  .pass = "RoleArn",
	  .keys = "sagemaker:InstanceTypes={ResourceConfig.InstanceType|ResourceConfig.InstanceGroups.InstanceType}" },
	{ .operation = "DescribeTrainingJob", TRAINING },
	{ .operation = "ListTrainingJobs" },
	{ .operation = "StopTrainingJob", TRAINING },
	{ .operation = "DeleteTrainingJob", TRAINING },
	{ .operation = "AddTags", .resource = "{ResourceArn}" },
	{ .operation = "ListTags", .resource = "{ResourceArn}" },
	{ .operation = "DeleteTags", .resource = "{ResourceArn}" },
	{ .operation = "CreateModel", MODEL, .pass = "ExecutionRoleArn" },
	{ .operation = "DescribeModel", MODEL },
	{ .operation = "ListModels" },
	{ .operation = "DeleteModel", MODEL },
	{ .operation = "CreateModelPackageGroup", GROUP },
	{ .operation = "DescribeModelPackageGroup", GROUP },
	{ .operation = "ListModelPackageGroups" },
	{ .operation = "DeleteModelPackageGroup", GROUP },
	{ .operation = "CreateModelPackage", .resource = "model-package/{ModelPackageGroupName|ModelPackageName}/*" },
	{ .operation = "DescribeModelPackage", PACKAGE },
	{ .operation = "BatchDescribeModelPackage", PACKAGE },
	{ .operation = "ListModelPackages", GROUP },
	{ .operation = "UpdateModelPackage", PACKAGE },
	{ .operation = "DeleteModelPackage", PACKAGE },
	{ .operation = "Search" },
	{ .operation = NULL },
};
