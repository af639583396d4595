/* auth.c - who signed this request? See http.h.
 *
 * DESIGN: the claims were read by sigv4_parse; here they are weighed: clock, signed headers, the key (looked up by the
 * owner of identities through wire_options.find_key), the signature. The order is fixed and nothing is trusted before
 * the last step. */
#include "base/clock.h"
#include "base/id.h"
#include "wire/http.h"

static enum sigv4_fault weigh_claims(struct wire_request *r, int64_t now_ms)
{
	if (r->auth_fault != SIGV4_OK)
		return r->auth_fault;
	if (r->style == AUTH_S3 && r->auth.place == SIGV4_QUERY && r->auth.expires_s < 0)
		return SIGV4_INCOMPLETE;
	enum sigv4_fault fault = sigv4_check_time(&r->auth, now_ms);
	return fault != SIGV4_OK ? fault : sigv4_check_headers(&r->arena, &r->http, &r->auth);
}

struct db *auth_snapshot(struct wire_request *r, struct error *err)
{
	return r->server->o.engine ? store_read_begin(engine_store(r->server->o.engine), err) : NULL;
}

void auth_snapshot_end(struct wire_request *r, struct db *db)
{
	if (db)
		store_read_end(engine_store(r->server->o.engine), db);
}

/* One look-up. SIGV4_OK with who and secret, a fault, or -1 with err (an internal fault). */
static int look_up(struct wire_request *r, struct db *db, const struct sigv4 *s, int64_t now_ms, struct principal *who,
		   struct str *secret, struct error *err)
{
	const struct wire_options *o = &r->server->o;
	CLEANUP_ERROR struct error why = ERROR_INIT;
	if (o->find_key(o->find_key_ctx, &r->arena, db, s->access_key, s->token, now_ms, who, secret, &why))
		return SIGV4_OK;
	if (why.message && !why.code[0])
		return error_move(err, &why);
	if (str_find(str_from(why.code), STR("Expired")) >= 0)
		return SIGV4_EXPIRED_TOKEN;
	return str_starts(str_from(why.code), STR("InvalidToken")) ? SIGV4_BAD_TOKEN : SIGV4_UNKNOWN_KEY;
}

/* Most keys are known in memory; only for another one a snapshot is taken. */
int auth_find_key(struct wire_request *r, const struct sigv4 *s, int64_t now_ms, struct principal *who,
		  struct str *secret, struct error *err)
{
	if (!r->server->o.find_key)
		return SIGV4_UNKNOWN_KEY;
	int fault = look_up(r, NULL, s, now_ms, who, secret, err);
	if (fault != SIGV4_UNKNOWN_KEY || !r->server->o.engine)
		return fault;
	struct db *db = auth_snapshot(r, err);
	if (!db)
		return -1;
	fault = look_up(r, db, s, now_ms, who, secret, err);
	auth_snapshot_end(r, db);
	return fault;
}

static void admit(struct wire_request *r, const struct principal *who, const struct sigv4 *s)
{
	r->who = *who;
	r->region = s->region.len ? arena_strdup(&r->arena, s->region) : r->server->region;
	if (!r->who.account)
		r->who.account = r->server->account;
}

/* All but the signature itself: the claims, and whose key it is. A fault of sigv4, or < 0. */
static int weigh(struct wire_request *r, int64_t now, struct principal *who, struct str *secret, struct error *err)
{
	int fault = weigh_claims(r, now);
	return fault == SIGV4_OK ? auth_find_key(r, &r->auth, now, who, secret, err) : fault;
}

int auth_check(struct wire_request *r, struct str payload_hash, struct error *err)
{
	int64_t now = clock_now_ms();
	struct principal who = { 0 };
	struct str secret = STR_NULL;
	int fault = weigh(r, now, &who, &secret, err);
	if (fault < 0)
		return -1;
	if (fault == SIGV4_OK &&
	    !sigv4_verify(&r->arena, &r->http, &r->auth, secret, payload_hash, r->style == AUTH_S3))
		fault = SIGV4_MISMATCH;
	if (fault != SIGV4_OK)
		return auth_fault_error(r->style, (enum sigv4_fault)fault, &r->auth, now, err);
	if (r->chunked_wanted)
		sigv4_key(&r->auth, secret, r->chunk_key);
	admit(r, &who, &r->auth);
	return 0;
}

int auth_precheck(struct wire_request *r, struct error *err)
{
	int64_t now = clock_now_ms();
	struct principal who = { 0 };
	struct str secret = STR_NULL;
	int fault = weigh(r, now, &who, &secret, err);
	if (fault < 0)
		return -1;
	return fault == SIGV4_OK ? 0 : auth_fault_error(r->style, (enum sigv4_fault)fault, &r->auth, now, err);
}

void auth_anonymous(struct wire_request *r)
{
	r->who = (struct principal){
		.access_key = "", .account = r->server->account, .arn = "", .user_id = "", .anonymous = true
	};
	r->region = r->server->region;
}

int wire_check_policy(struct wire_request *r, struct str policy, struct str credential, struct str date,
		      struct str signature, struct str token, struct error *err)
{
	/* The form's fields stand for a presigned query: the same parser reads them. */
	struct sigv4 s = { .place = SIGV4_QUERY, .token = token.len ? token : STR_NULL };
	enum sigv4_fault parsed = sigv4_parse_scope(&r->arena, credential, date, &s);
	int64_t now = clock_now_ms();
	struct principal who = { 0 };
	struct str secret = STR_NULL;
	int fault = parsed;
	if (fault == SIGV4_OK)
		fault = auth_find_key(r, &s, now, &who, &secret, err);
	if (fault < 0)
		return -1;
	if (fault == SIGV4_OK) {
		unsigned char key[32], sum[32];
		sigv4_key(&s, secret, key);
		sigv4_hmac(key, 32, policy, sum);
		if (!sigv4_same(signature, sum))
			fault = SIGV4_MISMATCH;
	}
	if (fault != SIGV4_OK)
		return auth_fault_error(AUTH_S3, (enum sigv4_fault)fault, &s, now, err);
	admit(r, &who, &s);
	return 0;
}
