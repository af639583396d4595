/* access.c - may the caller do this operation? Makes the questions; policies answer them (wire_options.authorize).
 *
 * DESIGN: each service has a table beside its operations (struct wire_access) with the action and the resources of each
 * operation, as the Service Authorization Reference has them; an operation without a row is refused to whoever has to
 * ask. An operation is allowed when each of its resources is, and each role that it gives away (iam:PassRole). */
#include "wire/http.h"

#include <ctype.h>

#include "base/json.h"

const struct wire_access *access_find(const struct wire_service *s, const char *operation)
{
	for (const struct wire_access *x = s->access; x && x->operation; x++)
		if (strcmp(x->operation, operation) == 0)
			return x;
	return NULL;
}

/* ---- texts of resources ---- */

/* All texts at the end of a path of members; lists on the way are gone through. */
static void collect(const json_t *v, struct str path, json_t *out)
{
	size_t i;
	json_t *item;
	if (json_is_array(v)) {
		json_array_foreach (v, i, item)
			collect(item, path, out);
		return;
	}
	if (!path.ptr) {
		if (json_is_string(v))
			json_array_append(out, (json_t *)v);
		return;
	}
	struct str rest = path, name;
	str_split(&rest, '.', &name);
	collect(json_object_getn(v, name.ptr, name.len), rest, out);
}

/* What stands for "a|b.c,lower=text". */
static json_t *values_of(const json_t *in, struct str spec)
{
	json_t *out = json_array();
	ptrdiff_t eq = str_find_char(spec, '=');
	struct str names = eq < 0 ? spec : str_head(spec, (size_t)eq), name;
	bool lower = str_ends(names, STR(",lower"));
	if (lower)
		names = str_head(names, names.len - 6);
	while (json_array_size(out) == 0 && str_split(&names, '|', &name))
		collect(in, name, out);
	if (json_array_size(out) == 0) {
		struct str text = eq < 0 ? STR("*") : str_skip(spec, (size_t)eq + 1);
		json_array_append_new(out, json_stringn(text.ptr, text.len));
	}
	for (size_t i = 0; lower && i < json_array_size(out); i++) {
		CLEANUP_FREE char *small = mem_strdup(json_string_value(json_array_get(out, i)));
		for (char *p = small; *p; p++)
			*p = (char)tolower((unsigned char)*p);
		json_array_set_new(out, i, json_string(small));
	}
	return out;
}

static struct str last_piece(struct str arn)
{
	size_t n = arn.len;
	while (n > 0 && arn.ptr[n - 1] != '/' && arn.ptr[n - 1] != ':')
		n--;
	return str_skip(arn, n);
}

struct expand {
	struct call *c;
	const char *scope;
	const json_t *in;
	json_t *out;
};

static void emit(struct expand *x, struct str text)
{
	if (str_eqz(text, "*") || str_starts(text, STR("arn:"))) {
		json_array_append_new(x->out, json_stringn(text.ptr, text.len));
		return;
	}
	bool global = strcmp(x->scope, "iam") == 0;
	json_array_append_new(x->out, json_sprintf("arn:aws:%s:%s:%s:%.*s", x->scope, global ? "" : x->c->region,
						   x->c->account, STR_ARG(text)));
}

static void add_value(struct buf *b, struct str value)
{
	if (str_starts(value, STR("arn:")))
		value = last_piece(value);
	if (b->len && b->ptr[b->len - 1] == '/' && value.len && value.ptr[0] == '/')
		value = str_skip(value, 1);
	buf_add_str(b, value);
}

/* One piece: "cluster/{cluster=default}". */
static void expand(struct expand *x, struct str rest)
{
	CLEANUP_BUF struct buf b = BUF_INIT;
	ptrdiff_t open;
	while ((open = str_find_char(rest, '{')) >= 0) {
		struct str inside = str_skip(rest, (size_t)open + 1);
		ptrdiff_t close = str_find_char(inside, '}');
		struct str tail = str_skip(inside, (size_t)close + 1);
		CLEANUP_JSON json_t *values = values_of(x->in, str_head(inside, (size_t)close));
		buf_add_str(&b, str_head(rest, (size_t)open));
		if (str_find_char(tail, '{') >= 0) {
			add_value(&b, json_str(json_array_get(values, 0)));
			rest = tail;
			continue;
		}
		size_t i, kept = b.len;
		json_t *value;
		json_array_foreach (values, i, value) {
			if (str_starts(json_str(value), STR("arn:"))) {
				emit(x, json_str(value));
				continue;
			}
			b.len = kept;
			add_value(&b, json_str(value));
			buf_add_str(&b, tail);
			emit(x, buf_str(&b));
		}
		return;
	}
	buf_add_str(&b, rest);
	emit(x, buf_str(&b));
}

/* ---- questions ---- */

enum { FACTS_MAX = 8 };

static size_t read_facts(struct expand *x, const char *keys, struct wire_fact *facts)
{
	struct str rest = keys ? str_from(keys) : STR_NULL, piece;
	size_t n = 0;
	while (n < FACTS_MAX && rest.ptr && str_split(&rest, ' ', &piece)) {
		ptrdiff_t eq = str_find_char(piece, '=');
		json_t *all = x->out = json_array(), *value;
		size_t i;
		expand(x, str_skip(piece, (size_t)eq + 1));
		json_array_foreach (all, i, value) {
			bool absent = str_eqz(json_str(value), "*");
			if (n < FACTS_MAX && !absent)
				facts[n++] = (struct wire_fact){
					arena_strdup(x->c->arena, str_head(piece, (size_t)eq)),
					arena_str(x->c->arena, json_str(value)),
				};
		}
		json_decref(all);
	}
	return n;
}

