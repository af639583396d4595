/* stage.c - filling stage directories. See stage.h. */
#include "sagemaker/stage.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define TRIES_MAX 5
#define MANIFEST_MAX_BYTES (64 * 1024 * 1024)

struct stager {
	struct s3 *s3;
	struct iam *iam;
	struct principal who; /* a session of the role */
	struct db *db;
	struct arena *arena; /* of the whole staging */
	const char *role, *region;
	/* the source being filled */
	const char *dir;
	struct str uri, bucket, prefix;
	int64_t shard, shards, seen, taken;
	bool gzip;
	char *last_parent; /* known to exist; owned */
	struct error *err;
	int rc;
};

static int client_error(struct stager *st, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int client_error(struct stager *st, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	const char *text = arena_vprintf(st->arena, fmt, ap);
	va_end(ap);
	return error_aws(st->err, STAGE_CLIENT_ERROR, "%s", text);
}

/* Makes dir/rel and its parents. */
static int make_dirs(struct stager *st, const char *rel)
{
	char path[4096 + 1100];
	int n = snprintf(path, sizeof(path), "%s/%s", st->dir, rel);
	if (n >= (int)sizeof(path))
		return client_error(st, "The path \"%s\" is too long.", rel);
	for (char *p = path + strlen(st->dir) + 1; p;) {
		char *slash = strchr(p, '/');
		if (slash)
			*slash = 0;
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			return errno == ENOTDIR
				       ? client_error(st, "\"%s\" is both an object and the directory of another one.",
						      rel)
				       : error_errno(st->err, errno, "create directory `%s`", path);
		if (slash)
			*slash = '/';
		p = slash ? slash + 1 : NULL;
	}
	struct stat sb;
	if (stat(path, &sb) == 0 && !S_ISDIR(sb.st_mode))
		return client_error(st, "\"%s\" is both an object and the directory of another one.", rel);
	return 0;
}

static int make_parent(struct stager *st, struct str rel)
{
	size_t n = rel.len;
	while (n && rel.ptr[n - 1] != '/')
		n--;
	if (n == 0)
		return 0;
	struct str parent = str_head(rel, n - 1);
	if (st->last_parent && str_eqz(parent, st->last_parent))
		return 0;
	free(st->last_parent);
	st->last_parent = mem_strndup(parent.ptr, parent.len);
	return make_dirs(st, st->last_parent);
}

/* from (a gzip file) -> to. */
static int unzip(struct stager *st, const char *from, const char *to, struct str key)
{
	char piece[64 * 1024];
	gzFile in = gzopen(from, "rbe");
	CLEANUP_FD int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	int n = -1, rc = 0;
	if (!in || out < 0) {
		rc = errno == EEXIST ? client_error(st, "Two objects have the file name of \"%.*s\".", STR_ARG(key))
				     : error_errno(st->err, errno, "unzip `%s`", to);
	} else {
		gzbuffer(in, sizeof(piece));
		while (rc == 0 && (n = gzread(in, piece, sizeof(piece))) > 0)
			for (ssize_t done = 0, w; rc == 0 && done < n; done += w)
				if ((w = write(out, piece + done, (size_t)(n - done))) < 0)
					rc = error_errno(st->err, errno, "write `%s`", to);
		if (rc == 0 && (n < 0 || gzdirect(in)))
			rc = client_error(st, "The object \"%.*s\" is not gzip data.", STR_ARG(key));
	}
	if (in && gzclose(in) != Z_OK && rc == 0)
		rc = client_error(st, "The object \"%.*s\" is not whole gzip data.", STR_ARG(key));
	return rc;
}

/* The object as the role may have it. */
static int may_read(struct stager *st, struct str key)
{
	struct arena scratch = ARENA_INIT;
	CLEANUP_ERROR struct error why = ERROR_INIT;
	int rc = st->iam ? iam_may_s3(st->iam, &scratch, &st->who, "s3:GetObject", st->bucket, key, &why) : 0;
	arena_release(&scratch);
	if (rc == 0 || !error_is(&why, "AccessDenied"))
		return rc == 0 ? 0 : error_move(st->err, &why);
	return client_error(st, "Could not download s3://%.*s/%.*s: %s", STR_ARG(st->bucket), STR_ARG(key),
			    error_text(&why));
}

static int place(struct stager *st, struct str key, struct str rel)
{
	if (rel.len == 0)
		return 0;
	if (rel.ptr[rel.len - 1] == '/')
		return make_dirs(st, arena_strdup(st->arena, str_head(rel, rel.len - 1)));
	if (make_parent(st, rel) < 0 || may_read(st, key) < 0)
		return -1;
	struct str out = st->gzip && str_ends(rel, STR(".gz")) ? str_head(rel, rel.len - 3) : rel;
	CLEANUP_BUF struct buf path = BUF_INIT, raw = BUF_INIT;
	buf_printf(&path, "%s/%.*s", st->dir, STR_ARG(out));
	buf_printf(&raw, "%s.gz~", st->dir); /* beside the directory */
	if (access(path.ptr, F_OK) == 0)
		return client_error(st, "Two objects have the file name of \"%.*s\".", STR_ARG(key));
	if (s3_link(st->s3, st->db, st->bucket, key, st->gzip ? raw.ptr : path.ptr, st->err) < 0)
		return -1;
	if (!st->gzip)
		return 0;
	int rc = unzip(st, raw.ptr, path.ptr, key);
	unlink(raw.ptr);
	return rc;
}

static int take_object(void *ctx, const struct s3_entry *e)
{
	struct stager *st = ctx;
	struct arena scratch = ARENA_INIT;
	struct str rel;
	bool marker = e->key.len && e->key.ptr[e->key.len - 1] == '/' && e->size_bytes == 0;
	if (!marker && st->shards > 1 && st->seen++ % st->shards != st->shard)
		return 0;
	st->rc = stage_file_name(&scratch, st->prefix, e->key, &rel, st->err);
	if (st->rc >= 0)
		st->rc = place(st, e->key, rel);
	arena_release(&scratch);
	st->taken++;
	return st->rc < 0;
}

static int missing(struct stager *st)
{
	return client_error(st, "%s", stage_missing_text(st->arena, st->uri, st->region, st->role));
}

/* A bucket that is not there is the user's fault, anything else ours. */
static int fill_prefix(struct stager *st, bool optional)
{
	CLEANUP_ERROR struct error why = ERROR_INIT;
	if (st->iam && iam_may_s3(st->iam, st->arena, &st->who, "s3:ListBucket", st->bucket, st->prefix, &why) < 0)
		return error_is(&why, "AccessDenied")
			       ? client_error(st, "%s Error message from S3: %s",
					      stage_missing_text(st->arena, st->uri, st->region, st->role),
					      error_text(&why))
			       : error_move(st->err, &why);
	if (s3_each(st->db, st->bucket, st->prefix, take_object, st, &why) < 0)
		return error_is(&why, "NoSuchBucket") ? missing(st) : error_move(st->err, &why);
	if (st->rc < 0)
		return -1;
	bool none = st->shards > 1 ? st->seen == 0 && st->taken == 0 : st->taken == 0;
	return none && !optional ? missing(st) : 0;
}

static int take_named(void *ctx, struct str prefix, struct str name)
{
	struct stager *st = ctx;
	struct str bucket, key, rel;
	if (st->shards > 1 && st->seen++ % st->shards != st->shard)
		return 0;
	CLEANUP_BUF struct buf uri = BUF_INIT;
	buf_printf(&uri, "%.*s%.*s", STR_ARG(prefix), STR_ARG(name));
	if (!s3_parse_uri(buf_str(&uri), &bucket, &key))
		return client_error(st, "The manifest file is not valid: \"%s\" is no S3 URI.", uri.ptr);
	st->bucket = bucket;
	if (stage_file_name(st->arena, STR(""), name, &rel, st->err) < 0)
		return -1;
	CLEANUP_ERROR struct error why = ERROR_INIT;
	struct error *err = st->err;
	st->err = &why;
	int rc = place(st, key, rel);
	st->err = err;
	if (rc < 0 && (error_is(&why, "NoSuchKey") || error_is(&why, "NoSuchBucket")))
		return client_error(st, "The object \"%s\" named in the manifest file does not exist.", uri.ptr);
	return rc < 0 ? error_move(st->err, &why) : 0;
}

static int fill_manifest(struct stager *st)
{
	CLEANUP_ERROR struct error why = ERROR_INIT;
	struct str text;
	if (may_read(st, st->prefix) < 0)
		return -1;
	if (s3_read(st->s3, st->db, st->bucket, st->prefix, MANIFEST_MAX_BYTES, st->arena, &text, &why) < 0) {
		if (error_is(&why, "NoSuchBucket") || error_is(&why, "NoSuchKey"))
			return missing(st);
		if (error_is(&why, "EntityTooLarge"))
			return client_error(st, "The manifest file is larger than %d bytes.", MANIFEST_MAX_BYTES);
		return error_move(st->err, &why);
	}
	return stage_each_in_manifest(text, take_named, st, st->err);
}

static int fill_source(struct stager *st, const char *base, const json_t *source)
{
	const char *dir = json_get_text(source, "dir");
	if (!dir || strchr(dir, '/'))
		return error_set(st->err, "stage plan: a source has no directory name");
	st->dir = arena_printf(st->arena, "%s/%s", base, dir);
	st->uri = json_get_str(source, "uri");
	st->shard = json_get_int(source, "shard", 0);
	st->shards = json_get_int(source, "shards", 1);
	st->gzip = json_get_bool(source, "gzip", false);
	st->seen = st->taken = 0;
	free(st->last_parent);
	st->last_parent = NULL;
	if (mkdir(st->dir, 0755) < 0)
		return error_errno(st->err, errno, "create directory `%s`", st->dir);
	if (!st->uri.ptr || !s3_parse_uri(st->uri, &st->bucket, &st->prefix))
		return client_error(st, "\"%.*s\" is not an S3 URI.", STR_ARG(st->uri));
	if (str_eqz(json_get_str(source, "type"), "ManifestFile"))
		return fill_manifest(st);
	return fill_prefix(st, json_get_bool(source, "optional", false));
}

/* One try on one snapshot. */
static int fill(struct engine *e, struct s3 *s3, struct iam *iam, const char *dir, const json_t *plan,
		struct error *err)
{
	struct arena a = ARENA_INIT;
	struct db *db = store_read_begin(engine_store(e), err);
	if (!db)
		return -1;
	struct stager st = { .s3 = s3, .iam = iam, .db = db, .arena = &a, .err = err };
	st.role = json_get_text(plan, "role");
	st.region = json_get_text(plan, "region");
	int rc = iam && st.role ? iam_role_principal(iam, db, &a, st.role, "SageMaker", &st.who, err) : 0;
	size_t i;
	json_t *source, *sources = json_get(plan, "sources");
	json_array_foreach (sources, i, source)
		if (rc == 0)
			rc = fill_source(&st, dir, source);
	store_read_end(engine_store(e), db);
	free(st.last_parent);
	arena_release(&a);
	return rc;
}

/* ---- directories ---- */

const char *stage_dir(struct arena *a, const char *data_dir, const char *task)
{
	return arena_printf(a, "%s/stage/%s", data_dir, task);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	remove(path);
	return 0;
}

static void remove_tree(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static void boot_id(char out[64])
{
	out[0] = 0;
	CLEANUP_FD int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, out, 63);
	out[n > 0 ? n : 0] = 0;
}

static bool is_ready(const char *marker)
{
	char now[64], then[64] = "";
	boot_id(now);
	CLEANUP_FD int fd = open(marker, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, then, sizeof(then) - 1);
	return n > 0 && strcmp(now, then) == 0;
}

static int set_ready(const char *marker, struct error *err)
{
	char now[64];
	boot_id(now);
	CLEANUP_FD int fd = open(marker, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, now, strlen(now)) != (ssize_t)strlen(now))
		return error_errno(err, errno, "write `%s`", marker);
	return 0;
}

