/* pipeline_steps.h - definitions' parts for the pipeline tests, as macros with single quotes. */
#ifndef QUERN_TESTS_PIPELINE_STEPS_H
#define QUERN_TESTS_PIPELINE_STEPS_H

/* A Processing step with one output "out" at s3://b/<execution>/<name>. `rest`: further members, or "". */
#define PROC_ARGS(name, more)                                                                                          \
	"{'ProcessingResources':{'ClusterConfig':{'InstanceType':'ml.m5.large','InstanceCount':1,'VolumeSizeInGB':1}}" \
	","                                                                                                            \
	"'AppSpecification':{'ImageUri':'img'},'RoleArn':'arn:aws:iam::123456789012:role/R',"                          \
	"'ProcessingOutputConfig':{'Outputs':[{'OutputName':'out','S3Output':{'S3Uri':{'Std:Join':{'On':'/"            \
	"','Values':['s3:/','b',"                                                                                      \
	"{'Get':'Execution.PipelineExecutionId'},'" name                                                               \
	"']}},'LocalPath':'/opt/ml/processing/out','S3UploadMode':'EndOfJob'}}]}" more "}"
#define PROC(name, rest) "{'Name':'" name "','Type':'Processing','Arguments':" PROC_ARGS(name, "") rest "}"
#define AFTER(deps) ",'DependsOn':[" deps "]"
/* A Training step with one channel "train" at `uri` and the hyperparameters `params`. */
#define TRAIN(name, uri, params)                                                                                       \
	"{'Name':'" name "','Type':'Training','Arguments':{'AlgorithmSpecification':{'TrainingImage':'img','"          \
	"TrainingInputMode':'File'},"                                                                                  \
	"'OutputDataConfig':{'S3OutputPath':'s3://b/o'},'StoppingCondition':{'MaxRuntimeInSeconds':60},"               \
	"'ResourceConfig':{'InstanceType':'ml.m5.large','InstanceCount':1,'VolumeSizeInGB':1},'RoleArn':'arn:aws:iam:" \
	":123456789012:role/R',"                                                                                       \
	"'InputDataConfig':[{'ChannelName':'train','DataSource':{'S3DataSource':{'S3DataType':'S3Prefix','S3Uri':" uri \
	"}}}],"                                                                                                        \
	"'HyperParameters':{" params "}}}"
#define COND(name, conditions, yes, no)                                                                                \
	"{'Name':'" name "','Type':'Condition','Arguments':{'Conditions':[" conditions "],'IfSteps':[" yes             \
	"],'ElseSteps':[" no "]}}"
#define CMP(type, l, r) "{'Type':'" type "','LeftValue':" l ",'RightValue':" r "}"
#define GET(x) "{'Get':'" x "'}"
#define FAIL(name, message) "{'Name':'" name "','Type':'Fail','Arguments':{'ErrorMessage':" message "}}"
/* A ClientRequestToken that ends in `x` (one word of 4 letters). */
#define TOK(x) "'ClientRequestToken':'0123456789012345678901234567" x "'"

#endif
