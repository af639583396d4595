/* id.c - see id.h. */
#include "base/id.h"

#include <errno.h>
#include <sys/random.h>

#include "base/error.h"

void random_bytes(void *p, size_t n)
{
	char *at = p;
	while (n > 0) {
		ssize_t got = getrandom(at, n, 0);
		if (got < 0 && errno != EINTR)
			BUG("getrandom: %s", strerror(errno));
		if (got > 0) {
			at += got;
			n -= (size_t)got;
		}
	}
}

static uint64_t from_kernel(void *ctx)
{
	(void)ctx;
	uint64_t v;
	random_bytes(&v, sizeof(v));
	return v;
}

void id_alnum(char *out, size_t n, uint64_t (*next)(void *), void *ctx)
{
	static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	uint64_t word = 0;
	for (size_t i = 0; i < n; i++) {
		if (i % 10 == 0) /* 36^10 < 2^52: the bias is below 2^-12 of a letter */
			word = next(ctx);
		out[i] = alphabet[word % 36];
		word /= 36;
	}
	out[n] = 0;
}

void id_random(char *out, size_t n)
{
	id_alnum(out, n, from_kernel, NULL);
}

void id_uuid(char out[37], uint64_t (*next)(void *), void *ctx)
{
	uint64_t a = next ? next(ctx) : from_kernel(NULL), b = next ? next(ctx) : from_kernel(NULL);
	a = (a & ~(uint64_t)0xf000) | 0x4000; /* version 4, RFC 9562 */
	b = (b & ~((uint64_t)3 << 62)) | (uint64_t)1 << 63;
	unsigned char bytes[16];
	for (int i = 0; i < 8; i++) {
		bytes[i] = (unsigned char)(a >> (56 - 8 * i));
		bytes[8 + i] = (unsigned char)(b >> (56 - 8 * i));
	}
	static const struct {
		int at, from, n;
	} groups[] = { { 0, 0, 4 }, { 9, 4, 2 }, { 14, 6, 2 }, { 19, 8, 2 }, { 24, 10, 6 } };
	for (int i = 0; i < 5; i++) {
		hex_encode(out + groups[i].at, bytes + groups[i].from, (size_t)groups[i].n);
		if (i < 4)
			out[groups[i].at + 2 * groups[i].n] = '-';
	}
}

void hex_encode(char *out, const void *p, size_t n)
{
	const unsigned char *s = p;
	for (size_t i = 0; i < n; i++) {
		out[2 * i] = "0123456789abcdef"[s[i] >> 4];
		out[2 * i + 1] = "0123456789abcdef"[s[i] & 15];
	}
	out[2 * n] = 0;
}

int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool hex_decode(void *out, size_t n, struct str hex)
{
	if (hex.len != 2 * n)
		return false;
	for (size_t i = 0; i < n; i++) {
		int hi = hex_digit(hex.ptr[2 * i]), lo = hex_digit(hex.ptr[2 * i + 1]);
		if (hi < 0 || lo < 0)
			return false;
		((unsigned char *)out)[i] = (unsigned char)(hi << 4 | lo);
	}
	return true;
}

static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t base64_encode(char *out, const void *p, size_t n)
{
	const unsigned char *s = p;
	char *o = out;
	for (size_t i = 0; i < n; i += 3) {
		uint32_t v =
			(uint32_t)s[i] << 16 | (i + 1 < n ? (uint32_t)s[i + 1] << 8 : 0) | (i + 2 < n ? s[i + 2] : 0);
		*o++ = base64[v >> 18];
		*o++ = base64[v >> 12 & 63];
		*o++ = i + 1 < n ? base64[v >> 6 & 63] : '=';
		*o++ = i + 2 < n ? base64[v & 63] : '=';
	}
	*o = 0;
	return (size_t)(o - out);
}

ptrdiff_t base64_decode(void *out, struct str text)
{
	unsigned char *o = out;
	size_t pad = 0;
	if (text.len % 4 != 0)
		return -1;
	while (pad < 2 && text.len > 0 && text.ptr[text.len - 1] == '=') {
		text.len--;
		pad++;
	}
	uint32_t v = 0;
	for (size_t i = 0; i < text.len; i++) {
		const char *at = text.ptr[i] ? strchr(base64, text.ptr[i]) : NULL;
		if (!at)
			return -1;
		v = v << 6 | (uint32_t)(at - base64);
		if (i % 4 == 3) {
			*o++ = (unsigned char)(v >> 16);
			*o++ = (unsigned char)(v >> 8);
			*o++ = (unsigned char)v;
			v = 0;
		}
	}
	if (pad == 1) {
		*o++ = (unsigned char)(v >> 10);
		*o++ = (unsigned char)(v >> 2);
	} else if (pad == 2) {
		*o++ = (unsigned char)(v >> 4);
	}
	return o - (unsigned char *)out;
}