/* The code and status that the service's protocol has for a refusal. */
static int refuse(const struct wire_service *s, struct error *why, struct error *err)
{
	if (!error_is(why, "AccessDenied"))
		return error_move(err, why);
	const struct model_service *m = s->model ? model_find(s->model) : NULL;
	enum model_protocol p = m ? model_protocol_of(m) : MODEL_REST_XML;
	if (p == MODEL_JSON)
		return error_http(err, 400, "AccessDeniedException", "%s", error_text(why));
	return error_http(err, 403, p == MODEL_REST_JSON ? "AccessDeniedException" : "AccessDenied", "%s",
			  error_text(why));
}

static int ask_all(struct wire_server *w, struct call *c, struct wire_ask *ask, json_t *resources, struct error *err)
{
	size_t i;
	json_t *value;
	json_array_foreach (resources, i, value) {
		ask->resource = json_str(value);
		if (w->o.authorize(w->o.authorize_ctx, c->arena, c->who, ask, err) < 0)
			return -1;
	}
	return 0;
}

static int ask_pass(struct wire_server *w, const struct wire_service *s, struct call *c, json_t *roles,
		    struct wire_request *r, struct error *err)
{
	struct wire_fact fact = { "iam:PassedToService", str_from(s->passed_to) };
	struct wire_ask ask = { .action = "iam:PassRole",
				.region = c->region,
				.facts = &fact,
				.nfacts = s->passed_to ? 1 : 0,
				.request = r };
	struct expand x = { .c = c, .scope = "iam", .out = json_array() };
	size_t i;
	json_t *value;
	json_array_foreach (roles, i, value) {
		struct str role = json_str(value);
		if (str_starts(role, STR("arn:")))
			emit(&x, role);
		else if (role.len)
			emit(&x, str_from(arena_printf(c->arena, "role/%.*s", STR_ARG(role))));
	}
	int rc = ask_all(w, c, &ask, x.out, err);
	json_decref(x.out);
	return rc;
}

/* What the operation fetches from S3 is asked for as if the caller fetched it. */
static int ask_reads(struct wire_server *w, struct call *c, const char *reads, const json_t *in, struct wire_request *r,
		     struct error *err)
{
	struct wire_ask ask = { .action = "s3:GetObject", .region = c->region, .request = r };
	struct str key = str_from(reads), bucket;
	CLEANUP_JSON json_t *found = json_array();
	str_split(&key, ' ', &bucket);
	collect(in, bucket, found);
	collect(in, key, found);
	if (json_array_size(found) != 2)
		return 0;
	ask.resource =
		str_from(arena_printf(c->arena, "arn:aws:s3:::%s/%s", json_string_value(json_array_get(found, 0)),
				      json_string_value(json_array_get(found, 1))));
	return w->o.authorize(w->o.authorize_ctx, c->arena, c->who, &ask, err);
}

static int find_in_store(const struct wire_access *access, struct call *c, const json_t *in, json_t *resources,
			 json_t *roles, struct error *err)
{
	struct db *db = store_read_begin(engine_store(c->engine), err);
	if (!db)
		return -1;
	access->find(c, db, in, resources, roles);
	store_read_end(engine_store(c->engine), db);
	return 0;
}

static int check(struct wire_server *w, const struct wire_service *s, const struct wire_access *access, struct call *c,
		 const json_t *in, struct wire_request *r, struct error *err)
{
	struct wire_fact facts[FACTS_MAX];
	CLEANUP_JSON json_t *resources = json_array();
	CLEANUP_JSON json_t *roles = json_array();
	struct expand x = { .c = c, .scope = s->scope, .in = in };
	struct wire_ask ask = {
		.action =
			access->action ? access->action : arena_printf(c->arena, "%s:%s", s->scope, access->operation),
		.region = c->region,
		.in = in,
		.facts = facts,
		.nfacts = read_facts(&x, access->keys, facts),
		.request = r,
	};
	struct str rest = str_from(access->resource ? access->resource : "*"), piece;
	x.out = resources;
	if (access->find && find_in_store(access, c, in, resources, roles, err) < 0)
		return -1;
	if (json_array_size(resources) == 0)
		while (str_split(&rest, ' ', &piece))
			expand(&x, piece);
	rest = access->pass ? str_from(access->pass) : STR_NULL;
	while (rest.ptr && str_split(&rest, ' ', &piece))
		collect(in, piece, roles);
	if (ask_all(w, c, &ask, resources, err) < 0 ||
	    (access->reads && ask_reads(w, c, access->reads, in, r, err) < 0))
		return -1;
	return ask_pass(w, s, c, roles, r, err);
}

int access_check(struct wire_server *w, const struct wire_service *s, struct call *c, const json_t *in,
		 struct wire_request *r, struct error *err)
{
	CLEANUP_ERROR struct error why = ERROR_INIT;
	if (c->who->unrestricted || !w->o.authorize)
		return 0;
	const struct wire_access *access = access_find(s, c->operation);
	if (!access)
		error_aws(&why, "AccessDenied", "Quern does not know what %s:%s acts on, so no policy can allow it.",
			  s->scope, c->operation);
	else if (access->open || check(w, s, access, c, in, r, &why) == 0)
		return 0;
	return refuse(s, &why, err);
}

int wire_authorize(struct wire_request *r, const struct principal *who, struct wire_ask *ask, struct error *err)
{
	const struct wire_options *o = &r->server->o;
	if (!o->authorize)
		return 0;
	ask->request = r->inside ? NULL : r;
	ask->region = r->region ? r->region : r->server->region;
	return o->authorize(o->authorize_ctx, &r->arena, who, ask, err);
}
