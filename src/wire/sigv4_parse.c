/* sigv4_parse.c - what the client claims, see sigv4.h.
 *
 * DESIGN: reads the Authorization header or the X-Amz-* query arguments into struct sigv4 without judging the key or
 * the signature. When something is missing it still fills what it could read, because the credential scope also routes
 * the request. */
#include "wire/sigv4.h"

#include "base/clock.h"
#include "wire/uri.h"

#define ALGORITHM "AWS4-HMAC-SHA256"

struct str sigv4_header(const struct sigv4_request *rq, const char *name)
{
	struct str n = str_from(name);
	for (size_t i = 0; i < rq->nheaders; i++)
		if (rq->headers[i].name.len == n.len && str_eq_nocase(rq->headers[i].name, n))
			return rq->headers[i].value;
	return STR_NULL;
}

/* "AKID/20150830/us-east-1/iam/aws4_request"; an access key may itself hold a slash. Clients of S3 that were given no
 * region (DuckDB) sign over an empty one. */
static enum sigv4_fault parse_credential(struct sigv4 *s)
{
	struct str rest = s->credential, part[4];
	for (int i = 3; i >= 0; i--) {
		size_t at = rest.len;
		while (at > 0 && rest.ptr[at - 1] != '/')
			at--;
		if (at == 0)
			return SIGV4_BAD_CREDENTIAL;
		part[i] = str_skip(rest, at);
		rest = str_head(rest, at - 1);
	}
	s->access_key = rest;
	s->date = part[0];
	s->region = part[1];
	s->service = part[2];
	s->scope = str_skip(s->credential, rest.len + 1);
	if (!rest.len || s->date.len != 8 || (!s->region.len && !str_eqz(s->service, "s3")) || !s->service.len ||
	    !str_eqz(part[3], "aws4_request"))
		return SIGV4_BAD_CREDENTIAL;
	return SIGV4_OK;
}

static enum sigv4_fault parse_time(struct arena *a, struct sigv4 *s, struct str value)
{
	value = str_trim(value);
	if (!clock_parse_iso(value, &s->time_ms) && !clock_parse_http(value, &s->time_ms))
		return SIGV4_NO_DATE;
	char basic[40];
	clock_basic(s->time_ms, basic);
	s->timestamp = arena_str(a, str_from(basic));
	return str_eq(str_head(s->timestamp, 8), s->date) ? SIGV4_OK : SIGV4_DATE_MISMATCH;
}

static enum sigv4_fault first_fault(enum sigv4_fault a, enum sigv4_fault b)
{
	return a != SIGV4_OK ? a : b;
}

static enum sigv4_fault incomplete(struct sigv4 *s, const char *detail)
{
	s->detail = detail;
	return SIGV4_INCOMPLETE;
}

/* Names must be in ascending order, as the rules say; so none is listed twice and the canonical request stays small. */
static bool names_ascend(struct str names)
{
	struct str name, last = STR_NULL;
	while (str_split(&names, ';', &name)) {
		if (last.ptr && str_cmp(last, name) >= 0)
			return false;
		last = name;
	}
	return true;
}

/* "Credential=..., SignedHeaders=..., Signature=..." */
static enum sigv4_fault parse_fields(struct sigv4 *s, struct str rest)
{
	struct str piece;
	while (str_split(&rest, ',', &piece)) {
		piece = str_trim(piece);
		if (!piece.len)
			continue;
		ptrdiff_t eq = str_find_char(piece, '=');
		if (eq <= 0)
			return SIGV4_MALFORMED;
		struct str name = str_head(piece, (size_t)eq), value = str_skip(piece, (size_t)eq + 1);
		struct str *to = str_eqz(name, "Credential")      ? &s->credential
				 : str_eqz(name, "SignedHeaders") ? &s->signed_headers
				 : str_eqz(name, "Signature")     ? &s->signature
								  : NULL;
		if (!to || to->ptr)
			return SIGV4_MALFORMED;
		*to = value;
	}
	return SIGV4_OK;
}

static enum sigv4_fault parse_header(struct arena *a, const struct sigv4_request *rq, struct str value, struct sigv4 *s)
{
	value = str_trim(value);
	if (!str_starts(value, STR(ALGORITHM))) {
		s->place = SIGV4_OTHER;
		return SIGV4_UNSUPPORTED;
	}
	s->place = SIGV4_HEADER;
	struct str rest = str_skip(value, sizeof(ALGORITHM) - 1);
	if (rest.len && rest.ptr[0] != ' ' && rest.ptr[0] != '\t') {
		s->place = SIGV4_OTHER;
		return SIGV4_UNSUPPORTED;
	}
	s->token = sigv4_header(rq, "x-amz-security-token");
	s->payload = sigv4_header(rq, "x-amz-content-sha256");
	enum sigv4_fault fault = parse_fields(s, rest);
	if (s->credential.ptr)
		fault = first_fault(fault, parse_credential(s));
	else
		fault = first_fault(fault, incomplete(s, "Credential"));
	if (!s->signed_headers.len)
		fault = first_fault(fault, incomplete(s, "SignedHeaders"));
	if (!s->signature.len)
		fault = first_fault(fault, incomplete(s, "Signature"));
	if (!names_ascend(s->signed_headers))
		fault = first_fault(fault, SIGV4_MALFORMED);
	if (fault != SIGV4_OK)
		return fault;
	struct str date = sigv4_header(rq, "x-amz-date");
	if (!date.ptr)
		date = sigv4_header(rq, "date");
	return date.ptr ? parse_time(a, s, date) : SIGV4_NO_DATE;
}

struct query_fields {
	struct str algorithm, date, expires;
};

