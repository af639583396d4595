/* checksum.c - see checksum.h.
 *
 * DESIGN: CRC32 is zlib's. CRC32C uses SSE4.2 when the CPU has it, else slicing by 8. CRC64NVME folds with carry-less
 * multiplication when the CPU has it, else slices by 16. SHA-1 and SHA-256 are OpenSSL's. Combination of CRCs
 * multiplies polynomials over GF(2), as zlib does. */
#include "s3/checksum.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <zlib.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/error.h"
#include "base/id.h"

#define POLY_CRC32 0xEDB88320u
#define POLY_CRC32C 0x82F63B78u
#define POLY_CRC64NVME 0x9A6C9329AC4BC9B5u

static const struct {
	const char *name, *header, *element;
	uint8_t bytes;
} algos[CHECKSUM_COUNT] = {
	[CHECKSUM_NONE] = { NULL, NULL, NULL, 0 },
	[CHECKSUM_CRC32] = { "CRC32", "x-amz-checksum-crc32", "ChecksumCRC32", 4 },
	[CHECKSUM_CRC32C] = { "CRC32C", "x-amz-checksum-crc32c", "ChecksumCRC32C", 4 },
	[CHECKSUM_CRC64NVME] = { "CRC64NVME", "x-amz-checksum-crc64nvme", "ChecksumCRC64NVME", 8 },
	[CHECKSUM_SHA1] = { "SHA1", "x-amz-checksum-sha1", "ChecksumSHA1", 20 },
	[CHECKSUM_SHA256] = { "SHA256", "x-amz-checksum-sha256", "ChecksumSHA256", 32 },
};

const char *checksum_name(enum checksum_algo algo)
{
	return algos[algo].name;
}

enum checksum_algo checksum_from_name(struct str name)
{
	for (int i = CHECKSUM_CRC32; i < CHECKSUM_COUNT; i++)
		if (str_eq_nocase(name, str_from(algos[i].name)))
			return (enum checksum_algo)i;
	return CHECKSUM_NONE;
}

const char *checksum_header(enum checksum_algo algo)
{
	return algos[algo].header;
}

const char *checksum_word(enum checksum_algo algo)
{
	return checksum_header(algo) + strlen("x-amz-checksum-");
}

const char *checksum_element(enum checksum_algo algo)
{
	return algos[algo].element;
}

size_t checksum_bytes(enum checksum_algo algo)
{
	return algos[algo].bytes;
}

/* ---- the CRCs ---- */

static uint64_t table64[16][256];
static uint32_t table32c[8][256];
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

/* Folding: 16 bytes X, seen as a polynomial (first bit highest), are carried D bits ahead by multiplying both halves
 * with constants: lo * x^(64+D-1) + hi * x^(D-1) mod P. The -1 makes up for the product of reflected operands lying one
 * bit low. What is left in the end are 16 bytes with the same remainder as the whole, for the table. */
static uint64_t fold512[2], fold128[2];

static uint64_t x_power(int n)
{
	uint64_t v = 1ull << 63; /* x^0 */
	for (; n > 0; n--)
		v = v & 1 ? (v >> 1) ^ POLY_CRC64NVME : v >> 1;
	return v;
}

static void make_folds(void)
{
	fold512[0] = x_power(64 + 512 - 1);
	fold512[1] = x_power(512 - 1);
	fold128[0] = x_power(64 + 128 - 1);
	fold128[1] = x_power(128 - 1);
}

static void make_tables(void)
{
	make_folds();
	for (unsigned i = 0; i < 256; i++) {
		uint64_t a = i;
		uint32_t b = i;
		for (int bit = 0; bit < 8; bit++) {
			a = a & 1 ? (a >> 1) ^ POLY_CRC64NVME : a >> 1;
			b = b & 1 ? (b >> 1) ^ POLY_CRC32C : b >> 1;
		}
		table64[0][i] = a;
		table32c[0][i] = b;
	}
	for (unsigned i = 0; i < 256; i++) {
		for (int k = 1; k < 16; k++)
			table64[k][i] = (table64[k - 1][i] >> 8) ^ table64[0][table64[k - 1][i] & 255];
		for (int k = 1; k < 8; k++)
			table32c[k][i] = (table32c[k - 1][i] >> 8) ^ table32c[0][table32c[k - 1][i] & 255];
	}
}

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t v;
	memcpy(&v, p, 8);
	return v;
}

