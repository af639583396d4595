/* fuzz_codec_xml.c - rest-xml bodies: first byte the operation of S3, then the document; from 0x80 on a request made
 * from the model. */
#include "fuzz_shape.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct {
		const char *method, *path, *argument;
	} calls[] = {
		{ "PUT", "/b", NULL },      { "PUT", "/b", "acl" },         { "PUT", "/b", "lifecycle" },
		{ "PUT", "/b", "cors" },    { "PUT", "/b", "tagging" },     { "PUT", "/b", "notification" },
		{ "POST", "/b", "delete" }, { "POST", "/b/k", "uploadId" }, { "PUT", "/b", "replication" },
	};
	if (size < 1)
		return 0;
	if (data[0] & 0x80) {
		fuzz_codec_made("s3", data + 1, size - 1);
		return 0;
	}
	size_t i = data[0] % (sizeof(calls) / sizeof(calls[0]));
	struct codec_pair query[] = { { str_from(calls[i].argument), STR("") } };
	struct codec_request rq = { .method = str_from(calls[i].method),
				    .path = str_from(calls[i].path),
				    .query = query,
				    .nquery = calls[i].argument != NULL,
				    .body = str_of(data + 1, size - 1) };
	fuzz_codec("s3", &rq);
	return 0;
}