static int make_dir(const char *path, struct error *err)
{
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return error_errno(err, errno, "create directory `%s`", path);
	return 0;
}

int stage_may_list(struct iam *iam, struct db *db, struct arena *a, const char *role, struct str uri, struct error *err)
{
	struct principal who;
	struct str bucket, key;
	if (!iam || !role || !s3_parse_uri(uri, &bucket, &key))
		return 0;
	if (iam_role_principal(iam, db, a, role, "SageMaker", &who, err) < 0)
		return -1;
	return iam_may_s3(iam, a, &who, "s3:ListBucket", bucket, key, err);
}

int stage_task(struct engine *e, struct s3 *s3, struct iam *iam, const char *data_dir, const char *task,
	       const json_t *plan, struct error *err)
{
	struct arena a = ARENA_INIT;
	const char *dir = stage_dir(&a, data_dir, task), *marker = arena_printf(&a, "%s.ready", dir);
	int rc = is_ready(marker) ? 1 : make_dir(arena_printf(&a, "%s/stage", data_dir), err);
	for (int try = 1; rc == 0; try++) {
		CLEANUP_ERROR struct error why = ERROR_INIT;
		remove_tree(dir);
		rc = make_dir(dir, &why);
		if (rc == 0 && (rc = fill(e, s3, iam, dir, plan, &why)) == 0)
			break;
		/* An object replaced or deleted between the listing and the link: look again. */
		bool again = try < TRIES_MAX && (error_is(&why, "NoSuchKey") || error_is(&why, "NoSuchBucket"));
		if (!again) {
			rc = error_move(err, &why);
			break;
		}
		log_debug("sagemaker", "stage %s: %s; trying again", task, error_text(&why));
		usleep(50000 * (unsigned)try);
		rc = 0;
	}
	if (rc == 0)
		rc = set_ready(marker, err);
	if (rc < 0)
		remove_tree(dir);
	arena_release(&a);
	return rc < 0 ? -1 : 0;
}

void stage_remove(const char *data_dir, const char *task)
{
	struct arena a = ARENA_INIT;
	const char *dir = stage_dir(&a, data_dir, task), *of_task = arena_printf(&a, "%s/tasks/%s", data_dir, task);
	unlink(arena_printf(&a, "%s.ready", dir));
	remove_tree(dir);
	/* Outputs that nobody took (the executor leaves them to us), then the task's directory when the executor is
	 * done with it. */
	remove_tree(arena_printf(&a, "%s/out", of_task));
	rmdir(of_task);
	arena_release(&a);
}