/* The register after n more bytes; without the inversions at both ends. */
static uint64_t crc64_table(uint64_t crc, const uint8_t *s, size_t n)
{
	for (; n >= 16; n -= 16, s += 16) {
		const uint64_t a = load64(s) ^ crc, b = load64(s + 8);
		crc = table64[15][a & 255] ^ table64[14][a >> 8 & 255] ^ table64[13][a >> 16 & 255] ^
		      table64[12][a >> 24 & 255] ^ table64[11][a >> 32 & 255] ^ table64[10][a >> 40 & 255] ^
		      table64[9][a >> 48 & 255] ^ table64[8][a >> 56] ^ table64[7][b & 255] ^ table64[6][b >> 8 & 255] ^
		      table64[5][b >> 16 & 255] ^ table64[4][b >> 24 & 255] ^ table64[3][b >> 32 & 255] ^
		      table64[2][b >> 40 & 255] ^ table64[1][b >> 48 & 255] ^ table64[0][b >> 56];
	}
	for (; n > 0; n--, s++)
		crc = (crc >> 8) ^ table64[0][(crc ^ *s) & 255];
	return crc;
}

uint64_t crc64nvme_portable(uint64_t crc, const void *p, size_t n)
{
	pthread_once(&tables_once, make_tables);
	return ~crc64_table(~crc, p, n);
}

#if defined(__x86_64__)
__attribute__((target("pclmul,sse2"))) static inline __m128i fold(__m128i x, __m128i k, __m128i next)
{
	return _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(x, k, 0x00), _mm_clmulepi64_si128(x, k, 0x11)), next);
}

__attribute__((target("pclmul,sse2"))) static uint64_t crc64_fold(uint64_t crc, const uint8_t *s, size_t n)
{
	const __m128i by512 = _mm_loadu_si128((const void *)fold512), by128 = _mm_loadu_si128((const void *)fold128);
	__m128i lane[4];
	for (int i = 0; i < 4; i++)
		lane[i] = _mm_loadu_si128((const void *)(s + 16 * i));
	lane[0] = _mm_xor_si128(lane[0], _mm_cvtsi64_si128((long long)crc));
	for (s += 64, n -= 64; n >= 64; s += 64, n -= 64)
		for (int i = 0; i < 4; i++)
			lane[i] = fold(lane[i], by512, _mm_loadu_si128((const void *)(s + 16 * i)));
	for (int i = 1; i < 4; i++)
		lane[0] = fold(lane[0], by128, lane[i]);
	for (; n >= 16; s += 16, n -= 16)
		lane[0] = fold(lane[0], by128, _mm_loadu_si128((const void *)s));
	uint8_t rest[16];
	_mm_storeu_si128((void *)rest, lane[0]);
	return crc64_table(crc64_table(0, rest, 16), s, n);
}
#endif

uint64_t crc64nvme(uint64_t crc, const void *p, size_t n)
{
#if defined(__x86_64__)
	if (n >= 128 && __builtin_cpu_supports("pclmul")) {
		pthread_once(&tables_once, make_tables);
		return ~crc64_fold(~crc, p, n);
	}
#endif
	return crc64nvme_portable(crc, p, n);
}

uint32_t crc32c_portable(uint32_t crc, const void *p, size_t n)
{
	pthread_once(&tables_once, make_tables);
	const uint8_t *s = p;
	crc = ~crc;
	for (; n >= 8; n -= 8, s += 8) {
		const uint64_t a = load64(s) ^ crc;
		crc = table32c[7][a & 255] ^ table32c[6][a >> 8 & 255] ^ table32c[5][a >> 16 & 255] ^
		      table32c[4][a >> 24 & 255] ^ table32c[3][a >> 32 & 255] ^ table32c[2][a >> 40 & 255] ^
		      table32c[1][a >> 48 & 255] ^ table32c[0][a >> 56];
	}
	for (; n > 0; n--, s++)
		crc = (crc >> 8) ^ table32c[0][(crc ^ *s) & 255];
	return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_sse(uint32_t crc, const void *p, size_t n)
{
	const uint8_t *s = p;
	uint64_t c = (uint32_t)~crc;
	for (; n >= 8; n -= 8, s += 8)
		c = __builtin_ia32_crc32di(c, load64(s));
	for (; n > 0; n--, s++)
		c = __builtin_ia32_crc32qi((uint32_t)c, *s);
	return ~(uint32_t)c;
}
#endif

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		return crc32c_sse(crc, p, n);
#endif
	return crc32c_portable(crc, p, n);
}

/* ---- running state ---- */

