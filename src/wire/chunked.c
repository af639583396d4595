/* chunked.c - see chunked.h. */
#include "wire/chunked.h"

#include <openssl/crypto.h>

#include "base/buf.h"
#include "base/id.h"
#include "wire/sigv4.h"

enum { LINE_MAX_BYTES = 8192, TRAILERS_MAX = 32, TRAILERS_MAX_BYTES = 16384, CHUNK_MIN = 8192 };

enum chunked_state { CHUNK_HEADER, CHUNK_DATA, CHUNK_DATA_END, CHUNK_TRAILERS, CHUNK_DONE, CHUNK_FAILED };

struct chunked {
	struct arena *arena;
	struct chunked_options o;
	enum chunked_state state;
	char line[LINE_MAX_BYTES];
	size_t line_len;
	int64_t left;      /* of the chunk */
	int64_t total;     /* payload so far */
	bool small;        /* the last chunk was below the minimum */
	char previous[65]; /* signature the next one builds on, hex */
	char claimed[65];  /* of this chunk */
	struct evp_md_ctx_st *sha;
	struct codec_pair trailers[TRAILERS_MAX];
	size_t ntrailers, trailers_bytes;
	struct buf canonical_trailers;
	bool trailer_proved;
};

static void release(void *arg)
{
	struct chunked *c = arg;
	sigv4_sha256_free(c->sha);
	buf_release(&c->canonical_trailers);
	OPENSSL_cleanse(c->o.key, sizeof(c->o.key));
}

struct chunked *chunked_new(struct arena *a, const struct chunked_options *options)
{
	struct chunked *c = arena_alloc_raw(a, sizeof(*c));
	memset(c, 0, offsetof(struct chunked, line));
	memset((char *)c + offsetof(struct chunked, line_len), 0, sizeof(*c) - offsetof(struct chunked, line_len));
	c->arena = a;
	c->o = *options;
	c->o.timestamp = arena_str(a, options->timestamp);
	c->o.scope = arena_str(a, options->scope);
	if (c->o.is_signed) {
		c->sha = sigv4_sha256_new();
		if (options->signature.len == 64)
			memcpy(c->previous, options->signature.ptr, 64);
	}
	arena_defer(a, release, c);
	return c;
}

static int bad_framing(struct error *err)
{
	return error_http(err, 400, "IncompleteBody", "The body of the aws-chunked request is malformed.");
}

static int bad_signature(struct error *err)
{
	return error_http(err, 403, "SignatureDoesNotMatch",
			  "The request signature we calculated does not match the signature you provided. Check your "
			  "key and signing method.");
}

static int bad_trailer(struct error *err)
{
	return error_http(err, 400, "MalformedTrailerError",
			  "The request contained trailing data that was not well-formed or did not conform to our "
			  "published schema.");
}

/* ---- signatures ---- */

/* Checks the claimed signature of `sum` (SHA-256 of chunk or trailers) and makes it the previous one. */
static bool prove(struct chunked *c, bool trailer, const unsigned char sum[32], struct str claimed)
{
	char text[1024], hex[65];
	unsigned char mac[32];
	hex_encode(hex, sum, 32);
	int n = snprintf(text, sizeof(text), "AWS4-HMAC-SHA256-%s\n%.*s\n%.*s\n%s\n%s%s",
			 trailer ? "TRAILER" : "PAYLOAD", STR_ARG(c->o.timestamp), STR_ARG(c->o.scope), c->previous,
			 trailer ? "" : SIGV4_EMPTY_SHA256 "\n", hex);
	if (n < 0 || (size_t)n >= sizeof(text))
		return false;
	sigv4_hmac(c->o.key, 32, str_of(text, (size_t)n), mac);
	if (!sigv4_same(claimed, mac))
		return false;
	hex_encode(c->previous, mac, 32);
	return true;
}

