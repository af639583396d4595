/* layer_test.c - reading a layer's archive: compressions, members, check sums, ends, diff ids. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/id.h"
#include "task/layer_read.h"

enum { MANY = (1 << 20) + 77 }; /* several pieces, and a bit */

/* Bytes that compress a little. */
static void fill(struct buf *b, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++) {
		seed = seed * 1103515245 + 12345;
		buf_add_char(b, (char)("abcdefghijklmnop"[seed >> 28]));
	}
}

static void add_gzip(struct buf *out, const void *p, size_t n)
{
	z_stream z = { 0 };
	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
	size_t bound = deflateBound(&z, n);
	buf_reserve(out, bound);
	z.next_in = (unsigned char *)p;
	z.avail_in = (unsigned)n;
	z.next_out = (unsigned char *)out->ptr + out->len;
	z.avail_out = (unsigned)bound;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	out->len += z.total_out;
	deflateEnd(&z);
}

static void add_zstd(struct buf *out, const void *p, size_t n)
{
	ZSTD_CCtx *c = ZSTD_createCCtx();
	ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
	buf_reserve(out, ZSTD_compressBound(n));
	size_t len = ZSTD_compress2(c, out->ptr + out->len, ZSTD_compressBound(n), p, n);
	assert_false(ZSTD_isError(len));
	out->len += len;
	ZSTD_freeCCtx(c);
}

/* Reads it all. The bytes in `out` (may be NULL), the digest in `digest`; the fault's text is owned, or NULL. */
static char *read_all(struct str archive, const char *like, int64_t max, struct buf *out, char digest[LAYER_DIGEST_MAX])
{
	const void *p;
	ssize_t n;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_FD int fd = memfd_create("layer", MFD_CLOEXEC);
	assert_int_equal(write(fd, archive.ptr, archive.len), archive.len);
	lseek(fd, 0, SEEK_SET);
	struct layer_read *r = layer_read_new(fd, like, max);
	while ((n = layer_read_next(r, &p, &err)) > 0)
		if (out)
			buf_add(out, p, (size_t)n);
	if (n == 0)
		layer_read_digest(r, digest);
	layer_read_free(r);
	assert_int_equal(n < 0, err.message != NULL);
	return n < 0 ? mem_strdup(error_text(&err)) : NULL;
}

static void digest_of(struct str text, const EVP_MD *md, const char *name, char out[LAYER_DIGEST_MAX])
{
	unsigned char raw[EVP_MAX_MD_SIZE];
	unsigned n;
	EVP_Digest(text.ptr, text.len, raw, &n, md, NULL);
	memcpy(out, name, 7);
	hex_encode(out + 7, raw, n);
}

static void expect(const struct buf *archive, const struct buf *plain)
{
	CLEANUP_BUF struct buf got = BUF_INIT;
	char found[LAYER_DIGEST_MAX], wanted[LAYER_DIGEST_MAX];
	char *fault = read_all(buf_str(archive), "sha256:", 1 << 30, &got, found);
	assert_null(fault);
	assert_int_equal(got.len, plain->len);
	assert_memory_equal(got.ptr ? got.ptr : "", plain->ptr ? plain->ptr : "", plain->len);
	digest_of(buf_str(plain), EVP_sha256(), "sha256:", wanted);
	assert_string_equal(found, wanted);
	assert_null(read_all(buf_str(archive), "sha512:ab", 1 << 30, NULL, found));
	digest_of(buf_str(plain), EVP_sha512(), "sha512:", wanted);
	assert_string_equal(found, wanted);
}

static void expect_fault(struct str archive, const char *why)
{
	char digest[LAYER_DIGEST_MAX];
	char *fault = read_all(archive, "sha256:", 1 << 30, NULL, digest);
	assert_non_null(fault);
	if (!strstr(fault, why))
		fail_msg("`%s` lacks `%s`", fault, why);
	free(fault);
}

static void test_plain(void **state)
{
	CLEANUP_BUF struct buf plain = BUF_INIT, empty = BUF_INIT;
	expect(&empty, &empty);
	buf_addz(&plain, "\x1f");
	expect(&plain, &plain);
	fill(&plain, MANY, 1);
	expect(&plain, &plain);
}

