/* api_cors.c - cross-origin rules of a bucket: kept as the XML the client gave (after checks), matched when a request
 * has an Origin. */
#include "s3/room.h"

enum { RULES_MAX = 100 };

/* ---- rules ---- */

static bool pattern_good(struct str p)
{
	int stars = 0;
	for (size_t i = 0; i < p.len; i++)
		stars += p.ptr[i] == '*';
	return p.len > 0 && stars <= 1;
}

/* At most one '*', standing for anything. */
static bool pattern_matches(struct str p, struct str s, bool nocase)
{
	const ptrdiff_t star = str_find_char(p, '*');
	if (star < 0)
		return nocase ? str_eq_nocase(p, s) : str_eq(p, s);
	const struct str head = str_head(p, (size_t)star), tail = str_skip(p, (size_t)star + 1);
	if (s.len < head.len + tail.len)
		return false;
	const struct str front = str_head(s, head.len), back = str_skip(s, s.len - tail.len);
	return nocase ? str_eq_nocase(front, head) && str_eq_nocase(back, tail)
		      : str_eq(front, head) && str_eq(back, tail);
}

static bool rule_allows(const struct xml_node *rule, const char *element, struct str value, bool nocase)
{
	for (const struct xml_node *n = rule->first; n; n = n->next)
		if (str_eqz(n->name, element) && pattern_matches(n->text, value, nocase))
			return true;
	return false;
}

static bool rule_matches(const struct xml_node *rule, struct str origin, struct str method, struct str headers)
{
	struct str one;
	if (!rule_allows(rule, "AllowedOrigin", origin, false) || !rule_allows(rule, "AllowedMethod", method, false))
		return false;
	while (headers.len && str_split(&headers, ',', &one))
		if (str_trim(one).len && !rule_allows(rule, "AllowedHeader", str_trim(one), true))
			return false;
	return true;
}

static const struct xml_node *find_rule(struct s3_call *c, struct str origin, struct str method, struct str headers)
{
	struct xml_node *root;
	if (s3_xml_parse(c->a, c->bucket.cors, &root, NULL) < 0)
		return NULL;
	for (const struct xml_node *rule = root->first; rule; rule = rule->next)
		if (rule_matches(rule, origin, method, headers))
			return rule;
	return NULL;
}

static const char *joined(struct s3_call *c, const struct xml_node *rule, const char *element)
{
	const char *all = NULL;
	for (const struct xml_node *n = rule->first; n; n = n->next)
		if (str_eqz(n->name, element))
			all = arena_printf(c->a, "%s%s%.*s", all ? all : "", all ? ", " : "", STR_ARG(n->text));
	return all;
}

static void set_headers(struct s3_call *c, const struct xml_node *rule, struct str origin)
{
	const bool any = rule_allows(rule, "AllowedOrigin", STR("*"), false);
	s3_call_sethdr(c, "Access-Control-Allow-Origin", any ? STR("*") : origin);
	if (!any)
		wire_set_header(c->r, "Access-Control-Allow-Credentials", "true");
	wire_set_header(c->r, "Access-Control-Allow-Methods", joined(c, rule, "AllowedMethod"));
	const char *expose = joined(c, rule, "ExposeHeader");
	if (expose)
		wire_set_header(c->r, "Access-Control-Expose-Headers", expose);
	wire_set_header(c->r, "Vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method");
}

void s3_cors_answer(struct s3_call *c)
{
	if (!c->bucket.cors.len || !c->op || str_eqz(c->method, "OPTIONS"))
		return;
	const struct str origin = wire_header(c->r, "origin");
	const struct xml_node *rule = origin.len ? find_rule(c, origin, c->method, STR("")) : NULL;
	if (rule)
		set_headers(c, rule, origin);
}

/* ---- OPTIONS: unsigned ---- */

static int preflight(struct s3_call *c, struct error *err)
{
	const struct str origin = wire_header(c->r, "origin"),
			 method = wire_header(c->r, "access-control-request-method");
	const struct str headers = wire_header(c->r, "access-control-request-headers");
	if (!origin.len || !method.len)
		return s3_error_text(err, "BadRequest", "Insufficient information. Origin request header needed.");
	struct db *db = store_read_begin(c->s->store, err);
	if (!db)
		return -1;
	const int rc = s3_bucket_find(db, c->a, c->bucket_name, &c->bucket, err);
	store_read_end(c->s->store, db);
	if (rc < 0)
		return -1;
	if (rc == 0 || !c->bucket.cors.len)
		return s3_error_text(err, "AccessForbidden", "CORSResponse: CORS is not enabled for this bucket.");
	const struct xml_node *rule = find_rule(c, origin, method, headers);
	if (!rule)
		return s3_error_text(err, "AccessForbidden",
				     "CORSResponse: This CORS request is not allowed. This is usually because the "
				     "evalution of Origin, request method / Access-Control-Request-Method or "
				     "Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.");
	set_headers(c, rule, origin);
	if (headers.len)
		s3_call_sethdr(c, "Access-Control-Allow-Headers", headers);
	const struct str age = s3_xml_child_text(rule, "MaxAgeSeconds");
	if (age.len)
		s3_call_sethdr(c, "Access-Control-Max-Age", age);
	return 0;
}

