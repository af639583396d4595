/* fuzz_codec_query.c - the query protocol: first byte the service, second the operation, then the form; from 0x80 on a
 * request made from the model. */
#include "fuzz_shape.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const services[] = { "sts", "iam", "cloudwatch-query" };
	if (size < 2)
		return 0;
	const char *service = services[data[0] % 0x80 % (sizeof(services) / sizeof(services[0]))];
	if (data[0] & 0x80) {
		fuzz_codec_made(service, data + 1, size - 1);
		return 0;
	}
	const struct model_service *s = model_find(service);
	CLEANUP_BUF struct buf form = BUF_INIT;
	buf_add(&form, data + 2, size - 2);
	buf_printf(&form, "&Action=%s", model_op_name(model_op_at(s, data[1] % model_op_count(s))));
	struct codec_request rq = { .method = STR("POST"), .path = STR("/"), .body = buf_str(&form) };
	fuzz_codec(service, &rq);
	return 0;
}
