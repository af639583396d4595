/* auth_error.c - what AWS says when a signature is not accepted.
 *
 * DESIGN: one table of causes, worded by four front ends: json services (HTTP 400), rest services (403), the query
 * protocol (403) and S3 (403, codes of its own). Clients act on codes (an SDK corrects its clock on
 * RequestTimeTooSkewed, InvalidSignatureException or SignatureDoesNotMatch with "Signature expired"), people on texts.
 */
#include "base/clock.h"
#include "wire/http.h"

#define MISMATCH                                                                                                       \
	"The request signature we calculated does not match the signature you provided. Check your AWS Secret Access " \
	"Key and "                                                                                                     \
	"signing method. Consult the service documentation for details."

/* ---- S3 ---- */

static int s3_malformed(enum sigv4_fault fault, const struct sigv4 *s, struct error *err)
{
	static const char form[] =
		"the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".";
	static const char code[] = "AuthorizationHeaderMalformed";
	static const char lead[] = "The authorization header is malformed;";
	if (fault == SIGV4_INCOMPLETE)
		return error_http(err, 400, code, "%s missing %s.", lead, s->detail);
	if (fault == SIGV4_BAD_CREDENTIAL)
		return error_http(err, 400, code, "%s %s", lead, form);
	if (fault == SIGV4_DATE_MISMATCH)
		return error_http(err, 400, code, "%s Invalid credential date. Date is not the same as X-Amz-Date.",
				  lead);
	return error_http(
		err, 400, code,
		"%s the authorization header requires three components: Credential, SignedHeaders, and Signature.",
		lead);
}

