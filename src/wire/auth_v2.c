/* auth_v2.c - signatures of version 2, for S3 alone.
 *
 * DESIGN: boto3's default client still signs presigned URLs and POST policies with HMAC-SHA1 (us-east-1 and the other
 * old regions), so S3 has to check them. The S3 room knows what was signed; here is only the key, the comparison in
 * constant time, and who it was. Requests signed in a header with version 2 stay refused. */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/clock.h"
#include "base/id.h"
#include "wire/http.h"

int wire_check_v2(struct wire_request *r, struct str access_key, struct str token, struct str text,
		  struct str signature, struct error *err)
{
	struct sigv4 s = { .place = SIGV4_QUERY, .access_key = access_key, .token = token.len ? token : STR_NULL };
	struct principal who = { 0 };
	struct str secret = STR_NULL;
	int64_t now = clock_now_ms();
	const int fault = auth_find_key(r, &s, now, &who, &secret, err);
	if (fault != SIGV4_OK)
		return fault < 0 ? -1 : auth_fault_error(AUTH_S3, (enum sigv4_fault)fault, &s, now, err);
	unsigned char sum[EVP_MAX_MD_SIZE], given[64];
	unsigned n = 0;
	if (!HMAC(EVP_sha1(), secret.ptr, (int)secret.len, (const unsigned char *)text.ptr, text.len, sum, &n))
		BUG("HMAC-SHA1");
	bool same = signature.len <= 40 && base64_decode(given, signature) == (ptrdiff_t)n &&
		    CRYPTO_memcmp(given, sum, n) == 0;
	if (!same)
		return auth_fault_error(AUTH_S3, SIGV4_MISMATCH, &s, now, err);
	r->who = who;
	if (!r->who.account)
		r->who.account = r->server->account;
	return 0;
}
