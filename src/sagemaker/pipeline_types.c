/* pipeline_types.c - the table of step types. See pipeline_type.h for how to add one. */
#include "sagemaker/pipeline_type.h"

#define KNOWN(type)                                                                                                    \
	&(const struct step_type)                                                                                      \
	{                                                                                                              \
		.name = type                                                                                           \
	} /* refused at CreatePipeline */

static const struct step_type *const step_types[] = {
	&step_processing,
	&step_training,
	&step_condition,
	&step_fail,
	KNOWN("Tuning"),
	KNOWN("Transform"),
	KNOWN("Model"),
	KNOWN("RegisterModel"),
	KNOWN("Lambda"),
	KNOWN("Callback"),
	KNOWN("QualityCheck"),
	KNOWN("ClarifyCheck"),
	KNOWN("EMR"),
	KNOWN("EMRServerless"),
	KNOWN("AutoML"),
	KNOWN("Endpoint"),
	KNOWN("EndpointConfig"),
	KNOWN("InferenceComponent"),
	KNOWN("BedrockCustomModel"),
	KNOWN("BedrockCustomModelDeployment"),
	KNOWN("BedrockModelImport"),
	KNOWN("BedrockProvisionedModelThroughput"),
	KNOWN("Lineage"),
	KNOWN("Athena"),
	KNOWN("Cleanup"),
	KNOWN("ForEach"),
	KNOWN("HubContent"),
	KNOWN("Job"),
};

const struct step_type *step_type_find(struct str name)
{
	for (size_t i = 0; i < sizeof step_types / sizeof *step_types; i++)
		if (str_eqz(name, step_types[i]->name))
			return step_types[i];
	return NULL;
}