static void take(struct str name, struct str value, struct sigv4 *s, struct query_fields *q)
{
	struct {
		const char *name;
		struct str *to;
	} fields[] = {
		{ "X-Amz-Algorithm", &q->algorithm },
		{ "X-Amz-Credential", &s->credential },
		{ "X-Amz-Date", &q->date },
		{ "X-Amz-Expires", &q->expires },
		{ "X-Amz-SignedHeaders", &s->signed_headers },
		{ "X-Amz-Signature", &s->signature },
		{ "X-Amz-Security-Token", &s->token },
		{ "X-Amz-Content-Sha256", &s->payload },
	};
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (str_eq_nocase(name, str_from(fields[i].name)) && !fields[i].to->ptr)
			*fields[i].to = value;
}

static enum sigv4_fault parse_expires(struct sigv4 *s, struct str value)
{
	s->detail = "number";
	if (!str_to_i64(value, &s->expires_s))
		return SIGV4_BAD_EXPIRES;
	s->detail = "negative";
	if (s->expires_s < 0)
		return SIGV4_BAD_EXPIRES;
	s->detail = "large";
	if (s->expires_s > SIGV4_MAX_EXPIRES_S)
		return SIGV4_BAD_EXPIRES;
	s->detail = NULL;
	return SIGV4_OK;
}

static enum sigv4_fault parse_query(struct arena *a, const struct sigv4_request *rq, struct sigv4 *s)
{
	struct query_fields q = { 0 };
	struct str rest = rq->query, pair;
	while (str_split(&rest, '&', &pair)) {
		ptrdiff_t eq = str_find_char(pair, '=');
		struct str name = eq < 0 ? pair : str_head(pair, (size_t)eq);
		if (name.len < 6 || (name.ptr[0] | 32) != 'x')
			continue;
		struct str value = eq < 0 ? STR("") : str_skip(pair, (size_t)eq + 1);
		take(name, uri_decoded(a, value, true), s, &q);
	}
	if (!q.algorithm.ptr && !s->credential.ptr)
		return SIGV4_MISSING;
	s->place = SIGV4_QUERY;
	if (!s->payload.ptr)
		s->payload = sigv4_header(rq, "x-amz-content-sha256");
	enum sigv4_fault fault = SIGV4_OK;
	if (s->credential.ptr)
		fault = parse_credential(s);
	if (!q.algorithm.ptr || !s->credential.ptr || !s->signature.len || !q.date.ptr || !s->signed_headers.len)
		return incomplete(s, "query");
	if (!str_eqz(q.algorithm, ALGORITHM))
		return SIGV4_UNSUPPORTED;
	if (!names_ascend(s->signed_headers))
		return SIGV4_MALFORMED;
	/* Only S3 demands X-Amz-Expires; without it the usual clock rule applies. */
	s->expires_s = -1;
	if (q.expires.ptr)
		fault = first_fault(fault, parse_expires(s, q.expires));
	return first_fault(fault, parse_time(a, s, q.date));
}

enum sigv4_fault sigv4_parse(struct arena *a, const struct sigv4_request *rq, struct sigv4 *out)
{
	*out = (struct sigv4){ .place = SIGV4_NOWHERE };
	struct str authorization = STR_NULL;
	size_t count = 0;
	for (size_t i = 0; i < rq->nheaders; i++)
		if (rq->headers[i].name.len == 13 && str_eq_nocase(rq->headers[i].name, STR("authorization"))) {
			authorization = rq->headers[i].value;
			count++;
		}
	if (count > 1) {
		out->place = SIGV4_OTHER;
		return SIGV4_MALFORMED;
	}
	if (count == 1)
		return parse_header(a, rq, authorization, out);
	return rq->query.len ? parse_query(a, rq, out) : SIGV4_MISSING;
}

enum sigv4_fault sigv4_parse_scope(struct arena *a, struct str credential, struct str date, struct sigv4 *out)
{
	if (!credential.len || !date.len)
		return SIGV4_INCOMPLETE;
	out->credential = credential;
	enum sigv4_fault fault = parse_credential(out);
	return fault != SIGV4_OK ? fault : parse_time(a, out, date);
}

enum sigv4_fault sigv4_check_time(const struct sigv4 *s, int64_t now_ms)
{
	if (s->time_ms > now_ms + SIGV4_SKEW_MS)
		return SIGV4_TOO_NEW;
	if (s->place == SIGV4_QUERY && s->expires_s >= 0)
		return now_ms > s->time_ms + s->expires_s * 1000 ? SIGV4_EXPIRED : SIGV4_OK;
	return s->time_ms < now_ms - SIGV4_SKEW_MS ? SIGV4_TOO_OLD : SIGV4_OK;
}

/* True when `name` (any case) is one of the semicolon-separated lower-case names. */
static bool is_signed(struct str list, struct str name)
{
	struct str piece;
	while (str_split(&list, ';', &piece))
		if (piece.len == name.len && str_eq_nocase(piece, name))
			return true;
	return false;
}

enum sigv4_fault sigv4_check_headers(struct arena *a, const struct sigv4_request *rq, struct sigv4 *s)
{
	if (!is_signed(s->signed_headers, STR("host")))
		return SIGV4_HOST_UNSIGNED;
	for (size_t i = 0; i < rq->nheaders; i++) {
		struct str name = rq->headers[i].name;
		if (name.len < 6 || !str_eq_nocase(str_head(name, 6), STR("x-amz-")) ||
		    is_signed(s->signed_headers, name))
			continue;
		s->detail = arena_strdup(a, name);
		return SIGV4_HEADER_UNSIGNED;
	}
	return SIGV4_OK;
}
