/* sigv4_crypto.c - hashes and derived keys, see sigv4.h.
 *
 * DESIGN: algorithms are fetched once for the process (an implicit fetch costs more than the hash of a small request).
 * Each thread owns its contexts and a small direct-mapped cache of derived keys, so nothing is locked. A cache entry is
 * found by access key, day, region, service and secret: a key whose secret changed is another entry. Entries are wiped
 * when they go. OpenSSL failing here means the library itself is broken: BUG. */
#include "wire/sigv4.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/id.h"
#include "base/map.h"

enum { CACHE_SLOTS = 64 };

struct key_entry {
	char *name; /* malloc'ed: the parts with NULs between, secret last */
	size_t len;
	unsigned char key[32];
};
struct crypto_thread {
	EVP_MD_CTX *md;
	EVP_MAC_CTX *mac;
	struct key_entry cache[CACHE_SLOTS];
};

static EVP_MD *sha256;
static EVP_MAC *hmac;
static pthread_key_t thread_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void entry_clear(struct key_entry *e)
{
	if (e->name)
		OPENSSL_cleanse(e->name, e->len);
	free(e->name);
	OPENSSL_cleanse(e, sizeof(*e));
}

static void thread_free(void *arg)
{
	struct crypto_thread *t = arg;
	for (size_t i = 0; i < CACHE_SLOTS; i++)
		entry_clear(&t->cache[i]);
	EVP_MD_CTX_free(t->md);
	EVP_MAC_CTX_free(t->mac);
	free(t);
}

static void fetch(void)
{
	sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	if (!sha256 || !hmac || pthread_key_create(&thread_key, thread_free) != 0)
		BUG("OpenSSL has no SHA256 or HMAC");
}

static EVP_MAC_CTX *mac_new(void)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
				OSSL_PARAM_construct_end() };
	EVP_MAC_CTX *c = EVP_MAC_CTX_new(hmac);
	if (!c || !EVP_MAC_CTX_set_params(c, params))
		BUG("OpenSSL: HMAC context");
	return c;
}

static struct crypto_thread *this_thread(void)
{
	static __thread struct crypto_thread *cached;
	if (cached)
		return cached;
	pthread_once(&once, fetch);
	struct crypto_thread *t = mem_calloc(1, sizeof(*t));
	t->md = EVP_MD_CTX_new();
	t->mac = mac_new();
	if (!t->md || pthread_setspecific(thread_key, t) != 0)
		BUG("OpenSSL: digest context");
	return cached = t;
}

void sigv4_sha256(struct str data, unsigned char out[32])
{
	struct crypto_thread *t = this_thread();
	if (!EVP_DigestInit_ex2(t->md, sha256, NULL) || !EVP_DigestUpdate(t->md, data.ptr, data.len) ||
	    !EVP_DigestFinal_ex(t->md, out, NULL))
		BUG("OpenSSL: SHA256");
}

EVP_MD_CTX *sigv4_sha256_new(void)
{
	this_thread();
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	if (!c || !EVP_DigestInit_ex2(c, sha256, NULL))
		BUG("OpenSSL: SHA256");
	return c;
}

void sigv4_sha256_add(EVP_MD_CTX *c, const void *p, size_t n)
{
	if (!EVP_DigestUpdate(c, p, n))
		BUG("OpenSSL: SHA256");
}

void sigv4_sha256_end(EVP_MD_CTX *c, unsigned char out[32])
{
	if (!EVP_DigestFinal_ex(c, out, NULL) || !EVP_DigestInit_ex2(c, sha256, NULL))
		BUG("OpenSSL: SHA256");
}

void sigv4_sha256_free(EVP_MD_CTX *c)
{
	EVP_MD_CTX_free(c);
}

void sigv4_hmac(const unsigned char *key, size_t keylen, struct str data, unsigned char out[32])
{
	EVP_MAC_CTX *mac = this_thread()->mac;
	size_t len;
	if (!EVP_MAC_init(mac, key, keylen, NULL) || !EVP_MAC_update(mac, (const unsigned char *)data.ptr, data.len) ||
	    !EVP_MAC_final(mac, out, &len, 32))
		BUG("OpenSSL: HMAC");
}

static char *put(char *p, struct str s)
{
	memcpy(p, s.ptr, s.len);
	p[s.len] = 0;
	return p + s.len + 1;
}

static void derive(const struct sigv4 *s, struct str secret, unsigned char key[32])
{
	CLEANUP_FREE char *first = mem_alloc(secret.len + 5);
	memcpy(first, "AWS4", 4);
	memcpy(first + 4, secret.ptr, secret.len);
	sigv4_hmac((unsigned char *)first, secret.len + 4, s->date, key);
	OPENSSL_cleanse(first, secret.len + 4);
	sigv4_hmac(key, 32, s->region, key);
	sigv4_hmac(key, 32, s->service, key);
	sigv4_hmac(key, 32, STR("aws4_request"), key);
}

void sigv4_key(const struct sigv4 *s, struct str secret, unsigned char key[32])
{
	struct crypto_thread *t = this_thread();
	size_t len = s->access_key.len + s->date.len + s->region.len + s->service.len + secret.len + 5;
	CLEANUP_FREE char *name = mem_alloc(len);
	char *p = put(put(put(put(put(name, s->access_key), s->date), s->region), s->service), secret);
	if ((size_t)(p - name) != len)
		BUG("key name of %zu bytes, not %zu", (size_t)(p - name), len);
	struct key_entry *e = &t->cache[hash_bytes(name, len) % CACHE_SLOTS];
	if (e->len != len || memcmp(e->name, name, len) != 0) {
		unsigned char fresh[32];
		derive(s, secret, fresh);
		entry_clear(e);
		e->name = mem_alloc(len);
		memcpy(e->name, name, len);
		e->len = len;
		memcpy(e->key, fresh, 32);
		OPENSSL_cleanse(fresh, sizeof(fresh));
	}
	memcpy(key, e->key, 32);
	OPENSSL_cleanse(name, len);
}

bool sigv4_same(struct str hex, const unsigned char sum[32])
{
	unsigned char given[32];
	return hex_decode(given, 32, hex) && CRYPTO_memcmp(given, sum, 32) == 0;
}