static int s3_query(enum sigv4_fault fault, const struct sigv4 *s, struct error *err)
{
	static const char code[] = "AuthorizationQueryParametersError";
	switch (fault) {
	case SIGV4_UNSUPPORTED:
		return error_http(err, 400, code, "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"");
	case SIGV4_BAD_CREDENTIAL:
		return error_http(
			err, 400, code,
			"Error parsing the X-Amz-Credential parameter; the Credential is mal-formed; expecting "
			"\"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".");
	case SIGV4_NO_DATE:
		return error_http(err, 400, code,
				  "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"");
	case SIGV4_DATE_MISMATCH:
		return error_http(
			err, 400, code,
			"Invalid credential date \"%.*s\". This date is not the same as X-Amz-Date: \"%.*s\".",
			STR_ARG(s->date), STR_ARG(str_head(s->timestamp, 8)));
	case SIGV4_BAD_EXPIRES:
		if (str_eqz(str_from(s->detail), "large"))
			return error_http(err, 400, code,
					  "X-Amz-Expires must be less than a week (in seconds); that is, the given "
					  "X-Amz-Expires must be "
					  "less than 604800 seconds");
		return error_http(err, 400, code, "X-Amz-Expires %s",
				  str_eqz(str_from(s->detail), "number") ? "should be a number"
									 : "must be non-negative");
	default:
		return error_http(err, 400, code,
				  "Query-string authentication version 4 requires the X-Amz-Algorithm, "
				  "X-Amz-Credential, X-Amz-Signature, "
				  "X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.");
	}
}

static int s3_error(enum sigv4_fault fault, const struct sigv4 *s, struct error *err)
{
	bool query = s->place == SIGV4_QUERY;
	switch (fault) {
	case SIGV4_OK:
	case SIGV4_MISSING:
		return error_http(err, 403, "AccessDenied", "Access Denied");
	case SIGV4_UNSUPPORTED:
		if (query)
			return s3_query(fault, s, err);
		return error_http(
			err, 400, "InvalidRequest",
			"The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.");
	case SIGV4_NO_DATE:
		if (query)
			return s3_query(fault, s, err);
		return error_http(err, 403, "AccessDenied",
				  "AWS authentication requires a valid Date or x-amz-date header");
	case SIGV4_INCOMPLETE:
	case SIGV4_MALFORMED:
	case SIGV4_BAD_CREDENTIAL:
	case SIGV4_DATE_MISMATCH:
	case SIGV4_BAD_EXPIRES:
		return query ? s3_query(fault, s, err) : s3_malformed(fault, s, err);
	case SIGV4_TOO_OLD:
	case SIGV4_TOO_NEW:
		if (query && fault == SIGV4_TOO_NEW)
			return error_http(err, 403, "AccessDenied", "Request is not valid yet");
		return error_http(err, 403, "RequestTimeTooSkewed",
				  "The difference between the request time and the current time is too large.");
	case SIGV4_EXPIRED:
		return error_http(err, 403, "AccessDenied", "Request has expired");
	case SIGV4_HOST_UNSIGNED:
	case SIGV4_HEADER_UNSIGNED:
		return error_http(err, 403, "AccessDenied",
				  "There were headers present in the request which were not signed: %s",
				  fault == SIGV4_HOST_UNSIGNED ? "host" : s->detail);
	case SIGV4_UNKNOWN_KEY:
		return error_http(err, 403, "InvalidAccessKeyId",
				  "The AWS Access Key Id you provided does not exist in our records.");
	case SIGV4_BAD_TOKEN:
		return error_http(err, 400, "InvalidToken", "The provided token is malformed or otherwise invalid.");
	case SIGV4_EXPIRED_TOKEN:
		return error_http(err, 400, "ExpiredToken", "The provided token has expired.");
	case SIGV4_MISMATCH:
	case SIGV4_WRONG_SERVICE:
		break;
	}
	return error_http(err, 403, "SignatureDoesNotMatch",
			  "The request signature we calculated does not match the signature you provided. Check your "
			  "key and signing method.");
}

/* ---- the others ---- */

/* json and rest services put "Exception" behind most names; the status is theirs too. */
static int say(enum auth_style style, int query_status, const char *query_code, const char *code, const char *text,
	       struct error *err)
{
	if (style == AUTH_QUERY)
		return error_http(err, query_status, query_code, "%s", text);
	return error_http(err, style == AUTH_JSON ? 400 : 403, code, "%s", text);
}

static int clock_error(enum auth_style style, enum sigv4_fault fault, const struct sigv4 *s, int64_t now_ms,
		       struct error *err)
{
	char now[40], limit[40], text[256];
	bool old = fault != SIGV4_TOO_NEW;
	int64_t allowed_ms = fault == SIGV4_EXPIRED ? s->expires_s * 1000 : SIGV4_SKEW_MS;
	clock_basic(now_ms, now);
	clock_basic(now_ms + (old ? -allowed_ms : allowed_ms), limit);
	snprintf(text, sizeof(text), "Signature %s: %.*s is %s than %s (%s %c %lld min.)",
		 old ? "expired" : "not yet current", STR_ARG(s->timestamp), old ? "now earlier" : "still later", limit,
		 now, old ? '-' : '+', (long long)(allowed_ms / 60000));
	return say(style, 403, "SignatureDoesNotMatch", "InvalidSignatureException", text, err);
}

static int incomplete(enum auth_style style, enum sigv4_fault fault, const struct sigv4 *s, struct error *err)
{
	static const char code[] = "IncompleteSignatureException";
	const char *c = style == AUTH_QUERY ? "IncompleteSignature" : code;
	int status = style == AUTH_REST ? 403 : 400;
	if (fault == SIGV4_INCOMPLETE && s->place == SIGV4_HEADER)
		return error_http(err, status, c, "Authorization header requires '%s' parameter.", s->detail);
	if (fault == SIGV4_NO_DATE)
		return error_http(
			err, status, c,
			"Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.");
	if (fault == SIGV4_BAD_CREDENTIAL)
		return error_http(err, status, c,
				  "Credential must have exactly 5 slash-delimited elements, e.g. "
				  "keyid/date/region/service/term, got '%.*s'",
				  STR_ARG(str_head(s->credential, 200)));
	if (fault == SIGV4_BAD_EXPIRES)
		return error_http(err, status, c, "X-Amz-Expires must be a number from 0 to 604800.");
	if (s->place == SIGV4_QUERY)
		return error_http(err, status, c,
				  "A presigned request requires 'X-Amz-Algorithm', 'X-Amz-Credential', 'X-Amz-Date', "
				  "'X-Amz-SignedHeaders' and 'X-Amz-Signature'.");
	return error_http(err, status, c, "Authorization header is not a well-formed AWS4-HMAC-SHA256 signature.");
}

static int other_error(enum auth_style style, enum sigv4_fault fault, const struct sigv4 *s, int64_t now_ms,
		       struct error *err)
{
	char text[512];
	switch (fault) {
	case SIGV4_OK:
	case SIGV4_MISSING:
		return say(style, 403, "MissingAuthenticationToken", "MissingAuthenticationTokenException",
			   style == AUTH_QUERY ? "Request is missing Authentication Token"
					       : "Missing Authentication Token",
			   err);
	case SIGV4_UNSUPPORTED:
	case SIGV4_INCOMPLETE:
	case SIGV4_MALFORMED:
	case SIGV4_BAD_CREDENTIAL:
	case SIGV4_NO_DATE:
	case SIGV4_BAD_EXPIRES:
		return incomplete(style, fault, s, err);
	case SIGV4_DATE_MISMATCH:
		snprintf(text, sizeof(text),
			 "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
			 "'%.*s' != '%.8s', "
			 "from '%.*s'.",
			 STR_ARG(s->date), s->timestamp.ptr, STR_ARG(s->timestamp));
		return say(style, 403, "SignatureDoesNotMatch", "InvalidSignatureException", text, err);
	case SIGV4_TOO_OLD:
	case SIGV4_TOO_NEW:
	case SIGV4_EXPIRED:
		return clock_error(style, fault, s, now_ms, err);
	case SIGV4_HOST_UNSIGNED:
		return say(style, 403, "SignatureDoesNotMatch", "InvalidSignatureException",
			   "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.", err);
	case SIGV4_HEADER_UNSIGNED:
		snprintf(text, sizeof(text), "'%.100s' must be a 'SignedHeader' in the AWS Authorization.", s->detail);
		return say(style, 403, "SignatureDoesNotMatch", "InvalidSignatureException", text, err);
	case SIGV4_UNKNOWN_KEY:
	case SIGV4_BAD_TOKEN:
		return say(style, 403, "InvalidClientTokenId", "UnrecognizedClientException",
			   "The security token included in the request is invalid.", err);
	case SIGV4_EXPIRED_TOKEN:
		return say(style, 403, "ExpiredToken", "ExpiredTokenException",
			   "The security token included in the request is expired", err);
	case SIGV4_MISMATCH:
	case SIGV4_WRONG_SERVICE:
		break;
	}
	return say(style, 403, "SignatureDoesNotMatch", "InvalidSignatureException", MISMATCH, err);
}

int auth_fault_error(enum auth_style style, enum sigv4_fault fault, const struct sigv4 *s, int64_t now_ms,
		     struct error *err)
{
	return style == AUTH_S3 ? s3_error(fault, s, err) : other_error(style, fault, s, now_ms, err);
}

int auth_body_mismatch(enum auth_style style, struct error *err)
{
	if (style == AUTH_S3)
		return error_http(err, 400, "XAmzContentSHA256Mismatch",
				  "The provided 'x-amz-content-sha256' header does not match what was computed.");
	return say(style, 403, "SignatureDoesNotMatch", "InvalidSignatureException", MISMATCH, err);
}
