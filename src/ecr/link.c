/* link.c - addresses of layers for GetDownloadUrlForLayer: whoever has one may read that layer for an hour.
 *
 * DESIGN: as AWS's presigned addresses: no header is needed. Signed with a key of this process; an address does not
 * outlive it. */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/clock.h"
#include "base/id.h"
#include "ecr/room.h"

enum { LINK_MS = 3600 * 1000 };

static void sign(const struct ecr *e, struct arena *a, struct str path, int64_t expires_ms, char out[65])
{
	unsigned char sum[32];
	char *text = arena_printf(a, "%.*s %lld", STR_ARG(path), (long long)expires_ms);
	HMAC(EVP_sha256(), e->link_key, sizeof(e->link_key), (unsigned char *)text, strlen(text), sum, NULL);
	hex_encode(out, sum, sizeof(sum));
}

char *ecr_link_new(struct ecr *e, struct arena *a, const char *repo, const char *digest)
{
	char signature[65];
	int64_t expires_ms = clock_now_ms() + LINK_MS;
	char *path = arena_printf(a, "/v2/%s/blobs/%s", repo, digest);
	sign(e, a, str_from(path), expires_ms, signature);
	return arena_printf(a, "http://127.0.0.1:%u%s?expires=%lld&signature=%s", (unsigned)e->o.port, path,
			    (long long)expires_ms, signature);
}

bool ecr_link_valid(const struct ecr *e, struct wire_request *r)
{
	bool present;
	int64_t expires_ms = 0;
	char signature[65];
	struct str given = wire_query_arg(r, "signature", &present), method = wire_method(r);
	if (given.len != 64 || (!str_eqz(method, "GET") && !str_eqz(method, "HEAD")))
		return false;
	str_to_i64(wire_query_arg(r, "expires", &present), &expires_ms);
	sign(e, wire_arena(r), wire_path(r), expires_ms, signature);
	return CRYPTO_memcmp(given.ptr, signature, 64) == 0 && expires_ms >= clock_now_ms();
}
