/* items_bytes.c - the bytes of an object, in pieces, inflated where it is a gzip file. See items.h. */
#include "states/items.h"

#include <stdlib.h>

enum { PIECE = 256 << 10 };

static ptrdiff_t read_body(struct bytes *b, void *p, size_t n)
{
	ptrdiff_t k = s3_reader_read(&b->body, b->at, p, n, &b->fault);
	b->at += k > 0 ? k : 0;
	return k;
}

static bool inflate_more(struct bytes *b)
{
	b->z->next_out = (unsigned char *)b->buf;
	b->z->avail_out = PIECE;
	while (b->z->avail_out == PIECE) {
		if (!b->z->avail_in) {
			ptrdiff_t k = read_body(b, b->zbuf, PIECE);
			if (k == 0 && !b->z_done)
				error_set(&b->fault, "The gzip file ends too early.");
			if (k <= 0)
				return false;
			b->z->next_in = b->zbuf;
			b->z->avail_in = (unsigned)k;
		}
		if (b->z_done) /* files may be put together */
			inflateReset(b->z);
		int rc = inflate(b->z, Z_NO_FLUSH);
		b->z_done = rc == Z_STREAM_END;
		if (rc != Z_OK && rc != Z_STREAM_END) {
			error_set(&b->fault, "The gzip file is damaged: %s.", b->z->msg ? b->z->msg : "bad data");
			return false;
		}
	}
	b->len = PIECE - b->z->avail_out;
	return true;
}

bool bytes_fill(struct bytes *b)
{
	b->pos = b->len = 0;
	if (b->end)
		return false;
	if (b->z) {
		b->end = !inflate_more(b);
	} else {
		ptrdiff_t k = read_body(b, b->buf, PIECE);
		b->len = k > 0 ? (size_t)k : 0;
		b->end = k <= 0;
	}
	return !b->end;
}

int bytes_check(struct bytes *b, struct error *err)
{
	return b->fault.message ? error_move(err, &b->fault) : 0;
}

static int start_inflating(struct bytes *b, struct error *err)
{
	b->z = mem_calloc(1, sizeof(*b->z));
	b->zbuf = mem_alloc(PIECE);
	memcpy(b->zbuf, b->buf, b->len);
	b->z->next_in = b->zbuf;
	b->z->avail_in = (unsigned)b->len;
	b->len = 0;
	return inflateInit2(b->z, 15 + 16) == Z_OK ? 0 : error_set(err, "start to inflate: no memory");
}

int bytes_open(struct states *s, struct str bucket, struct str key, struct str version, bool gzip, struct bytes *b,
	       struct error *err)
{
	*b = (struct bytes){ .body.fd = -1 };
	if (!s->o.s3)
		return error_set(err, "This Quern has no S3.");
	struct db *db = store_read_begin(engine_store(s->o.engine), err);
	if (!db)
		return -1;
	int rc = s3_reader_open(s->o.s3, db, bucket, key, version, &b->body, err);
	store_read_end(engine_store(s->o.engine), db);
	if (rc < 0)
		return -1;
	b->buf = mem_alloc(PIECE);
	bytes_fill(b);
	if (gzip && b->len > 2 && memcmp(b->buf, "\x1f\x8b", 2) == 0) {
		if (start_inflating(b, err) < 0)
			return -1;
		bytes_fill(b);
	}
	if (b->len >= 3 && memcmp(b->buf, "\xef\xbb\xbf", 3) == 0)
		b->pos = 3;
	return bytes_check(b, err);
}

void bytes_of_text(struct bytes *b, struct str text)
{
	*b = (struct bytes){ .body.fd = -1, .end = true, .len = text.len };
	b->buf = mem_alloc(text.len + 1);
	memcpy(b->buf, text.ptr, text.len);
}

void bytes_close(struct bytes *b)
{
	s3_reader_close(&b->body);
	if (b->z)
		inflateEnd(b->z);
	free(b->z);
	free(b->zbuf);
	free(b->buf);
	error_release(&b->fault);
	*b = (struct bytes){ .body.fd = -1 };
}
