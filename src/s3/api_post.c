/* api_post.c - PostObject: an object from a browser's form.
 *
 * DESIGN: the form comes unsigned; its policy document is signed (SigV4, or version 2) and says what the form may
 * contain. All fields before the file are needed to decide, so authentication and conditions are checked when the file
 * begins; its bytes then stream like a PUT's. Fields stand where a PUT has headers. */
#include "s3/form.h"
#include "s3/policy.h"
#include "s3/room.h"

#include "base/id.h"
#include "wire/uri.h"

struct s3_form {
	struct form_parser parser;
	struct policy_field fields[FORM_MAX_FIELDS + 1];
	size_t n;
	struct str filename;
	int64_t min_bytes;
	bool started;
};

/* ---- fields ---- */

struct str s3_form_field(const struct s3_form *f, const char *name)
{
	if (strcmp(name, "x-amz-acl") == 0)
		name = "acl";
	for (size_t i = 0; i < f->n; i++)
		if (str_eq_nocase(f->fields[i].name, str_from(name)))
			return f->fields[i].value;
	return STR_NULL;
}

void s3_form_each(const struct s3_form *f, void (*fn)(void *ctx, struct str name, struct str value), void *ctx)
{
	for (size_t i = 0; i < f->n; i++)
		fn(ctx, f->fields[i].name, f->fields[i].value);
}

static int on_field(void *ctx, struct str name, struct str value, struct error *err)
{
	struct s3_call *c = ctx;
	struct s3_form *f = c->form;
	if (f->started)
		return 0; /* what comes after the file doesn't count */
	f->fields[f->n].name = arena_str(c->a, name);
	f->fields[f->n++].value = arena_str(c->a, value);
	return 0;
}

/* "user/${filename}" */
static struct str fill_in_filename(struct s3_call *c, struct str key)
{
	const ptrdiff_t at = str_find(key, STR("${filename}"));
	if (at < 0)
		return key;
	struct str name = c->form->filename;
	for (size_t i = name.len; i-- > 0;)
		if (name.ptr[i] == '/' || name.ptr[i] == '\\') {
			name = str_skip(name, i + 1);
			break;
		}
	return str_from(arena_printf(c->a, "%.*s%.*s%.*s", (int)at, key.ptr, STR_ARG(name),
				     STR_ARG(str_skip(key, (size_t)at + 11))));
}

/* ---- who, and may they ---- */

static int check_signature(struct s3_call *c, struct error *err)
{
	const struct s3_form *f = c->form;
	if (!s3_form_field(f, "policy").ptr)
		return s3_error(err, "AccessDenied");
	if (s3_form_field(f, "AWSAccessKeyId").ptr) {
		if (!s3_form_field(f, "signature").ptr)
			return s3_error_argument(c, err, "signature", STR(""),
						 "Bucket POST must contain a field named 'signature'.  If it is "
						 "specified, please check the order of the fields.");
		return wire_check_v2(c->r, s3_form_field(f, "AWSAccessKeyId"), s3_form_field(f, "x-amz-security-token"),
				     s3_form_field(f, "policy"), s3_form_field(f, "signature"), err);
	}
	static const char *const needed[] = { "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature" };
	for (size_t i = 0; i < sizeof(needed) / sizeof(*needed); i++)
		if (!s3_form_field(f, needed[i]).ptr)
			return s3_error_argument(c, err, needed[i], STR(""),
						 "Bucket POST must contain a field named like this. If it is "
						 "specified, please check the order of the fields.");
	if (!str_eqz(s3_form_field(f, "x-amz-algorithm"), "AWS4-HMAC-SHA256"))
		return s3_error_argument(c, err, "x-amz-algorithm", s3_form_field(f, "x-amz-algorithm"),
					 "The only accepted algorithm is AWS4-HMAC-SHA256");
	return wire_check_policy(c->r, s3_form_field(f, "policy"), s3_form_field(f, "x-amz-credential"),
				 s3_form_field(f, "x-amz-date"), s3_form_field(f, "x-amz-signature"),
				 s3_form_field(f, "x-amz-security-token"), err);
}

static int check_policy(struct s3_call *c, struct error *err)
{
	struct s3_form *f = c->form;
	const struct str text = s3_form_field(f, "policy");
	char *document = arena_alloc(c->a, 3 * (text.len / 4) + 3);
	const ptrdiff_t n = base64_decode(document, text);
	if (n < 0)
		return s3_error(err, "InvalidPolicyDocument");
	f->fields[f->n] = (struct policy_field){ STR("bucket"), c->bucket_name };
	return policy_check(c->a, str_of(document, (size_t)n), f->fields, f->n + 1, engine_now_ms(c->s->engine),
			    &f->min_bytes, &c->body.limit_bytes, err);
}

static int check_bucket(struct s3_call *c, struct error *err)
{
	struct db *db = store_read_begin(c->s->store, err);
	if (!db)
		return -1;
	const int rc = s3_call_bucket_now(c, db, err);
	store_read_end(c->s->store, db);
	return rc;
}

