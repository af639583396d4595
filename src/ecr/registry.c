/* registry.c - the OCI distribution protocol: authentication, paths, errors. Source: distribution-spec 1.1; ECR user
 * guide ("registry authentication"). */
#include "ecr/registry.h"

#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"

/* ---- errors ---- */

static const struct {
	const char *code, *aws;
	int status;
} codes[] = {
	{ "BLOB_UNKNOWN", "LayerNotFoundException", 404 },
	{ "BLOB_UPLOAD_INVALID", "", 400 },
	{ "BLOB_UPLOAD_UNKNOWN", "", 404 },
	{ "RANGE_INVALID", "", 416 },
	{ "DIGEST_INVALID", "DigestInvalid", 400 },
	{ "MANIFEST_BLOB_UNKNOWN", "LayersNotFoundException", 404 },
	{ "MANIFEST_BLOB_UNKNOWN", "ReferencedImagesNotFoundException", 404 },
	{ "MANIFEST_INVALID", "InvalidParameterException", 400 },
	{ "MANIFEST_UNKNOWN", "", 404 },
	{ "NAME_INVALID", "", 400 },
	{ "NAME_UNKNOWN", "RepositoryNotFoundException", 404 },
	{ "SIZE_INVALID", "", 413 },
	{ "TAG_INVALID", "ImageTagAlreadyExistsException", 400 },
	{ "UNAUTHORIZED", "", 401 },
	{ "DENIED", "", 403 },
	{ "UNSUPPORTED", "", 405 },
	{ "TOOMANYREQUESTS", "", 429 },
};

int registry_error(struct error *err, const char *code, const char *fmt, ...)
{
	va_list ap;
	char text[1024];
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++)
		if (strcmp(codes[i].code, code) == 0)
			return error_http(err, codes[i].status, code, "%s", text);
	return error_http(err, 500, code, "%s", text);
}

static void send_error(struct wire_request *r, struct error *err)
{
	const char *code = err->code;
	int status = err->status;
	for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++)
		if (code[0] && (strcmp(codes[i].aws, code) == 0 || (strcmp(codes[i].code, code) == 0 && !status))) {
			code = codes[i].code;
			status = codes[i].status;
			break;
		}
	if (!code[0]) {
		log_error("ecr", "%s", error_text(err));
		code = "UNKNOWN";
		status = 500;
	}
	CLEANUP_JSON json_t *doc = json_pack("{s:[{s:s, s:s}]}", "errors", "code", code, "message",
					     err->code[0] ? error_text(err) : "internal error");
	wire_set_header(r, "Content-Type", "application/json");
	wire_send(r, status ? status : 400, json_text(wire_arena(r), doc));
}

static void raw_fail(struct wire_request *r, void *ctx, struct error *err)
{
	send_error(r, err);
}

void rcall_fail(struct rcall *c, struct error *err)
{
	struct error mine = ERROR_INIT;
	error_move(&mine, err);
	rcall_release(c);
	send_error(c->r, &mine);
	error_release(&mine);
}

void rcall_send(struct rcall *c, int status, struct str body)
{
	rcall_release(c);
	wire_send(c->r, status, body);
}

void rcall_release(struct rcall *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	if (c->locked)
		ecr_upload_unlock(c->e, c->upload.id, c->finish || c->made);
	if (c->made)
		blob_remove_now(c->e->o.blobs, c->upload.blob, NULL);
	c->locked = c->made = false;
	buf_release(&c->body);
	buf_release(&c->upload.piece);
	error_release(&c->problem);
}

/* ---- commands and blocking work ---- */

static int write_run(struct turn *t, void *arg, struct error *err)
{
	struct rcall *c = arg;
	return c->write(c, t, err);
}

static void write_done(void *arg, int rc, struct error *err)
{
	struct rcall *c = arg;
	if (rc < 0)
		rcall_fail(c, err);
	else
		c->answer(c);
}

void rcall_write(struct rcall *c, int (*write)(struct rcall *, struct turn *, struct error *),
		 void (*answer)(struct rcall *))
{
	c->write = write;
	c->answer = answer;
	engine_submit(c->e->o.engine, write_run, write_done, c);
}

static void block_run(struct wire_request *r, void *arg)
{
	struct rcall *c = arg;
	c->blocking(c);
}

void rcall_block(struct rcall *c, void (*fn)(struct rcall *))
{
	c->blocking = fn;
	wire_offload(c->r, block_run, c);
}

struct db *rcall_read(struct rcall *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct db *db = store_read_begin(c->e->store, &err);
	if (!db)
		rcall_fail(c, &err);
	return db;
}

/* ---- authentication ---- */

static const char *token_hash(struct arena *a, struct str token)
{
	return ecr_digest(a, token, STR("sha256"));
}