static int end_chunk(struct chunked *c, struct error *err)
{
	if (!c->o.is_signed)
		return 0;
	unsigned char sum[32];
	sigv4_sha256_end(c->sha, sum);
	return prove(c, false, sum, str_from(c->claimed)) ? 0 : bad_signature(err);
}

/* ---- lines ---- */

static int parse_size(struct str text, int64_t *out)
{
	if (text.len == 0 || text.len > 15)
		return -1;
	int64_t v = 0;
	for (size_t i = 0; i < text.len; i++) {
		int d = hex_digit(text.ptr[i]);
		if (d < 0)
			return -1;
		v = v << 4 | d;
	}
	*out = v;
	return 0;
}

/* Finds "chunk-signature=" among the extensions. */
static bool take_claim(struct chunked *c, struct str extensions)
{
	struct str piece;
	while (str_split(&extensions, ';', &piece)) {
		piece = str_trim(piece);
		if (!str_starts(piece, STR("chunk-signature=")))
			continue;
		piece = str_skip(piece, 16);
		if (piece.len != 64)
			return false;
		memcpy(c->claimed, piece.ptr, 64);
		return true;
	}
	return false;
}

static int chunk_header(struct chunked *c, struct str line, struct error *err)
{
	ptrdiff_t semi = str_find_char(line, ';');
	struct str size = str_trim(semi < 0 ? line : str_head(line, (size_t)semi));
	int64_t n;
	if (parse_size(size, &n) < 0)
		return bad_framing(err);
	if (c->o.is_signed && !take_claim(c, semi < 0 ? STR_NULL : str_skip(line, (size_t)semi + 1)))
		return bad_signature(err);
	if (n > 0 && c->small)
		return error_http(err, 400, "InvalidChunkSizeError",
				  "Only the last chunk is allowed to have a size less than 8192 bytes");
	if (c->o.decoded_length >= 0 && n > c->o.decoded_length - c->total)
		return error_http(err, 400, "IncompleteBody",
				  "You did not provide the number of bytes specified by the "
				  "x-amz-decoded-content-length HTTP header");
	c->small = n > 0 && n < CHUNK_MIN;
	c->left = n;
	c->state = n ? CHUNK_DATA : CHUNK_TRAILERS;
	return n ? 0 : end_chunk(c, err);
}

static int end_trailers(struct chunked *c, struct error *err)
{
	if (c->o.is_signed && c->o.trailer && !c->trailer_proved)
		return bad_signature(err);
	c->state = CHUNK_DONE;
	return 0;
}

static int prove_trailers(struct chunked *c, struct str claimed, struct error *err)
{
	unsigned char sum[32];
	sigv4_sha256(buf_str(&c->canonical_trailers), sum);
	if (!c->o.is_signed || c->trailer_proved)
		return bad_trailer(err);
	if (!prove(c, true, sum, claimed))
		return bad_signature(err);
	c->trailer_proved = true;
	return 0;
}

static int trailer_line(struct chunked *c, struct str line, struct error *err)
{
	if (!str_trim(line).len)
		return end_trailers(c, err);
	ptrdiff_t colon = str_find_char(line, ':');
	if (colon <= 0 || !c->o.trailer || c->trailer_proved)
		return bad_trailer(err);
	struct str name = arena_str(c->arena, str_trim(str_head(line, (size_t)colon)));
	struct str value = arena_str(c->arena, str_trim(str_skip(line, (size_t)colon + 1)));
	for (size_t i = 0; i < name.len; i++) {
		char *p = (char *)name.ptr + i;
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p | 32);
	}
	if (str_eqz(name, "x-amz-trailer-signature"))
		return prove_trailers(c, value, err);
	c->trailers_bytes += name.len + value.len;
	if (c->ntrailers == TRAILERS_MAX || c->trailers_bytes > TRAILERS_MAX_BYTES)
		return bad_trailer(err);
	c->trailers[c->ntrailers++] = (struct codec_pair){ name, value };
	buf_printf(&c->canonical_trailers, "%.*s:%.*s\n", STR_ARG(name), STR_ARG(value));
	return 0;
}

