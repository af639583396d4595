/* fuzz_sigv4.c - signature claims and canonical requests of arbitrary requests: "METHOD target\n" and then
 * "name:value\n" lines. Checked: a request signed by us with whatever it claims verifies, and one with another key does
 * not; normalising a path twice changes nothing. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/id.h"
#include "wire/sigv4.h"
#include "wire/uri.h"

static struct sigv4_request parse(struct arena *a, struct str text)
{
	struct str line, rest = text;
	struct sigv4_request rq = { .method = STR("GET"), .path = STR("/"), .query = STR("") };
	if (str_split(&rest, '\n', &line)) {
		ptrdiff_t space = str_find_char(line, ' ');
		if (space >= 0) {
			rq.method = str_head(line, (size_t)space);
			line = str_skip(line, (size_t)space + 1);
		}
		ptrdiff_t mark = str_find_char(line, '?');
		rq.path = mark < 0 ? line : str_head(line, (size_t)mark);
		rq.query = mark < 0 ? STR("") : str_skip(line, (size_t)mark + 1);
	}
	struct codec_pair *h = ARENA_ARRAY(a, struct codec_pair, 64);
	while (rq.nheaders < 64 && str_split(&rest, '\n', &line)) {
		ptrdiff_t colon = str_find_char(line, ':');
		if (colon > 0)
			h[rq.nheaders++] =
				(struct codec_pair){ str_head(line, (size_t)colon), str_skip(line, (size_t)colon + 1) };
	}
	rq.headers = h;
	return rq;
}

/* The right signature for what is claimed, made from the same canonical request. */
static void sign(struct arena *a, const struct sigv4_request *rq, struct sigv4 *s, struct str secret, bool s3)
{
	unsigned char sum[32], key[32];
	char hex[65];
	sigv4_sha256(sigv4_canonical(a, rq, s, STR("UNSIGNED-PAYLOAD"), s3, false), sum);
	hex_encode(hex, sum, 32);
	sigv4_key(s, secret, key);
	const char *text =
		arena_printf(a, "AWS4-HMAC-SHA256\n%.*s\n%.*s\n%s", STR_ARG(s->timestamp), STR_ARG(s->scope), hex);
	sigv4_hmac(key, 32, str_from(text), sum);
	char *out = arena_alloc(a, 65);
	hex_encode(out, sum, 32);
	s->signature = str_from(out);
}

static void check_signing(struct arena *a, const struct sigv4_request *rq, struct sigv4 *s, bool s3)
{
	if (s->scope.len > 512 || memchr(s->scope.ptr, 0, s->scope.len))
		return;
	sign(a, rq, s, STR("secret"), s3);
	if (!sigv4_verify(a, rq, s, STR("secret"), STR("UNSIGNED-PAYLOAD"), s3))
		abort();
	if (sigv4_verify(a, rq, s, STR("secrets"), STR("UNSIGNED-PAYLOAD"), s3))
		abort();
	if (sigv4_verify(a, rq, s, STR("secret"), STR("other"), s3))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = ARENA_INIT;
	struct sigv4_request rq = parse(&a, str_of(data, size));
	struct sigv4 s;
	enum sigv4_fault fault = sigv4_parse(&a, &rq, &s);
	if (fault == SIGV4_OK) {
		sigv4_check_time(&s, 1369353600000);
		sigv4_check_headers(&a, &rq, &s);
		check_signing(&a, &rq, &s, true);
		check_signing(&a, &rq, &s, false);
	}
	char *once = arena_alloc_raw(&a, rq.path.len + 1), *twice = arena_alloc_raw(&a, rq.path.len + 1);
	struct str p = uri_normalize(once, rq.path), q = uri_normalize(twice, p);
	if (!str_eq(p, q) || p.ptr[0] != '/')
		abort();
	struct str decoded = uri_decoded(&a, rq.path, false);
	char *encoded = arena_alloc_raw(&a, 3 * decoded.len + 1);
	struct str e = str_of(encoded, (size_t)(uri_encode(encoded, decoded, true) - encoded));
	if (!str_eq(uri_decoded(&a, e, false), decoded))
		abort();
	arena_release(&a);
	return 0;
}