static void test_members(void **state)
{
	CLEANUP_BUF struct buf plain = BUF_INIT, gzip = BUF_INIT, zstd = BUF_INIT;
	fill(&plain, MANY, 2);
	add_gzip(&gzip, plain.ptr, plain.len);
	add_zstd(&zstd, plain.ptr, plain.len);
	expect(&gzip, &plain);
	expect(&zstd, &plain);
	/* Two more: one with bytes, one without. */
	size_t first = plain.len;
	fill(&plain, 300000, 3);
	add_gzip(&gzip, plain.ptr + first, plain.len - first);
	add_gzip(&gzip, "", 0);
	add_zstd(&zstd, plain.ptr + first, plain.len - first);
	buf_add(&zstd, "\x5e\x2a\x4d\x18\x05\0\0\0index", 13); /* a skippable frame, as zstd:chunked has */
	expect(&gzip, &plain);
	expect(&zstd, &plain);
	/* One at the start is zstd, too. */
	CLEANUP_BUF struct buf skipped = BUF_INIT;
	buf_add(&skipped, "\x50\x2a\x4d\x18\x02\0\0\0xy", 10);
	buf_add_str(&skipped, buf_str(&zstd));
	expect(&skipped, &plain);
}

static void test_cuts(void **state)
{
	CLEANUP_BUF struct buf plain = BUF_INIT, gzip = BUF_INIT, zstd = BUF_INIT;
	fill(&plain, 40000, 4);
	add_gzip(&gzip, plain.ptr, plain.len);
	add_zstd(&zstd, plain.ptr, plain.len);
	for (size_t n = 3; n < gzip.len; n += n < 20 || n + 20 > gzip.len ? 1 : 97)
		expect_fault(str_of(gzip.ptr, n), "unexpected EOF");
	for (size_t n = 4; n < zstd.len; n += n < 20 || n + 20 > zstd.len ? 1 : 97)
		expect_fault(str_of(zstd.ptr, n), "unexpected EOF");
	/* The second member is cut. */
	size_t first = gzip.len;
	add_gzip(&gzip, plain.ptr, plain.len);
	expect_fault(str_of(gzip.ptr, first + 5), "unexpected EOF");
	expect_fault(str_of(gzip.ptr, gzip.len - 1), "unexpected EOF");
}

static void test_damage(void **state)
{
	CLEANUP_BUF struct buf plain = BUF_INIT, gzip = BUF_INIT, zstd = BUF_INIT;
	fill(&plain, 40000, 5);
	add_gzip(&gzip, plain.ptr, plain.len);
	add_zstd(&zstd, plain.ptr, plain.len);
	for (size_t i = 1; i <= 8; i++) { /* CRC-32 and length */
		gzip.ptr[gzip.len - i] ^= 0x10;
		expect_fault(buf_str(&gzip), "gzip: invalid checksum");
		gzip.ptr[gzip.len - i] ^= 0x10;
	}
	zstd.ptr[zstd.len - 2] ^= 1;
	expect_fault(buf_str(&zstd), "zstd: ");
	zstd.ptr[zstd.len - 2] ^= 1;
	/* Something else behind it. */
	buf_add(&gzip, "\0\0\0", 3);
	expect_fault(buf_str(&gzip), "gzip: invalid header");
	buf_addz(&zstd, "more");
	expect_fault(buf_str(&zstd), "magic number mismatch");
	/* No gzip in spite of its first bytes, and a block of a type that there is not. */
	expect_fault(str_of("\x1f\x8b\x08\xff\0\0\0\0\0\0 and more of it", 26), "gzip: invalid header");
	expect_fault(str_of("\x1f\x8b\x08\0\0\0\0\0\0\x03\x07\x07\x07", 13), "flate: corrupt input before offset");
}

/* Far beyond what the files of a layer may hold. */
static void test_bound(void **state)
{
	CLEANUP_BUF struct buf zeroes = BUF_INIT, gzip = BUF_INIT;
	char digest[LAYER_DIGEST_MAX];
	buf_reserve(&zeroes, 8 << 20);
	memset(zeroes.ptr, 0, 8 << 20);
	for (int i = 0; i < 10; i++)
		add_gzip(&gzip, zeroes.ptr, 8 << 20);
	char *fault = read_all(buf_str(&gzip), "sha256:", 1 << 20, NULL, digest);
	assert_non_null(fault);
	assert_non_null(strstr(fault, "larger than"));
	free(fault);
}

static void test_check(void **state)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	assert_int_equal(layer_check_diff_id("sha256:ab", "sha256:ab", &err), 0);
	assert_int_equal(layer_check_diff_id("sha256:ab", "sha256:ac", &err), -1);
	assert_string_equal(error_text(&err), "wrong diff id calculated on extraction \"sha256:ac\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),  cmocka_unit_test(test_members), cmocka_unit_test(test_cuts),
		cmocka_unit_test(test_damage), cmocka_unit_test(test_bound),   cmocka_unit_test(test_check),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