const char *ecr_token_new(struct turn *t, const struct principal *who, int64_t *expires_ms, struct error *err)
{
	struct arena *a = turn_arena(t);
	const char *token = turn_id(t, 48);
	*expires_ms = turn_now_ms(t) + ECR_TOKEN_MS;
	if (db_exec(turn_db(t), err, "DELETE FROM ecr_token WHERE expires_ms < ?", "i", turn_now_ms(t)) < 0 ||
	    db_exec(turn_db(t), err,
		    "INSERT INTO ecr_token(hash, arn, user_id, grants, expires_ms) VALUES(?, ?, ?, ?, ?)", "ssssi",
		    token_hash(a, str_from(token)), who->arn, who->user_id, who->grants, *expires_ms) < 0)
		return NULL;
	char *plain = arena_printf(a, "AWS:%s", token), *coded = arena_alloc(a, strlen(plain) * 2 + 8);
	base64_encode(coded, plain, strlen(plain));
	return coded;
}

bool ecr_token_valid(struct ecr *e, struct db *db, struct arena *a, struct str authorization, struct principal *who)
{
	CLEANUP_ROWS struct rows rows = { 0 };
	if (authorization.len < 7 || !str_eq_nocase(str_head(authorization, 6), STR("Basic ")))
		return false;
	struct str coded = str_trim(str_skip(authorization, 6));
	char *plain = arena_alloc(a, coded.len + 4);
	ptrdiff_t n = base64_decode(plain, coded);
	struct str text = str_of(plain, n > 0 ? (size_t)n : 0);
	if (!str_starts(text, STR("AWS:")))
		return false;
	/* Looked up by hash: the comparison's time tells nothing about a token. */
	if (db_row(db, &rows, NULL, "SELECT arn, user_id, grants FROM ecr_token WHERE hash=? AND expires_ms > ?", "si",
		   token_hash(a, str_skip(text, 4)), engine_now_ms(e->o.engine)) != 1)
		return false;
	*who = (struct principal){ .access_key = "",
				   .account = e->o.account,
				   .arn = arena_strdup(a, rows_str(&rows, 0)),
				   .user_id = arena_strdup(a, rows_str(&rows, 1)),
				   .unrestricted = rows_null(&rows, 2) };
	if (!who->unrestricted)
		who->grants = arena_strdup(a, rows_str(&rows, 2));
	return true;
}

static bool authenticate(struct rcall *c)
{
	struct db *db = store_read_begin(c->e->store, NULL);
	bool good = db && ecr_token_valid(c->e, db, c->a, wire_header(c->r, "Authorization"), &c->who);
	if (db)
		store_read_end(c->e->store, db);
	if (good)
		return true;
	wire_set_header(c->r, "Www-Authenticate",
			arena_printf(c->a, "Basic realm=\"http://%.*s/\",service=\"ecr.amazonaws.com\"",
				     STR_ARG(wire_header(c->r, "Host"))));
	CLEANUP_ERROR struct error err = ERROR_INIT;
	registry_error(&err, "UNAUTHORIZED", "Not Authorized");
	send_error(c->r, &err);
	return false;
}

/* ---- paths ---- */

bool ecr_claims(struct wire_request *r, void *ctx)
{
	struct str path = wire_path(r);
	return str_eqz(path, "/v2") || str_starts(path, STR("/v2/"));
}

/* The last "/<word>/" of the path splits name and rest. */
static bool split_at(struct rcall *c, struct str path, const char *word, struct str *rest)
{
	struct str w = str_from(word);
	for (size_t i = path.len >= w.len ? path.len - w.len + 1 : 0; i-- > 1;)
		if (memcmp(path.ptr + i, w.ptr, w.len) == 0) {
			c->repo = arena_str(c->a, str_head(path, i));
			*rest = arena_str(c->a, str_skip(path, i + w.len));
			return true;
		}
	return false;
}

static bool parse_path(struct rcall *c, enum rop_target *target)
{
	struct str path = wire_path(c->r), tail;
	path = str_skip(path, 3);
	if (path.len <= 1) {
		*target = ROP_ROOT;
		return true;
	}
	path = str_skip(path, 1);
	if (str_eqz(path, "_quern/prune")) { /* names with a leading _ are for extensions */
		*target = ROP_PRUNE;
		return true;
	}
	if (str_eqz(path, "_catalog")) {
		*target = ROP_CATALOG;
		return true;
	}
	if (split_at(c, path, "/blobs/uploads", &tail) && (tail.len == 0 || tail.ptr[0] == '/')) {
		c->rest = str_skip(tail, 1);
		*target = c->rest.len ? ROP_UPLOAD : ROP_UPLOADS;
		return true;
	}
	if (str_ends(path, STR("/tags/list"))) {
		c->repo = arena_str(c->a, str_head(path, path.len - 10));
		*target = ROP_TAGS;
		return true;
	}
	static const struct {
		const char *word;
		enum rop_target target;
	} words[] = { { "/blobs/", ROP_BLOB }, { "/manifests/", ROP_MANIFEST }, { "/referrers/", ROP_REFERRERS } };
	for (size_t i = 0; i < 3; i++)
		if (split_at(c, path, words[i].word, &c->rest)) {
			*target = words[i].target;
			return true;
		}
	return false;
}

static const struct rop *find_op(const struct rop *ops, struct str method, enum rop_target target)
{
	for (; ops->method; ops++)
		if (ops->target == target && str_eqz(method, ops->method))
			return ops;
	return NULL;
}

