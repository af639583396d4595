/* fuzz_codec.h - what the fuzz targets of the decoders share.
 *
 * DESIGN: the first byte chooses the operation where the protocol does not carry it; the rest is the request. What
 * decodes is validated and, as far as the input fits the output shape, encoded again, so every walk over untrusted data
 * is driven. */
#ifndef QUERN_TESTS_FUZZ_CODEC_H
#define QUERN_TESTS_FUZZ_CODEC_H

#include "base/json.h"
#include "wire/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void fuzz_codec(const char *service, const struct codec_request *rq)
{
	struct arena a = ARENA_INIT;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_JSON json_t *in = NULL;
	const struct model_service *s = model_variant(model_find(service), rq);
	const struct model_op *op = NULL;
	struct codec_response rs;
	if (codec_decode(&a, s, rq, &op, &in, &err) < 0) {
		if (err.code[0] == 0) /* bad input is the client's fault, never ours */
			__builtin_trap();
		codec_error(&a, s, &err, "fuzz", &rs);
	} else {
		CLEANUP_ERROR struct error other = ERROR_INIT;
		if (model_validate(&a, s, op, in, &err) < 0)
			codec_error(&a, s, &err, "fuzz", &rs);
		codec_encode(&a, s, op, in, "fuzz", &rs, &other);
	}
	arena_release(&a);
}

#endif