static int read_tags(struct s3_call *c, struct error *err)
{
	const struct str text = s3_form_field(c->form, "tagging");
	struct xml_node *root;
	if (!text.len)
		return 0;
	return s3_xml_parse(c->a, text, &root, err) < 0 ? -1
							: s3_tags_parse_xml(c, root, S3_TAGS_MAX, &c->object.tags, err);
}

static int on_file(void *ctx, struct str filename, struct str content_type, struct error *err)
{
	struct s3_call *c = ctx;
	struct s3_form *f = c->form;
	f->started = true;
	f->filename = arena_str(c->a, filename);
	for (size_t i = 0; i < f->n; i++) /* the policy speaks of the whole key */
		if (str_eq_nocase(f->fields[i].name, STR("key")))
			f->fields[i].value = fill_in_filename(c, f->fields[i].value);
	c->key = s3_form_field(f, "key");
	if (!c->key.len)
		return s3_error_argument(c, err, "key", STR(""),
					 "Bucket POST must contain a field named 'key'.  If it is specified, please "
					 "check the order of the fields.");
	if (s3_key_check(c, c->key, err) < 0 || check_signature(c, err) < 0 || check_policy(c, err) < 0 ||
	    s3_access_check(c, err) < 0 || check_bucket(c, err) < 0)
		return -1;
	const int64_t max = c->body.limit_bytes;
	c->object = (struct s3_object){ .key = c->key };
	if (s3_meta_read(c, &c->object, err) < 0 || read_tags(c, err) < 0)
		return -1;
	c->body.algo_default = CHECKSUM_CRC64NVME;
	if (s3_body_open(c, S3_BODY_DATA, -1, err) < 0)
		return -1;
	if (max < c->body.limit_bytes)
		c->body.limit_bytes = max;
	return 0;
}

static int on_data(void *ctx, const void *p, size_t n, struct error *err)
{
	return s3_body_add(ctx, p, n, err);
}

int s3_post_begin(struct s3_call *c, struct error *err)
{
	const struct form_events events = { on_field, on_file, on_data, c };
	const struct str type = wire_header(c->r, "content-type");
	if (!str_eq_nocase(str_head(type, 19), STR("multipart/form-data")))
		return s3_error_text(err, "MethodNotAllowed",
				     "Bucket POST must be of the enclosure-type multipart/form-data");
	c->form = ARENA_NEW(c->a, struct s3_form);
	return form_init(&c->form->parser, type, &events, err);
}

int s3_form_feed(struct s3_call *c, const void *p, size_t n, struct error *err)
{
	return form_feed(&c->form->parser, p, n, err);
}

void s3_form_release(struct s3_call *c)
{
	if (c->form)
		form_release(&c->form->parser);
}

/* ---- the answer ---- */

static void redirect(struct s3_call *c, struct str to)
{
	const char *query = str_find_char(to, '?') < 0 ? "?" : "&";
	wire_set_header(c->r, "Location",
			arena_printf(c->a, "%.*s%sbucket=%.*s&key=%s&etag=%%22%.*s%%22", STR_ARG(to), query,
				     STR_ARG(c->bucket_name), uri_encoded(c->a, c->key, true).ptr,
				     STR_ARG(c->object.etag)));
	s3_call_send(c, 303, STR(""));
}

static void answer(struct s3_call *c)
{
	const struct str to = s3_form_field(c->form, "success_action_redirect"),
			 plain = s3_form_field(c->form, "redirect");
	const struct str status = s3_form_field(c->form, "success_action_status");
	const char *location = arena_printf(
		c->a, "http://%.*s%s%.*s/%s", STR_ARG(wire_header(c->r, "host")), c->virtual_host ? "" : "/",
		STR_ARG(c->virtual_host ? STR("") : c->bucket_name), uri_encoded(c->a, c->key, true).ptr);
	wire_set_header(c->r, "ETag", arena_printf(c->a, "\"%.*s\"", STR_ARG(c->object.etag)));
	s3_checksum_headers(c, c->object.checksum);
	s3_put_headers(c);
	if (str_starts(to, STR("http")) || str_starts(plain, STR("http"))) {
		redirect(c, to.len ? to : plain);
		return;
	}
	wire_set_header(c->r, "Location", location);
	if (!str_eqz(status, "201")) {
		s3_call_send(c, str_eqz(status, "200") ? 200 : 204, STR(""));
		return;
	}
	struct buf b = BUF_INIT;
	buf_addz(&b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
	xml_open(&b, "PostResponse");
	xml_text(&b, "Location", str_from(location));
	xml_text(&b, "Bucket", c->bucket_name);
	xml_text(&b, "Key", c->key);
	s3_xml_etag(&b, c->object.etag);
	xml_close(&b, "PostResponse");
	s3_call_send_xml(c, 201, &b);
}

void s3_post_object(struct s3_call *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	int rc = form_end(&c->form->parser, &err);
	if (rc == 0 && !c->form->started)
		rc = s3_error_argument(c, &err, "file", STR("0"), "POST requires exactly one file upload per request.");
	if (rc == 0 && c->body.size_bytes < c->form->min_bytes)
		rc = s3_error(&err, "EntityTooSmall");
	if (rc < 0)
		s3_call_fail(c, &err);
	else
		s3_put_store(c, answer);
}
