/* sigv4.h - AWS Signature Version 4, the verifying side. Inside the wire room.
 *
 * DESIGN: three steps, so that a request can be routed before its key is known and its body is there: sigv4_parse reads
 * what the client claims (Authorization header or presigned query), sigv4_check_time compares it with the clock,
 * sigv4_verify recomputes the signature with the key's secret. Faults are values, not texts: each AWS protocol words
 * them its own way (auth_error.c). The canonical request follows "Create a signed AWS API request" of the IAM user
 * guide: S3 paths are encoded once and never normalised, all others are normalised and encoded again. A client that
 * signed its path or query exactly as it sent them, without normalising, is accepted too: both spell the same request.
 * Derived keys are cached per thread; signatures are compared in constant time. */
#ifndef QUERN_WIRE_SIGV4_H
#define QUERN_WIRE_SIGV4_H

#include "base/arena.h"
#include "wire/model.h"

#define SIGV4_SKEW_MS (15 * 60 * 1000)
#define SIGV4_MAX_EXPIRES_S 604800

enum sigv4_place {
	SIGV4_NOWHERE,
	SIGV4_HEADER,
	SIGV4_QUERY,
	SIGV4_OTHER /* an Authorization header of another scheme */
};

enum sigv4_fault {
	SIGV4_OK,
	SIGV4_MISSING,         /* the request is not signed */
	SIGV4_UNSUPPORTED,     /* another algorithm or scheme */
	SIGV4_INCOMPLETE,      /* a part of the Authorization header or query is missing: detail names it */
	SIGV4_MALFORMED,       /* the header cannot be taken apart */
	SIGV4_BAD_CREDENTIAL,  /* the Credential has not five parts, or not the right end */
	SIGV4_NO_DATE,         /* no or an unreadable X-Amz-Date or Date */
	SIGV4_DATE_MISMATCH,   /* the credential's day is not the request's */
	SIGV4_BAD_EXPIRES,     /* X-Amz-Expires: detail says what */
	SIGV4_TOO_OLD,         /* more than 15 minutes behind */
	SIGV4_TOO_NEW,         /* more than 15 minutes ahead */
	SIGV4_EXPIRED,         /* a presigned request after its time */
	SIGV4_HOST_UNSIGNED,   /* Host is not among the signed headers */
	SIGV4_HEADER_UNSIGNED, /* an x-amz-* header is not signed: detail names it */
	SIGV4_UNKNOWN_KEY,
	SIGV4_BAD_TOKEN,
	SIGV4_EXPIRED_TOKEN,
	SIGV4_MISMATCH,
	SIGV4_WRONG_SERVICE, /* the scope names a service that is not here */
};

struct sigv4_request {
	struct str method, path, query; /* as sent: path without query, query without '?' */
	const struct codec_pair *headers;
	size_t nheaders;
};

/* What the client claims. Pieces borrow the request or the arena. */
struct sigv4 {
	enum sigv4_place place;
	struct str credential, access_key, date, service;
	struct str region;         /* may be empty for S3 */
	struct str scope;          /* "20150830/us-east-1/iam/aws4_request" */
	struct str signed_headers; /* "host;x-amz-date" */
	struct str signature;
	struct str timestamp; /* "20150830T123600Z" */
	struct str token;     /* X-Amz-Security-Token, STR_NULL when absent */
	struct str payload;   /* X-Amz-Content-Sha256, STR_NULL when absent */
	int64_t time_ms, expires_s;
	const char *detail; /* with some faults */
};

/* Where the signature is, and as much of `out` as can be read (the scope even when something else is wrong). */
enum sigv4_fault sigv4_parse(struct arena *a, const struct sigv4_request *rq, struct sigv4 *out);
/* The same for a credential and date that stand alone (the fields of an S3 POST form). */
enum sigv4_fault sigv4_parse_scope(struct arena *a, struct str credential, struct str date, struct sigv4 *out);
enum sigv4_fault sigv4_check_time(const struct sigv4 *s, int64_t now_ms);
/* Host and every x-amz-* header must be signed. */
enum sigv4_fault sigv4_check_headers(struct arena *a, const struct sigv4_request *rq, struct sigv4 *s);
/* Recomputes the signature. `payload_hash` is the last line of the canonical request. `s3`: the path rules of S3. */
bool sigv4_verify(struct arena *a, const struct sigv4_request *rq, const struct sigv4 *s, struct str secret,
		  struct str payload_hash, bool s3);
/* The canonical request itself (for tests and error details). `as_sent`: without normalising. */
struct str sigv4_canonical(struct arena *a, const struct sigv4_request *rq, const struct sigv4 *s,
			   struct str payload_hash, bool s3, bool as_sent);
/* The derived signing key for s's scope, from this thread's cache. */
void sigv4_key(const struct sigv4 *s, struct str secret, unsigned char key[32]);
/* HMAC-SHA256 and SHA-256 with the prefetched algorithms and this thread's contexts. */
void sigv4_hmac(const unsigned char *key, size_t keylen, struct str data, unsigned char out[32]);
void sigv4_sha256(struct str data, unsigned char out[32]);
/* `hex` (any case) is the hex of the 32 bytes: compared in constant time. */
bool sigv4_same(struct str hex, const unsigned char sum[32]);
/* A SHA-256 to be fed piece by piece; owned by the caller. */
struct evp_md_ctx_st *sigv4_sha256_new(void);
void sigv4_sha256_add(struct evp_md_ctx_st *c, const void *p, size_t n);
/* Ends the sum and starts the next one. */
void sigv4_sha256_end(struct evp_md_ctx_st *c, unsigned char out[32]);
void sigv4_sha256_free(struct evp_md_ctx_st *c);
/* First header of that name (lower case), or STR_NULL. */
struct str sigv4_header(const struct sigv4_request *rq, const char *name);

#define SIGV4_EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define SIGV4_UNSIGNED_PAYLOAD "UNSIGNED-PAYLOAD"

#endif
