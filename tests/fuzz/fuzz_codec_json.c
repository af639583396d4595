/* fuzz_codec_json.c - the JSON protocol: first byte the service, second the operation, then the body; from 0x80 on a
 * request made from the model. */
#include "fuzz_shape.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const services[] = { "sagemaker",      "ecs",       "stepfunctions", "events",
						"secretsmanager", "cloudwatch" };
	if (size < 2)
		return 0;
	const char *service = services[data[0] % 0x80 % (sizeof(services) / sizeof(services[0]))];
	if (data[0] & 0x80) {
		fuzz_codec_made(service, data + 1, size - 1);
		return 0;
	}
	const struct model_service *s = model_find(service);
	const char *op = model_op_name(model_op_at(s, data[1] * 2u % model_op_count(s)));
	char target[256];
	int n = snprintf(target, sizeof(target), "%s.%s", model_target_prefix(s), op);
	struct codec_pair headers[] = { { STR("X-Amz-Target"), str_of(target, (size_t)n) } };
	struct codec_request rq = { .method = STR("POST"),
				    .path = STR("/"),
				    .headers = headers,
				    .nheaders = 1,
				    .body = str_of(data + 2, size - 2) };
	fuzz_codec(service, &rq);
	return 0;
}