void checksum_init(struct checksum *c, enum checksum_algo algo)
{
	*c = (struct checksum){ .algo = algo };
	if (algo != CHECKSUM_SHA1 && algo != CHECKSUM_SHA256)
		return;
	c->evp = EVP_MD_CTX_new();
	if (!c->evp || !EVP_DigestInit_ex(c->evp, algo == CHECKSUM_SHA1 ? EVP_sha1() : EVP_sha256(), NULL))
		BUG("OpenSSL has no %s", checksum_name(algo));
}

void checksum_update(struct checksum *c, const void *p, size_t n)
{
	switch (c->algo) {
	case CHECKSUM_CRC32:
		c->crc = crc32_z(c->crc, p, n);
		break;
	case CHECKSUM_CRC32C:
		c->crc = crc32c((uint32_t)c->crc, p, n);
		break;
	case CHECKSUM_CRC64NVME:
		c->crc = crc64nvme(c->crc, p, n);
		break;
	case CHECKSUM_SHA1:
	case CHECKSUM_SHA256:
		if (!EVP_DigestUpdate(c->evp, p, n))
			BUG("EVP_DigestUpdate");
		break;
	default:
		break;
	}
}

/* The low `bytes` bytes of a CRC, big-endian, as base64. */
static void crc_text(uint64_t crc, size_t bytes, char *text)
{
	uint8_t raw[8];
	for (size_t i = 0; i < bytes; i++)
		raw[i] = (uint8_t)(crc >> 8 * (bytes - 1 - i));
	base64_encode(text, raw, bytes);
}

void checksum_final(struct checksum *c, char text[CHECKSUM_TEXT_MAX])
{
	text[0] = 0;
	if (c->evp) {
		uint8_t raw[EVP_MAX_MD_SIZE];
		unsigned n;
		if (!EVP_DigestFinal_ex(c->evp, raw, &n))
			BUG("EVP_DigestFinal");
		base64_encode(text, raw, n);
	} else if (c->algo != CHECKSUM_NONE) {
		crc_text(c->crc, algos[c->algo].bytes, text);
	}
	checksum_release(c);
}

void checksum_release(struct checksum *c)
{
	EVP_MD_CTX_free(c->evp);
	c->evp = NULL;
	c->algo = CHECKSUM_NONE;
}

bool checksum_text_valid(enum checksum_algo algo, struct str text)
{
	uint8_t raw[3 * CHECKSUM_TEXT_MAX / 4 + 3];
	return text.len < CHECKSUM_TEXT_MAX && algo != CHECKSUM_NONE &&
	       base64_decode(raw, text) == (ptrdiff_t)algos[algo].bytes;
}

/* ---- combination ---- */

/* a*b modulo the reflected polynomial of width w; the top bit stands for x^0. */
static uint64_t multiply(uint64_t a, uint64_t b, uint64_t poly, int w)
{
	uint64_t product = 0;
	for (uint64_t m = 1ull << (w - 1); m; m >>= 1) {
		if (a & m)
			product ^= b;
		b = b & 1 ? (b >> 1) ^ poly : b >> 1;
	}
	return product;
}

/* crc * x^(8 n) */
static uint64_t shift_bytes(uint64_t crc, uint64_t n, uint64_t poly, int w)
{
	uint64_t power = 1ull << (w - 1 - 8); /* x^8 */
	for (; n; n >>= 1) {
		if (n & 1)
			crc = multiply(power, crc, poly, w);
		power = multiply(power, power, poly, w);
	}
	return crc;
}

static bool crc_parse(enum checksum_algo algo, struct str text, uint64_t *crc)
{
	uint8_t raw[3 * CHECKSUM_TEXT_MAX / 4 + 3];
	if (!checksum_text_valid(algo, text) || base64_decode(raw, text) < 0)
		return false;
	*crc = 0;
	for (size_t i = 0; i < algos[algo].bytes; i++)
		*crc = *crc << 8 | raw[i];
	return true;
}

bool checksum_combine(enum checksum_algo algo, struct str a, struct str b, uint64_t size_b, char out[CHECKSUM_TEXT_MAX])
{
	uint64_t ca, cb;
	if (!checksum_is_crc(algo) || !crc_parse(algo, a, &ca) || !crc_parse(algo, b, &cb))
		return false;
	const uint64_t poly = algo == CHECKSUM_CRC32    ? POLY_CRC32
			      : algo == CHECKSUM_CRC32C ? POLY_CRC32C
							: POLY_CRC64NVME;
	crc_text(shift_bytes(ca, size_b, poly, algo == CHECKSUM_CRC64NVME ? 64 : 32) ^ cb, algos[algo].bytes, out);
	return true;
}