void s3_options(struct s3_call *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (preflight(c, &err) < 0)
		s3_call_fail(c, &err);
	else
		s3_call_send(c, 200, STR(""));
}

/* ---- configuration ---- */

static int check_rule(const struct xml_node *rule, struct error *err)
{
	static const char *const methods[] = { "GET", "PUT", "HEAD", "POST", "DELETE" };
	int origins = 0, allowed = 0;
	for (const struct xml_node *n = rule->first; n; n = n->next) {
		bool known = !str_eqz(n->name, "AllowedMethod");
		for (size_t i = 0; i < sizeof(methods) / sizeof(*methods) && !known; i++)
			known = str_eqz(n->text, methods[i]);
		if (!known)
			return s3_error_text(err, "InvalidRequest",
					     "Found unsupported HTTP method in CORS config. Unsupported method is %.*s",
					     STR_ARG(n->text));
		if ((str_eqz(n->name, "AllowedOrigin") || str_eqz(n->name, "AllowedHeader")) && !pattern_good(n->text))
			return s3_error_text(err, "InvalidRequest",
					     "%.*s \"%.*s\" can not have more than one wildcard.", STR_ARG(n->name),
					     STR_ARG(n->text));
		int64_t age;
		if (str_eqz(n->name, "MaxAgeSeconds") && (!str_to_i64(n->text, &age) || age < 0))
			return s3_error(err, "MalformedXML");
		origins += str_eqz(n->name, "AllowedOrigin");
		allowed += str_eqz(n->name, "AllowedMethod");
	}
	return str_eqz(rule->name, "CORSRule") && origins && allowed ? 0 : s3_error(err, "MalformedXML");
}

static void write_rule(struct buf *b, const struct xml_node *rule)
{
	static const char *const elements[] = { "ID",           "AllowedHeader", "AllowedMethod", "AllowedOrigin",
						"ExposeHeader", "MaxAgeSeconds" };
	xml_open(b, "CORSRule");
	for (size_t i = 0; i < sizeof(elements) / sizeof(*elements); i++)
		for (const struct xml_node *n = rule->first; n; n = n->next)
			if (str_eqz(n->name, elements[i]))
				xml_text(b, elements[i], n->text);
	xml_close(b, "CORSRule");
}

static int read_document(struct s3_call *c, struct error *err)
{
	struct xml_node *root;
	if (s3_body_store(c, err) < 0 || s3_xml_parse(c->a, buf_str(&c->body.memory), &root, err) < 0)
		return -1;
	int n = 0;
	struct buf b = BUF_INIT;
	s3_xml_start(&b, "CORSConfiguration");
	for (const struct xml_node *rule = root->first; rule; rule = rule->next, n++) {
		if (check_rule(rule, err) < 0) {
			buf_release(&b);
			return -1;
		}
		write_rule(&b, rule);
	}
	xml_close(&b, "CORSConfiguration");
	c->work = arena_strdup(c->a, buf_str(&b));
	buf_release(&b);
	return str_eqz(root->name, "CORSConfiguration") && n > 0 && n <= RULES_MAX ? 0 : s3_error(err, "MalformedXML");
}

static int write_cors(struct s3_call *c, struct turn *t, struct error *err)
{
	if (s3_call_bucket_now(c, turn_db(t), err) < 0)
		return -1;
	return db_exec(turn_db(t), err, "UPDATE s3_bucket SET cors=? WHERE id=?", "si", (const char *)c->work,
		       c->bucket.id) < 0
		       ? -1
		       : 0;
}

void s3_put_bucket_cors(struct s3_call *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (read_document(c, &err) < 0)
		s3_call_fail(c, &err);
	else
		s3_call_write(c, write_cors, s3_answer_200);
}

void s3_delete_bucket_cors(struct s3_call *c)
{
	c->work = NULL;
	s3_call_write(c, write_cors, s3_answer_204);
}

void s3_get_bucket_cors(struct s3_call *c)
{
	struct db *db = s3_call_read(c);
	if (!db)
		return;
	s3_call_read_end(c, db);
	if (!c->bucket.cors.len) {
		CLEANUP_ERROR struct error err = ERROR_INIT;
		s3_error(&err, "NoSuchCORSConfiguration");
		s3_call_fail(c, &err);
		return;
	}
	struct buf b = BUF_INIT;
	buf_add_str(&b, c->bucket.cors);
	s3_call_send_xml(c, 200, &b);
}
