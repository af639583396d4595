/* fuzz_codec_rest.c - rest-json: first byte service and method; then lines "path", "name=value" arguments, "name:value"
 * headers; after an empty line the body. From 0x80 on a request made from the model. */
#include "fuzz_shape.h"

static struct str take_line(struct str *rest)
{
	struct str line = STR("");
	if (rest->ptr)
		str_split(rest, '\n', &line);
	return line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const services[] = { "lambda", "scheduler", "sagemaker-runtime",
						"sagemaker-featurestore-runtime" };
	static const char *const methods[] = { "GET", "POST", "PUT", "DELETE" };
	struct codec_pair query[16], headers[16];
	if (size < 1)
		return 0;
	if (data[0] & 0x80) {
		fuzz_codec_made(services[data[0] % 4], data + 1, size - 1);
		return 0;
	}
	struct str rest = str_of(data + 1, size - 1), line;
	struct codec_request rq = { .method = str_from(methods[data[0] / 4 % 4]), .query = query, .headers = headers };
	rq.path = take_line(&rest);
	while ((line = take_line(&rest)).len > 0) {
		ptrdiff_t eq = str_find_char(line, '='), colon = str_find_char(line, ':');
		if (eq > 0 && rq.nquery < 16)
			query[rq.nquery++] =
				(struct codec_pair){ str_head(line, (size_t)eq), str_skip(line, (size_t)eq + 1) };
		else if (colon > 0 && rq.nheaders < 16)
			headers[rq.nheaders++] =
				(struct codec_pair){ str_head(line, (size_t)colon), str_skip(line, (size_t)colon + 1) };
	}
	rq.body = rest;
	fuzz_codec(services[data[0] % 4], &rq);
	return 0;
}
