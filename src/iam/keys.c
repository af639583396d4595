/* keys.c - the root key pair, and finding the secret of an access key.
 *
 * DESIGN: the root pair is in a file of AWS's shared-credentials format, mode 0600, written to a temporary name and
 * linked into place, so a crash leaves either none or a whole one, and two starting daemons agree. It identifies as a
 * session of the default role, because the SageMaker SDK's get_execution_role() wants one; it needs no session token
 * and does not end.
 *
 * iam_find_key runs once or twice a request on the http threads: known keys are answered from a map under a read lock.
 * An entry never changes; a key that is changed or deleted is put on a list of keys the cache must not answer, inside
 * the transaction, so no reader with an older snapshot can bring it back. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/id.h"
#include "base/log.h"
#include "iam/room.h"

enum { CACHE_MAX = 4096 };

/* ---- the root pair ---- */

static void key_release(struct iam_key *k)
{
	free(k->secret);
	free(k->token);
	free(k->arn);
	free(k->user_id);
	free(k->grants);
}

static int read_file(int fd, const char *path, struct buf *out, struct error *err)
{
	char piece[4096];
	ssize_t n;
	while ((n = read(fd, piece, sizeof(piece))) > 0 && out->len < 65536)
		buf_add(out, piece, (size_t)n);
	return n < 0 ? error_errno(err, errno, "read `%s`", path) : 0;
}

/* "name = value" lines of the section [default]. */
static struct str credential(struct str text, const char *name)
{
	struct str rest = text, line;
	bool ours = false;
	while (str_split(&rest, '\n', &line)) {
		line = str_trim(line);
		if (line.len && line.ptr[0] == '[')
			ours = str_eqz(line, "[default]");
		ptrdiff_t eq = str_find_char(line, '=');
		if (ours && eq > 0 && str_eqz(str_trim(str_head(line, (size_t)eq)), name))
			return str_trim(str_skip(line, (size_t)eq + 1));
	}
	return STR_NULL;
}

static int take_root(struct iam *i, struct str text, const char *path, struct error *err)
{
	struct str key = credential(text, "aws_access_key_id"), secret = credential(text, "aws_secret_access_key");
	if (key.len < 16 || key.len > 128 || secret.len < 20)
		return error_set(err, "`%s` has no aws_access_key_id and aws_secret_access_key in [default]", path);
	struct arena a = ARENA_INIT;
	i->root_key = mem_strndup(key.ptr, key.len);
	i->root.secret = mem_strndup(secret.ptr, secret.len);
	i->root.token = mem_strdup("");
	i->root.arn = mem_strdup(
		arena_printf(&a, "arn:aws:sts::%s:assumed-role/" IAM_DEFAULT_ROLE "/" IAM_ROOT_SESSION, i->account));
	i->root.user_id = mem_strdup(IAM_DEFAULT_ROLE_ID ":" IAM_ROOT_SESSION);
	i->root.grants = mem_strdup("");
	i->root.unrestricted = true;
	i->root.expires_ms = INT64_MAX;
	arena_release(&a);
	return 0;
}

static void random_chars(char *out, size_t n, const char *alphabet, unsigned mask)
{
	unsigned char raw[64];
	random_bytes(raw, n);
	for (size_t k = 0; k < n; k++)
		out[k] = alphabet[raw[k] & mask];
	out[n] = 0;
}

static int sync_folder(const char *path, struct error *err)
{
	CLEANUP_FREE char *folder = mem_strdup(path);
	char *slash = strrchr(folder, '/');
	if (slash)
		*(slash == folder ? slash + 1 : slash) = 0;
	CLEANUP_FD int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return error_errno(err, errno, "sync the folder of `%s`", path);
	return 0;
}

