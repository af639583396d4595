/* chunked.h - S3's own body framing (aws-chunked), signed or not. Inside the wire room.
 *
 * DESIGN: a push decoder: bytes in any pieces go in, payload goes to a sink, never buffered (a chunk may be as large as
 * the object). signed:   hex;chunk-signature=sig CRLF data CRLF ... 0;chunk-signature=sig CRLF [trailers,
 * x-amz-trailer-signature] CRLF unsigned: hex CRLF data CRLF ... 0 CRLF [trailers] CRLF Each chunk's signature covers
 * the one before it; it is checked at the chunk's end, so the sink sees bytes of a chunk before its signature is
 * proved: nothing may become visible before chunked_finish said yes. Chunk extensions, header lines and trailers are
 * bounded. This is not HTTP's Transfer-Encoding, which may be wrapped around it and which libmicrohttpd takes off.
 * Source: Amazon S3 API reference, "Signature calculations: transferring payload in multiple chunks" and "including
 * trailing headers". */
#ifndef QUERN_WIRE_CHUNKED_H
#define QUERN_WIRE_CHUNKED_H

#include "base/arena.h"
#include "base/error.h"
#include "wire/model.h"

struct chunked;

struct chunked_options {
	bool is_signed;
	bool trailer;           /* the request announced trailers */
	unsigned char key[32];  /* derived key, when signed */
	struct str timestamp;   /* "20150830T123600Z" */
	struct str scope;       /* "20150830/us-east-1/s3/aws4_request" */
	struct str signature;   /* the request's, which the first chunk's builds on */
	int64_t decoded_length; /* X-Amz-Decoded-Content-Length; -1 unknown */
};

/* Takes payload. 0: more; 1: taken, but pause; < 0: stop. */
typedef int (*chunked_sink)(void *ctx, const void *p, size_t n);

/* Lives in the arena (freed with it). */
struct chunked *chunked_new(struct arena *a, const struct chunked_options *options);
/* Returns how many bytes were taken (all of them unless the sink paused), -1 with an S3 error code in err, -2 when the
 * sink stopped. */
ptrdiff_t chunked_feed(struct chunked *c, const char *p, size_t n, chunked_sink sink, void *ctx, struct error *err);
/* The body is over: 0 when it was whole, as long as announced, and every signature right. */
int chunked_finish(struct chunked *c, struct error *err);
/* Value of a trailer (any case), STR_NULL when absent. Proved only after chunked_finish. */
struct str chunked_trailer(const struct chunked *c, struct str name);

#endif
