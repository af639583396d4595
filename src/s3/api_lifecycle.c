/* api_lifecycle.c - PutBucketLifecycleConfiguration (and the older PutBucketLifecycle, whose rules have a Prefix),
 * GetBucketLifecycleConfiguration, DeleteBucketLifecycle, and the headers that tell when an object or upload goes.
 *
 * DESIGN: the bucket's column has a line with TransitionDefaultMinimumObjectSize and then the document as it is
 * answered. It is read with the bucket's row, so a bucket without rules pays nothing. */
#include "base/clock.h"
#include "s3/lifecycle.h"
#include "wire/uri.h"

#define SIZES_HEADER "x-amz-transition-default-minimum-object-size"

/* Rules that came without an ID get one. */
static void name_rules(struct s3_call *c, struct turn *t, struct s3_lifecycle *l)
{
	for (size_t i = 0; i < l->count; i++)
		if (!l->rules[i].id.len)
			l->rules[i].id = arena_str(c->a, str_from(turn_id(t, 48)));
}

struct lifecycle_put {
	struct s3_lifecycle rules;
	struct str sizes;
};

static int write_lifecycle(struct s3_call *c, struct turn *t, struct error *err)
{
	struct lifecycle_put *put = c->work;
	CLEANUP_BUF struct buf b = BUF_INIT;
	if (s3_call_bucket_now(c, turn_db(t), err) < 0)
		return -1;
	if (put) {
		name_rules(c, t, &put->rules);
		buf_printf(&b, "%.*s\n", STR_ARG(put->sizes));
		s3_lifecycle_xml(&put->rules, &b);
		s3_aging_wake(t);
	}
	return db_exec(turn_db(t), err, "UPDATE s3_bucket SET lifecycle=? WHERE id=?", "Si",
		       put ? buf_str(&b) : STR_NULL, c->bucket.id) < 0
		       ? -1
		       : 0;
}

static int read_sizes(struct s3_call *c, struct str *out, struct error *err)
{
	const struct str given = s3_call_header(c, SIZES_HEADER);
	*out = str_from(s3_lifecycle_sizes[0]);
	if (!given.ptr)
		return 0;
	for (const char *const *p = s3_lifecycle_sizes; *p; p++)
		if (str_eqz(given, *p)) {
			*out = str_from(*p);
			return 0;
		}
	return s3_error_text(err, "InvalidRequest", "Invalid TransitionDefaultMinimumObjectSize found: %.*s",
			     STR_ARG(given));
}

static void answer_put(struct s3_call *c)
{
	const struct lifecycle_put *put = c->work;
	s3_call_sethdr(c, SIZES_HEADER, put->sizes);
	s3_call_send(c, 200, STR(""));
}

void s3_put_bucket_lifecycle(struct s3_call *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct lifecycle_put *put = ARENA_NEW(c->a, struct lifecycle_put);
	struct db *db = s3_call_read(c);
	if (!db)
		return;
	s3_call_read_end(c, db);
	c->work = put;
	if (s3_body_store(c, &err) < 0 || read_sizes(c, &put->sizes, &err) < 0 ||
	    s3_lifecycle_parse(c->a, buf_str(&c->body.memory), &put->rules, &err) < 0)
		s3_call_fail(c, &err);
	else
		s3_call_write(c, write_lifecycle, answer_put);
}

void s3_delete_bucket_lifecycle(struct s3_call *c)
{
	c->work = NULL;
	s3_call_write(c, write_lifecycle, s3_answer_204);
}

void s3_get_bucket_lifecycle(struct s3_call *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct db *db = s3_call_read(c);
	if (!db)
		return;
	s3_call_read_end(c, db);
	struct str document = c->bucket.lifecycle, sizes;
	if (!document.len || !str_split(&document, '\n', &sizes)) {
		s3_error(&err, "NoSuchLifecycleConfiguration");
		s3_call_fail(c, &err);
		return;
	}
	struct buf b = BUF_INIT;
	buf_add_str(&b, document);
	s3_call_sethdr(c, SIZES_HEADER, sizes);
	s3_call_send_xml(c, 200, &b);
}

/* ---- headers ---- */

void s3_lifecycle_header(struct s3_call *c, const struct s3_object *o)
{
	struct s3_lifecycle l;
	const struct s3_rule *rule;
	int64_t at_ms;
	char text[40];
	if (!c->bucket.lifecycle.len || !o->listed || !s3_lifecycle_stored(c->a, c->bucket.lifecycle, &l) ||
	    !s3_lifecycle_expiry(&l, o, c->s->day_ms, &at_ms, &rule))
		return;
	wire_set_header(c->r, "x-amz-expiration",
			arena_printf(c->a, "expiry-date=\"%s\", rule-id=\"%s\"", clock_http(at_ms, text),
				     uri_encoded(c->a, rule->id, false).ptr));
}

void s3_lifecycle_abort_headers(struct s3_call *c, struct str key, int64_t created_ms)
{
	struct s3_lifecycle l;
	const struct s3_rule *rule;
	int64_t at_ms;
	char text[40];
	if (!c->bucket.lifecycle.len || !s3_lifecycle_stored(c->a, c->bucket.lifecycle, &l) ||
	    !s3_lifecycle_abort(&l, key, created_ms, c->s->day_ms, &at_ms, &rule))
		return;
	wire_set_header(c->r, "x-amz-abort-date", clock_http(at_ms, text));
	s3_call_sethdr(c, "x-amz-abort-rule-id", uri_encoded(c->a, rule->id, false));
}