/* Collects bytes up to LF. 1: c->line holds a line (without CR LF), 0: more bytes are needed, -1: too long. */
static int take_line(struct chunked *c, const char *p, size_t n, size_t *used)
{
	const char *lf = memchr(p, '\n', n);
	size_t len = lf ? (size_t)(lf - p) : n;
	if (c->line_len + len > sizeof(c->line))
		return -1;
	memcpy(c->line + c->line_len, p, len);
	c->line_len += len;
	*used = lf ? len + 1 : len;
	if (!lf)
		return 0;
	while (c->line_len && c->line[c->line_len - 1] == '\r')
		c->line_len--;
	return 1;
}

static int line_done(struct chunked *c, struct error *err)
{
	struct str line = str_of(c->line, c->line_len);
	c->line_len = 0;
	switch (c->state) {
	case CHUNK_HEADER:
		return chunk_header(c, line, err);
	case CHUNK_DATA_END:
		if (line.len)
			return bad_framing(err);
		c->state = CHUNK_HEADER;
		return 0;
	case CHUNK_TRAILERS:
		return trailer_line(c, line, err);
	default:
		BUG("chunk state %d", c->state);
	}
}

/* ---- feeding ---- */

/* Returns the sink's answer. */
static int take_data(struct chunked *c, const char *p, size_t n, size_t *used, chunked_sink sink, void *ctx,
		     struct error *err)
{
	size_t take = (uint64_t)c->left < n ? (size_t)c->left : n;
	if (c->o.is_signed)
		sigv4_sha256_add(c->sha, p, take);
	c->left -= (int64_t)take;
	c->total += (int64_t)take;
	*used = take;
	if (c->left == 0) {
		c->state = CHUNK_DATA_END;
		if (end_chunk(c, err) < 0)
			return -1;
	}
	int rc = sink(ctx, p, take);
	return rc < 0 ? -2 : rc;
}

static ptrdiff_t fail(struct chunked *c, ptrdiff_t rc)
{
	c->state = CHUNK_FAILED;
	return rc;
}

ptrdiff_t chunked_feed(struct chunked *c, const char *p, size_t n, chunked_sink sink, void *ctx, struct error *err)
{
	size_t at = 0;
	while (at < n) {
		size_t used = 0;
		if (c->state == CHUNK_DONE || c->state == CHUNK_FAILED)
			return fail(c, bad_framing(err));
		if (c->state == CHUNK_DATA) {
			int rc = take_data(c, p + at, n - at, &used, sink, ctx, err);
			at += used;
			if (rc < 0)
				return fail(c, rc);
			if (rc == 1)
				return (ptrdiff_t)at;
			continue;
		}
		int rc = take_line(c, p + at, n - at, &used);
		at += used;
		if (rc < 0)
			return fail(c, c->state == CHUNK_TRAILERS ? bad_trailer(err) : bad_framing(err));
		if (rc == 1 && line_done(c, err) < 0)
			return fail(c, -1);
	}
	return (ptrdiff_t)n;
}

int chunked_finish(struct chunked *c, struct error *err)
{
	/* Some clients leave out the last, empty line. */
	if (c->state == CHUNK_TRAILERS && c->line_len == 0 && end_trailers(c, err) < 0)
		return -1;
	if (c->state != CHUNK_DONE)
		return error_http(err, 400, "IncompleteBody", "The request body terminated unexpectedly");
	if (c->o.decoded_length >= 0 && c->total != c->o.decoded_length)
		return error_http(err, 400, "IncompleteBody",
				  "You did not provide the number of bytes specified by the "
				  "x-amz-decoded-content-length HTTP header");
	return 0;
}

struct str chunked_trailer(const struct chunked *c, struct str name)
{
	for (size_t i = 0; i < c->ntrailers; i++)
		if (str_eq_nocase(c->trailers[i].name, name))
			return c->trailers[i].value;
	return STR_NULL;
}
