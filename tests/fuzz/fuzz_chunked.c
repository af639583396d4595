/* fuzz_chunked.c - the aws-chunked decoder on arbitrary bytes. The first byte says how: signed, with trailers, the size
 * of the pieces, whether the sink pauses. Checked: the same bytes in one piece give the same answer and the same
 * payload. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/buf.h"
#include "wire/chunked.h"

struct taken {
	struct buf data;
	bool pauses;
};

static int take(void *ctx, const void *p, size_t n)
{
	struct taken *t = ctx;
	buf_add(&t->data, p, n);
	return t->pauses ? 1 : 0;
}

static int decode(const struct chunked_options *o, const char *p, size_t n, size_t step, struct taken *t, char *code)
{
	struct arena a = ARENA_INIT;
	struct error err = ERROR_INIT;
	struct chunked *c = chunked_new(&a, o);
	ptrdiff_t rc = 0;
	for (size_t at = 0; at < n && rc >= 0; at += rc > 0 ? (size_t)rc : 0) {
		rc = chunked_feed(c, p + at, n - at < step ? n - at : step, take, t, &err);
		if (rc == 0)
			abort();
	}
	if (rc >= 0)
		rc = chunked_finish(c, &err);
	if (rc < 0 && (!err.code[0] || !err.message))
		abort();
	strcpy(code, err.code);
	error_release(&err);
	arena_release(&a);
	return rc < 0 ? -1 : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	struct chunked_options o = { .is_signed = data[0] & 1,
				     .trailer = data[0] & 2,
				     .timestamp = STR("20130524T000000Z"),
				     .scope = STR("20130524/us-east-1/s3/aws4_request"),
				     .signature =
					     STR("4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"),
				     .decoded_length = data[0] & 4 ? data[1] : -1 };
	struct taken pieces = { .pauses = data[0] & 8 }, whole = { 0 };
	char code_pieces[64], code_whole[64];
	const char *p = (const char *)data + 2;
	int a = decode(&o, p, size - 2, (size_t)(data[0] >> 4) + 1, &pieces, code_pieces);
	int b = decode(&o, p, size - 2, size, &whole, code_whole);
	if (a != b || strcmp(code_pieces, code_whole) != 0)
		abort();
	if (a == 0 && (pieces.data.len != whole.data.len ||
		       (whole.data.len && memcmp(pieces.data.ptr, whole.data.ptr, whole.data.len) != 0)))
		abort();
	buf_release(&pieces.data);
	buf_release(&whole.data);
	return 0;
}
