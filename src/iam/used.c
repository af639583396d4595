/* used.c - when an access key was last used, and for what (GetAccessKeyLastUsed).
 *
 * DESIGN: noted where policies are asked, which every request of a user comes by; the store learns of another service
 * or Region at once, and of the same one not more often than every quarter of an hour, so that requests that only read
 * don't become writes. */
#include <stdlib.h>

#include "base/log.h"
#include "iam/room.h"

enum { USE_EVERY_MS = 15 * 60 * 1000, USED_MAX = 4096 };

struct use {
	char *key, *service, *region;
	int64_t ms;
};

static void use_free(struct use *u)
{
	if (!u)
		return;
	free(u->key);
	free(u->service);
	free(u->region);
	free(u);
}

void iam_used_release(struct iam *i)
{
	for (size_t n = 0; n < i->used.count; n++)
		use_free(i->used.entries[n].value);
	map_release(&i->used);
	i->used = MAP_INIT;
}

static struct use *use_new(const char *key, struct str service, const char *region, int64_t ms)
{
	struct use *u = mem_calloc(1, sizeof(*u));
	*u = (struct use){ mem_strdup(key), mem_strndup(service.ptr, service.len), mem_strdup(region), ms };
	return u;
}

static int write_use(struct turn *t, void *arg, struct error *err)
{
	const struct use *u = arg;
	return db_exec(turn_db(t), err,
		       "UPDATE iam_key SET used_ms=?, used_service=?, used_region=? WHERE access_key=?", "isss", u->ms,
		       u->service, u->region, u->key) < 0
		       ? -1
		       : 0;
}

static void use_written(void *arg, int rc, struct error *err)
{
	struct use *u = arg;
	if (rc < 0)
		log_warn("iam", "the use of the access key %s can't be noted: %s", u->key, error_text(err));
	use_free(u);
}

/* Under the lock: is it in the store already, near enough? */
static bool is_known(struct iam *i, const char *key, struct str service, const char *region, int64_t now_ms)
{
	const struct use *u = map_get(&i->used, str_from(key));
	return u && str_eqz(service, u->service) && strcmp(u->region, region) == 0 && now_ms - u->ms < USE_EVERY_MS;
}

/* False when it was known. */
static bool remember(struct iam *i, const char *key, struct str service, const char *region, int64_t now_ms)
{
	pthread_rwlock_rdlock(&i->lock);
	bool known = is_known(i, key, service, region, now_ms);
	pthread_rwlock_unlock(&i->lock);
	if (known)
		return false;
	pthread_rwlock_wrlock(&i->lock);
	known = is_known(i, key, service, region, now_ms);
	if (!known && i->used.count >= USED_MAX)
		iam_used_release(i);
	if (!known)
		use_free(map_set(&i->used, str_from(key), use_new(key, service, region, now_ms)));
	pthread_rwlock_unlock(&i->lock);
	return !known;
}

void iam_note_use(struct iam *i, const struct principal *who, const struct wire_ask *ask)
{
	const char *region = ask->region ? ask->region : i->region;
	struct str service = str_head(str_from(ask->action), strcspn(ask->action, ":"));
	int64_t now_ms = engine_now_ms(i->engine);
	if (!ask->request || strcmp(ask->action, "iam:PassRole") == 0 || /* it comes beside another question */
	    !str_starts(str_from(who->access_key), STR("AKIA")) ||
	    !remember(i, who->access_key, service, region, now_ms))
		return;
	engine_submit(i->engine, write_use, use_written, use_new(who->access_key, service, region, now_ms));
}

int iam_op_key_used(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	const char *key = json_get_text(in, "AccessKeyId");
	int rc = db_row(db, &rows, err,
			"SELECT user_name, used_ms, used_service, used_region FROM iam_key WHERE access_key=?", "s",
			key);
	if (rc <= 0)
		return rc < 0 ? -1 : iam_no_key(key, err);
	json_t *used = json_pack("{s:s, s:s}", "ServiceName", "N/A", "Region", "N/A");
	if (!rows_null(&rows, 1)) {
		json_set_real(used, "LastUsedDate", iam_seconds(rows_int(&rows, 1)));
		json_set_text(used, "ServiceName", rows_str(&rows, 2).ptr);
		json_set_text(used, "Region", rows_str(&rows, 3).ptr);
	}
	*out = json_pack("{s:s, s:o}", "UserName", rows_str(&rows, 0).ptr, "AccessKeyLastUsed", used);
	return 0;
}
