/* sigv4.c - canonical request and signature, see sigv4.h. */
#include "wire/sigv4.h"

#include <stdlib.h>

#include "base/id.h"
#include "wire/uri.h"

#define ALGORITHM "AWS4-HMAC-SHA256"

static char *put(char *p, struct str s)
{
	if (s.len)
		memcpy(p, s.ptr, s.len);
	return p + s.len;
}

/* ---- path ---- */

static char *put_path(struct arena *a, char *p, struct str path, bool s3, bool as_sent)
{
	if (!path.len)
		return put(p, STR("/"));
	if (as_sent)
		return put(p, path);
	char *scratch = arena_alloc_raw(a, path.len + 1);
	if (s3)
		return uri_encode(p, str_of(scratch, uri_decode(scratch, path, false)), true);
	return uri_encode(p, uri_normalize(scratch, path), true);
}

/* ---- query ---- */

struct query_pair {
	struct str name, value; /* encoded */
};

static int pair_cmp(const void *x, const void *y)
{
	const struct query_pair *a = x, *b = y;
	int c = str_cmp(a->name, b->name);
	return c ? c : str_cmp(a->value, b->value);
}

/* Encoded as the rules want it; as it stands when it is so already. */
static struct str reencode(struct arena *a, struct str s)
{
	bool clean = true;
	for (size_t i = 0; i < s.len && clean; i++)
		clean = uri_unreserved((unsigned char)s.ptr[i]);
	if (clean)
		return s;
	char *decoded = arena_alloc_raw(a, s.len + 1);
	size_t n = uri_decode(decoded, s, true);
	char *encoded = arena_alloc_raw(a, 3 * n + 1);
	return str_of(encoded, (size_t)(uri_encode(encoded, str_of(decoded, n), false) - encoded));
}

static size_t count_char(struct str s, char c)
{
	size_t n = 0;
	for (size_t i = 0; i < s.len; i++)
		n += s.ptr[i] == c;
	return n;
}

static char *put_query(struct arena *a, char *p, struct str query, bool as_sent, bool presigned)
{
	if (!query.len)
		return p;
	struct query_pair *pairs = ARENA_ARRAY(a, struct query_pair, count_char(query, '&') + 1);
	size_t n = 0;
	struct str piece;
	while (str_split(&query, '&', &piece)) {
		if (!piece.len)
			continue;
		ptrdiff_t eq = str_find_char(piece, '=');
		struct str name = eq < 0 ? piece : str_head(piece, (size_t)eq);
		struct str value = eq < 0 ? STR("") : str_skip(piece, (size_t)eq + 1);
		if (presigned && str_eqz(name, "X-Amz-Signature"))
			continue;
		pairs[n++] =
			(struct query_pair){ as_sent ? name : reencode(a, name), as_sent ? value : reencode(a, value) };
	}
	if (n > 1)
		qsort(pairs, n, sizeof(pairs[0]), pair_cmp);
	for (size_t i = 0; i < n; i++) {
		if (i)
			*p++ = '&';
		p = put(p, pairs[i].name);
		*p++ = '=';
		p = put(p, pairs[i].value);
	}
	return p;
}

/* ---- headers ---- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Trimmed, and runs of blanks inside become one space. */
static char *put_value(char *p, struct str value)
{
	value = str_trim(value);
	for (size_t i = 0; i < value.len; i++) {
		if (!is_blank(value.ptr[i]))
			*p++ = value.ptr[i];
		else if (!is_blank(value.ptr[i - 1]))
			*p++ = ' ';
	}
	return p;
}

static char *put_headers(char *p, const struct sigv4_request *rq, struct str names)
{
	struct str name;
	while (str_split(&names, ';', &name)) {
		p = put(p, name);
		*p++ = ':';
		bool first = true;
		for (size_t i = 0; i < rq->nheaders; i++) {
			if (rq->headers[i].name.len != name.len || !str_eq_nocase(rq->headers[i].name, name))
				continue;
			if (!first)
				*p++ = ',';
			first = false;
			p = put_value(p, rq->headers[i].value);
		}
		*p++ = '\n';
	}
	return p;
}

/* No more than one line a signed name; a name listed twice repeats its values, hence the product. */
static size_t headers_bound(const struct sigv4_request *rq, struct str names)
{
	size_t bound = names.len + 2;
	struct str name, rest = names;
	while (str_split(&rest, ';', &name)) {
		bound += 2;
		for (size_t i = 0; i < rq->nheaders; i++)
			if (rq->headers[i].name.len == name.len)
				bound += rq->headers[i].value.len + 1;
	}
	return bound;
}

struct str sigv4_canonical(struct arena *a, const struct sigv4_request *rq, const struct sigv4 *s,
			   struct str payload_hash, bool s3, bool as_sent)
{
	/* Encoding makes at most three bytes of one; a name without '=' gains one. */
	size_t bound = rq->method.len + 3 * rq->path.len + 4 * rq->query.len + headers_bound(rq, s->signed_headers) +
		       s->signed_headers.len + payload_hash.len + 16;
	char *start = arena_alloc_raw(a, bound), *p = start;
	p = put(p, rq->method);
	*p++ = '\n';
	p = put_path(a, p, rq->path, s3, as_sent);
	*p++ = '\n';
	p = put_query(a, p, rq->query, as_sent, s->place == SIGV4_QUERY);
	*p++ = '\n';
	p = put_headers(p, rq, s->signed_headers);
	*p++ = '\n';
	p = put(p, s->signed_headers);
	*p++ = '\n';
	p = put(p, payload_hash);
	if ((size_t)(p - start) > bound)
		BUG("canonical request of %zu bytes in %zu", (size_t)(p - start), bound);
	return str_of(start, (size_t)(p - start));
}

/* ---- signature ---- */

static bool matches(const struct sigv4 *s, const unsigned char key[32], struct str canonical)
{
	unsigned char sum[32];
	char text[512 + 128];
	if (s->scope.len > 512)
		return false;
	sigv4_sha256(canonical, sum);
	char *p = put(text, STR(ALGORITHM "\n"));
	p = put(p, s->timestamp);
	*p++ = '\n';
	p = put(p, s->scope);
	*p++ = '\n';
	hex_encode(p, sum, 32);
	p += 64;
	sigv4_hmac(key, 32, str_of(text, (size_t)(p - text)), sum);
	return sigv4_same(s->signature, sum);
}

bool sigv4_verify(struct arena *a, const struct sigv4_request *rq, const struct sigv4 *s, struct str secret,
		  struct str payload_hash, bool s3)
{
	unsigned char key[32];
	sigv4_key(s, secret, key);
	struct str canonical = sigv4_canonical(a, rq, s, payload_hash, s3, false);
	if (matches(s, key, canonical))
		return true;
	struct str sent = sigv4_canonical(a, rq, s, payload_hash, s3, true);
	return !str_eq(sent, canonical) && matches(s, key, sent);
}