static int write_new(const char *path, struct str text, struct error *err)
{
	char tail[9];
	id_random(tail, 8);
	CLEANUP_BUF struct buf temporary = BUF_INIT;
	buf_printf(&temporary, "%s.%s", path, tail);
	CLEANUP_FD int fd = open(temporary.ptr, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_errno(err, errno, "create `%s`", temporary.ptr);
	int rc = 0;
	if (write(fd, text.ptr, text.len) != (ssize_t)text.len || fsync(fd) < 0)
		rc = error_errno(err, errno, "write `%s`", temporary.ptr);
	/* link, not rename: a file that another daemon made meanwhile stays. */
	else if (link(temporary.ptr, path) < 0 && errno != EEXIST)
		rc = error_errno(err, errno, "create `%s`", path);
	unlink(temporary.ptr);
	return rc < 0 ? rc : sync_folder(path, err);
}

static int make_root(const char *path, struct error *err)
{
	char key[21] = "AKIA", secret[41];
	CLEANUP_BUF struct buf text = BUF_INIT;
	random_chars(key + 4, 16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 31);
	random_chars(secret, 40, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", 63);
	buf_printf(&text, "[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", key, secret);
	return write_new(path, buf_str(&text), err);
}

int iam_load_root(struct iam *i, const char *path, struct error *err)
{
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT) {
		if (make_root(path, err) < 0)
			return -1;
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(err, errno, "open `%s`", path);
	if (st.st_mode & 077) {
		log_warn("iam", "`%s` could be read by others; its mode is 0600 now", path);
		if (fchmod(fd, 0600) < 0)
			return error_errno(err, errno, "make `%s` private", path);
	}
	CLEANUP_BUF struct buf text = BUF_INIT;
	if (read_file(fd, path, &text, err) < 0)
		return -1;
	i->born_ms = (int64_t)st.st_mtim.tv_sec * 1000;
	return take_root(i, buf_str(&text), path, err);
}

/* ---- the cache ---- */

static void clear_map(struct map *m)
{
	for (size_t n = 0; n < m->count; n++) {
		key_release(m->entries[n].value);
		free(m->entries[n].value);
	}
	map_release(m);
	*m = MAP_INIT;
}

void iam_cache_release(struct iam *i)
{
	clear_map(&i->cache);
	map_release(&i->uncached);
	key_release(&i->root);
}

void iam_forget_key(struct iam *i, const char *access_key)
{
	pthread_rwlock_wrlock(&i->lock);
	map_set(&i->uncached, str_from(access_key), i);
	struct iam_key *k = map_remove(&i->cache, str_from(access_key));
	pthread_rwlock_unlock(&i->lock);
	if (k) {
		key_release(k);
		free(k);
	}
}

static struct iam_key *key_new(struct str secret, struct str token, const char *arn, const char *user_id,
			       const char *grants)
{
	struct iam_key *k = mem_calloc(1, sizeof(*k));
	k->secret = mem_strndup(secret.ptr, secret.len);
	k->token = mem_strndup(token.ptr, token.len);
	k->arn = mem_strdup(arn);
	k->user_id = mem_strdup(user_id);
	k->grants = mem_strdup(grants);
	k->expires_ms = INT64_MAX;
	return k;
}

/* 1 with *out owned, 0 unknown, < 0 a fault. */
static int session_from_store(struct arena *a, struct db *db, struct str access_key, struct iam_key **out,
			      struct error *err)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc =
		db_row(db, &rows, err,
		       "SELECT secret, token, arn, user_id, expires_ms, unrestricted, owner, policies IS NOT NULL FROM "
		       "iam_session WHERE access_key=?",
		       "S", access_key);
	if (rc <= 0)
		return rc;
	const char *arn = arena_strdup(a, rows_str(&rows, 2)), *user_id = arena_strdup(a, rows_str(&rows, 3));
	const char *owner = rows_null(&rows, 6) ? "" : arena_strdup(a, rows_str(&rows, 6));
	if (rows_int(&rows, 7))
		owner = arena_printf(a, "session/%.*s", STR_ARG(access_key));
	*out = key_new(rows_str(&rows, 0), rows_str(&rows, 1), arn, user_id, owner);
	(*out)->expires_ms = rows_int(&rows, 4);
	(*out)->unrestricted = rows_int(&rows, 5) != 0;
	return 1;
}

static int key_from_store(struct iam *i, struct arena *a, struct db *db, struct str access_key, struct iam_key **out,
			  struct error *err)
{
	int rc = session_from_store(a, db, access_key, out, err);
	if (rc != 0)
		return rc;
	CLEANUP_ROWS struct rows keys = { 0 };
	rc = db_row(db, &keys, err,
		    "SELECT k.secret, u.path, u.name, u.id FROM iam_key k JOIN iam_user u ON u.name=k.user_name"
		    " WHERE k.access_key=? AND k.active=1",
		    "S", access_key);
	if (rc > 0)
		*out = key_new(
			rows_str(&keys, 0), STR(""), iam_arn(i, a, "user", rows_str(&keys, 1), rows_str(&keys, 2)),
			arena_strdup(a, rows_str(&keys, 3)), arena_printf(a, "user/%.*s", STR_ARG(rows_str(&keys, 2))));
	return rc;
}

/* Puts *k into the cache (which owns it then), unless the key was changed meanwhile; gives it to the arena otherwise.
 */
static void free_key(void *k)
{
	key_release(k);
	free(k);
}

static void remember(struct iam *i, struct arena *a, struct str access_key, struct iam_key *k)
{
	pthread_rwlock_wrlock(&i->lock);
	bool kept = !map_get(&i->uncached, access_key) && !map_get(&i->cache, access_key);
	if (kept && i->cache.count >= CACHE_MAX)
		clear_map(&i->cache);
	if (kept)
		map_set(&i->cache, access_key, k);
	pthread_rwlock_unlock(&i->lock);
	if (!kept)
		arena_defer(a, free_key, k);
}

/* In constant time for equal lengths. */
static bool same_token(const char *want, struct str have)
{
	size_t n = strlen(want);
	unsigned char differ = 0;
	if (have.len != n)
		return false;
	for (size_t k = 0; k < n; k++)
		differ |= (unsigned char)want[k] ^ (unsigned char)have.ptr[k];
	return differ == 0;
}

static bool answer(struct iam *i, struct arena *a, const struct iam_key *k, struct str access_key, struct str token,
		   int64_t now_ms, struct principal *who, struct str *secret, struct error *err)
{
	if (k->token[0] ? !same_token(k->token, token) : token.len > 0) {
		error_aws(err, "InvalidToken", "The security token included in the request is invalid.");
		return false;
	}
	if (now_ms >= k->expires_ms) {
		error_aws(err, "ExpiredToken", "The security token included in the request is expired");
		return false;
	}
	*who = (struct principal){
		.access_key = arena_strdup(a, access_key),
		.account = i->account,
		.arn = arena_strdup(a, str_from(k->arn)),
		.user_id = arena_strdup(a, str_from(k->user_id)),
		.unrestricted = k->unrestricted || i->ignore_policies,
	};
	if (k->grants[0])
		who->grants = arena_strdup(a, str_from(k->grants));
	*secret = arena_str(a, str_from(k->secret));
	return true;
}

bool iam_find_key(void *ctx, struct arena *a, struct db *db, struct str access_key, struct str token, int64_t now_ms,
		  struct principal *who, struct str *secret, struct error *err)
{
	struct iam *i = ctx;
	if (access_key.len == 0 || access_key.len > 128)
		return false;
	if (str_eqz(access_key, i->root_key))
		return answer(i, a, &i->root, access_key, token, now_ms, who, secret, err);
	pthread_rwlock_rdlock(&i->lock);
	struct iam_key *k = map_get(&i->cache, access_key);
	bool good = k && answer(i, a, k, access_key, token, now_ms, who, secret, err);
	pthread_rwlock_unlock(&i->lock);
	if (k || !db)
		return good;
	if (key_from_store(i, a, db, access_key, &k, err) <= 0)
		return false;
	good = answer(i, a, k, access_key, token, now_ms, who, secret, err);
	remember(i, a, access_key, k);
	return good;
}
