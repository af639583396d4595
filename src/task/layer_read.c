/* layer_read.c - see layer_read.h. Sources: RFC 1952 (gzip members), RFC 8878 (zstd, skippable frames); the words of
 * faults are those that containerd 1.7 passes on. */
#include "task/layer_read.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/arena.h"
#include "base/id.h"
#include "base/str.h"

enum { PIECE = 256 << 10, HEADERS = 64 << 20, WINDOW_LOG_MAX = 27, GZIP_ONLY = 16 + MAX_WBITS };

struct layer_read {
	int fd;
	enum { UNKNOWN, PLAIN, GZIP, ZSTD } kind;
	size_t at, have;    /* what is left of `in` */
	bool ended, inside; /* ended: the file; inside: a gzip member or zstd frame that has not ended */
	int64_t taken, given, most;
	z_stream gzip;
	ZSTD_DCtx *zstd;
	EVP_MD_CTX *md;
	const char *algorithm;
	unsigned char in[PIECE], out[PIECE];
};

struct layer_read *layer_read_new(int fd, const char *like, int64_t max_bytes)
{
	bool long_form = str_starts(str_from(like), STR("sha512:"));
	struct layer_read *r = mem_alloc(sizeof(*r));
	memset(r, 0, offsetof(struct layer_read, in));
	r->fd = fd;
	r->most = max_bytes + max_bytes / 8 + HEADERS; /* headers and padding come on top */
	r->algorithm = long_form ? "sha512" : "sha256";
	r->md = EVP_MD_CTX_new();
	if (!r->md || EVP_DigestInit_ex(r->md, long_form ? EVP_sha512() : EVP_sha256(), NULL) != 1)
		BUG("%s failed", r->algorithm);
	return r;
}

void layer_read_free(struct layer_read *r)
{
	if (r->kind == GZIP)
		inflateEnd(&r->gzip);
	ZSTD_freeDCtx(r->zstd);
	EVP_MD_CTX_free(r->md);
	free(r);
}

/* Fills `in`, which is empty, unless the file ends. */
static int fill(struct layer_read *r, struct error *err)
{
	r->taken += (int64_t)r->at;
	r->at = r->have = 0;
	while (r->have < PIECE && !r->ended) {
		ssize_t n = read(r->fd, r->in + r->have, PIECE - r->have);
		if (n < 0 && errno != EINTR)
			return error_errno(err, errno, "read the layer's archive");
		r->have += n > 0 ? (size_t)n : 0;
		r->ended = n == 0;
	}
	return 0;
}

static void sniff(struct layer_read *r)
{
	static const unsigned char gzip[] = { 0x1f, 0x8b, 8 }, zstd[] = { 0x28, 0xb5, 0x2f, 0xfd },
				   skippable[] = { 0x2a, 0x4d, 0x18 };
	const unsigned char *p = r->in;
	if (r->have >= 3 && memcmp(p, gzip, 3) == 0) {
		r->kind = GZIP;
		if (inflateInit2(&r->gzip, GZIP_ONLY) != Z_OK)
			BUG("out of memory");
	} else if (r->have >= 4 &&
		   (memcmp(p, zstd, 4) == 0 || ((p[0] & 0xf0) == 0x50 && memcmp(p + 1, skippable, 3) == 0))) {
		r->kind = ZSTD;
		r->zstd = ZSTD_createDCtx();
		if (!r->zstd || ZSTD_isError(ZSTD_DCtx_setParameter(r->zstd, ZSTD_d_windowLogMax, WINDOW_LOG_MAX)))
			BUG("out of memory");
	} else {
		r->kind = PLAIN;
	}
}

static int gzip_fault(const struct layer_read *r, int rc, struct error *err)
{
	const char *why = r->gzip.msg ? r->gzip.msg : "";
	if (rc != Z_DATA_ERROR)
		return error_set(err, "gzip: %s", zError(rc));
	if (strstr(why, "header") || strstr(why, "compression method"))
		return error_set(err, "gzip: invalid header");
	if (strstr(why, "check"))
		return error_set(err, "gzip: invalid checksum");
	return error_set(err, "flate: corrupt input before offset %lld", (long long)(r->taken + (int64_t)r->at));
}

static ssize_t step_gzip(struct layer_read *r, struct error *err)
{
	if (!r->inside) {
		if (r->at == r->have)
			return 0;
		inflateReset(&r->gzip);
		r->inside = true;
	}
	r->gzip.next_in = r->in + r->at;
	r->gzip.avail_in = (unsigned)(r->have - r->at);
	r->gzip.next_out = r->out;
	r->gzip.avail_out = PIECE;
	int rc = inflate(&r->gzip, Z_NO_FLUSH);
	r->at = r->have - r->gzip.avail_in;
	if (rc == Z_STREAM_END)
		r->inside = false;
	else if (rc != Z_OK && rc != Z_BUF_ERROR)
		return gzip_fault(r, rc, err);
	return PIECE - (ssize_t)r->gzip.avail_out;
}

static ssize_t step_zstd(struct layer_read *r, struct error *err)
{
	ZSTD_inBuffer in = { r->in, r->have, r->at };
	ZSTD_outBuffer out = { r->out, PIECE, 0 };
	if (!r->inside && r->at == r->have)
		return 0;
	size_t rc = ZSTD_decompressStream(r->zstd, &out, &in);
	if (ZSTD_getErrorCode(rc) == ZSTD_error_prefix_unknown)
		return error_set(err, "invalid input: magic number mismatch");
	if (ZSTD_isError(rc))
		return error_set(err, "zstd: %s", ZSTD_getErrorName(rc));
	r->at = in.pos;
	r->inside = rc != 0;
	return (ssize_t)out.pos;
}

static ssize_t step(struct layer_read *r, const void **p, struct error *err)
{
	*p = r->out;
	if (r->kind == GZIP)
		return step_gzip(r, err);
	if (r->kind == ZSTD)
		return step_zstd(r, err);
	*p = r->in + r->at;
	size_t n = r->have - r->at;
	r->at = r->have;
	return (ssize_t)n;
}

ssize_t layer_read_next(struct layer_read *r, const void **p, struct error *err)
{
	for (;;) {
		if (r->at == r->have && !r->ended && fill(r, err) < 0)
			return -1;
		if (r->kind == UNKNOWN)
			sniff(r);
		ssize_t n = step(r, p, err);
		if (n > 0) {
			r->given += n;
			if (r->given > r->most)
				return error_set(err, "layer is larger than %lld bytes", (long long)r->most);
			EVP_DigestUpdate(r->md, *p, (size_t)n);
			return n;
		}
		if (n < 0)
			return -1;
		if (r->at == r->have && r->ended)
			return r->inside ? error_set(err, "unexpected EOF") : 0;
	}
}

void layer_read_digest(const struct layer_read *r, char out[LAYER_DIGEST_MAX])
{
	unsigned char raw[EVP_MAX_MD_SIZE];
	unsigned size = 0;
	if (EVP_DigestFinal_ex(r->md, raw, &size) != 1)
		BUG("%s failed", r->algorithm);
	memcpy(out, r->algorithm, 6);
	out[6] = ':';
	hex_encode(out + 7, raw, size);
}

int layer_check_diff_id(const char *wanted, const char *found, struct error *err)
{
	return strcmp(wanted, found) == 0 ? 0 : error_set(err, "wrong diff id calculated on extraction \"%s\"", found);
}