static int find_repository(struct rcall *c, struct error *err)
{
	if (!ecr_repository_valid(c->repo))
		return registry_error(err, "NAME_INVALID", "invalid repository name '%.*s'", STR_ARG(c->repo));
	struct db *db = store_read_begin(c->e->store, err);
	if (!db)
		return -1;
	int rc = ecr_repo_need(c->e, db, c->a, c->repo, &c->repository, err);
	store_read_end(c->e->store, db);
	return rc;
}

/* ---- what policies allow ---- */

static int may(struct rcall *c, const char *action, struct str repository, struct error *err)
{
	CLEANUP_ERROR struct error why = ERROR_INIT;
	const char *arn = arena_printf(c->a, "arn:aws:ecr:%s:%s:repository/%.*s", c->e->o.region, c->e->o.account,
				       STR_ARG(repository));
	struct wire_ask ask = { .action = action, .resource = str_from(repository.len ? arn : "*") };
	if (wire_authorize(c->r, &c->who, &ask, &why) == 0)
		return 0;
	return error_is(&why, "AccessDenied") ? registry_error(err, "DENIED", "%s", error_text(&why))
					      : error_move(err, &why);
}

/* The right to push to one repository does not make another one's blobs readable: a mount asks for both. */
static int check_access(struct rcall *c, enum rop_target target, struct error *err)
{
	struct str from = target == ROP_UPLOADS ? wire_query_arg(c->r, "from", NULL) : STR_NULL;
	if (c->who.unrestricted)
		return 0;
	if (!c->op->action)
		return registry_error(err, "DENIED", "only the keys of Quern's owner may do this");
	if (from.len && may(c, "ecr:GetDownloadUrlForLayer", from, err) < 0)
		return -1;
	if (target == ROP_UPLOADS && wire_query_arg(c->r, "digest", NULL).ptr &&
	    may(c, "ecr:CompleteLayerUpload", c->repo, err) < 0) /* all in one request */
		return -1;
	return may(c, c->op->action, c->repo, err);
}

/* ---- the raw handler ---- */

static void raw_begin(struct wire_request *r, void *ctx)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct rcall *c = ARENA_NEW(wire_arena(r), struct rcall);
	enum rop_target target;
	*c = (struct rcall){ .e = ctx, .r = r, .a = wire_arena(r), .method = wire_method(r), .fd = -1 };
	wire_set_state(r, c);
	wire_set_header(r, "Docker-Distribution-Api-Version", "registry/2.0");
	c->who.unrestricted = ecr_link_valid(c->e, r); /* what the link is for was asked when it was made */
	if (!c->who.unrestricted && !authenticate(c))
		return;
	if (!parse_path(c, &target)) {
		registry_error(&err, "NAME_UNKNOWN", "there is nothing at this path");
		rcall_fail(c, &err);
		return;
	}
	if (target == ROP_ROOT) {
		wire_set_header(r, "Content-Type", "application/json");
		rcall_send(c, 200, STR("{}"));
		return;
	}
	c->op = find_op(rops_blob, c->method, target);
	if (!c->op)
		c->op = find_op(rops_manifest, c->method, target);
	if (!c->op) {
		registry_error(&err, "UNSUPPORTED", "the method %.*s is not allowed here", STR_ARG(c->method));
		rcall_fail(c, &err);
		return;
	}
	int rc = check_access(c, target, &err);
	if (rc == 0 && target != ROP_PRUNE && target != ROP_CATALOG)
		rc = find_repository(c, &err);
	if (rc == 0 && c->op->begin)
		rc = c->op->begin(c, &err);
	if (rc < 0)
		rcall_fail(c, &err);
}

static int raw_body(struct wire_request *r, void *ctx, const void *p, size_t n)
{
	struct rcall *c = wire_state(r);
	if (c->fd >= 0) {
		if (!c->problem.message && ecr_upload_write(&c->upload, c->hash, c->fd, p, n, &c->problem) < 0) {
			rcall_fail(c, &c->problem);
			return -1;
		}
		return 0;
	}
	if (c->body.len + n > ECR_MANIFEST_MAX) {
		CLEANUP_ERROR struct error err = ERROR_INIT;
		registry_error(&err, "SIZE_INVALID", "the body is larger than %d bytes", ECR_MANIFEST_MAX);
		rcall_fail(c, &err);
		return -1;
	}
	buf_add(&c->body, p, n);
	return 0;
}

static void raw_end(struct wire_request *r, void *ctx)
{
	struct rcall *c = wire_state(r);
	if (c->fd >= 0 && ecr_upload_flush(&c->upload, c->hash, c->fd, &c->problem) < 0)
		rcall_fail(c, &c->problem);
	else
		c->op->run(c);
}

static void raw_abort(struct wire_request *r, void *ctx)
{
	struct rcall *c = wire_state(r);
	if (!c)
		return;
	registry_keep_received(c);
	rcall_release(c);
}

const struct raw_handler ecr_raw = { raw_begin, raw_body, raw_end, raw_abort, raw_fail };
