/* api_tags.c - tags of objects and buckets: reading, checking, operations.
 *
 * DESIGN: tags are kept as "k=v&k=v" with percent-encoding, sorted by key: the form of the x-amz-tagging header. */
#include "s3/room.h"

#include <ctype.h>
#include <stdlib.h>

#include "base/id.h"
#include "wire/uri.h"

/* ---- encoding ---- */

static bool decode(struct arena *a, struct str s, struct str *out)
{
	char *p = arena_alloc(a, s.len + 1);
	size_t n = 0;
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '%') {
			if (i + 2 >= s.len || hex_digit(s.ptr[i + 1]) < 0 || hex_digit(s.ptr[i + 2]) < 0)
				return false;
			p[n++] = (char)(hex_digit(s.ptr[i + 1]) << 4 | hex_digit(s.ptr[i + 2]));
			i += 2;
		} else {
			p[n++] = s.ptr[i] == '+' ? ' ' : s.ptr[i];
		}
	}
	*out = str_of(p, n);
	return true;
}

static size_t utf8_length(struct str s)
{
	size_t n = 0;
	for (size_t i = 0; i < s.len; i++)
		n += ((unsigned char)s.ptr[i] & 0xC0) != 0x80;
	return n;
}

/* ---- checking ---- */

struct tag {
	struct str key, value;
};
struct tag_list {
	struct tag tags[S3_BUCKET_TAGS_MAX];
	int n, max;
};

/* Letters, digits, space and + - = . _ : / @ of ASCII; all that is not ASCII. */
static bool characters_good(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		const unsigned char ch = (unsigned char)s.ptr[i];
		if (ch < 0x80 && !isalnum(ch) && !strchr(" +-=._:/@", ch))
			return false;
		if (ch == 0)
			return false;
	}
	return str_is_utf8(s);
}

static bool has_key(const struct tag_list *l, struct str key)
{
	for (int i = 0; i < l->n; i++)
		if (str_eq(l->tags[i].key, key))
			return true;
	return false;
}

static int add_tag(struct s3_call *c, struct tag_list *l, struct str key, struct str value, struct error *err)
{
	if (l->n == l->max)
		return s3_error_text(err, "BadRequest", "%s tags cannot be greater than %d",
				     l->max == S3_TAGS_MAX ? "Object" : "Bucket", l->max);
	if (!key.len || utf8_length(key) > 128 || !characters_good(key)) {
		s3_call_detail(c, "TagKey", key);
		return s3_error_text(err, "InvalidTag", "The TagKey you have provided is invalid");
	}
	if (utf8_length(value) > 256 || !characters_good(value)) {
		s3_call_detail(c, "TagKey", key);
		s3_call_detail(c, "TagValue", value);
		return s3_error_text(err, "InvalidTag", "The TagValue you have provided is invalid");
	}
	if (str_starts(key, STR("aws:"))) {
		s3_call_detail(c, "TagKey", key);
		return s3_error_text(err, "InvalidTag", "%s",
				     l->max == S3_TAGS_MAX ? "Your TagKey cannot be prefixed with aws:"
							   : "System tags cannot be added/updated by requester");
	}
	if (has_key(l, key)) {
		s3_call_detail(c, "TagKey", key);
		return s3_error_text(err, "InvalidTag", "Cannot provide multiple Tags with the same key");
	}
	l->tags[l->n++] = (struct tag){ key, value };
	return 0;
}

static int by_key(const void *a, const void *b)
{
	return str_cmp(((const struct tag *)a)->key, ((const struct tag *)b)->key);
}

static struct str stored_form(struct s3_call *c, struct tag_list *l)
{
	CLEANUP_BUF struct buf text = BUF_INIT;
	qsort(l->tags, (size_t)l->n, sizeof(l->tags[0]), by_key);
	for (int i = 0; i < l->n; i++) {
		if (i > 0)
			buf_add_char(&text, '&');
		buf_add_str(&text, uri_encoded(c->a, l->tags[i].key, false));
		buf_add_char(&text, '=');
		buf_add_str(&text, uri_encoded(c->a, l->tags[i].value, false));
	}
	return arena_str(c->a, buf_str(&text));
}

int s3_tags_parse_header(struct s3_call *c, struct str text, struct str *out, struct error *err)
{
	struct tag_list l = { .max = S3_TAGS_MAX };
	const struct str whole = text;
	struct str pair;
	int rc = 0;
	while (rc == 0 && text.ptr && str_split(&text, '&', &pair)) {
		const ptrdiff_t eq = str_find_char(pair, '=');
		struct str key, value;
		if (!pair.len)
			continue;
		if (!decode(c->a, eq < 0 ? pair : str_head(pair, (size_t)eq), &key) ||
		    !decode(c->a, eq < 0 ? STR("") : str_skip(pair, (size_t)eq + 1), &value) || has_key(&l, key))
			rc = s3_error_argument(c, err, "x-amz-tagging", whole,
					       "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded "
					       "URL query parameters without tag name duplicates.");
		else
			rc = add_tag(c, &l, key, value, err);
	}
	if (rc == 0)
		*out = stored_form(c, &l);
	return rc;
}

int s3_tags_parse_xml(struct s3_call *c, const struct xml_node *tagging, int max, struct str *out, struct error *err)
{
	struct tag_list l = { .max = max };
	const struct xml_node *set = str_eqz(tagging->name, "Tagging") ? s3_xml_child(tagging, "TagSet") : NULL;
	if (!set)
		return s3_error(err, "MalformedXML");
	int rc = 0;
	for (const struct xml_node *t = set->first; rc == 0 && t; t = t->next) {
		const struct str key = s3_xml_child_text(t, "Key"), value = s3_xml_child_text(t, "Value");
		if (!str_eqz(t->name, "Tag") || !key.ptr || !value.ptr)
			rc = s3_error(err, "MalformedXML");
		else
			rc = add_tag(c, &l, key, value, err);
	}
	if (rc == 0)
		*out = stored_form(c, &l);
	return rc;
}

int s3_tags_count(struct str tags)
{
	int n = tags.len > 0;
	for (size_t i = 0; i < tags.len; i++)
		n += tags.ptr[i] == '&';
	return n;
}

/* ---- operations ---- */

static void send_tags(struct s3_call *c, struct str tags)
{
	struct buf b = BUF_INIT;
	struct str pair;
	s3_xml_start(&b, "Tagging");
	xml_open(&b, "TagSet");
	while (tags.len && str_split(&tags, '&', &pair)) {
		const ptrdiff_t eq = str_find_char(pair, '=');
		struct str key = STR(""), value = STR("");
		if (eq < 0 || !decode(c->a, str_head(pair, (size_t)eq), &key) ||
		    !decode(c->a, str_skip(pair, (size_t)eq + 1), &value))
			continue;
		xml_open(&b, "Tag");
		xml_text(&b, "Key", key);
		xml_text(&b, "Value", value);
		xml_close(&b, "Tag");
	}
	xml_close(&b, "TagSet");
	xml_close(&b, "Tagging");
	s3_call_send_xml(c, 200, &b);
}

static int read_document(struct s3_call *c, int max, struct str *out, struct error *err)
{
	struct xml_node *root;
	if (s3_body_store(c, err) < 0 || s3_xml_parse(c->a, buf_str(&c->body.memory), &root, err) < 0)
		return -1;
	return s3_tags_parse_xml(c, root, max, out, err);
}

void s3_get_bucket_tagging(struct s3_call *c)
{
	struct db *db = s3_call_read(c);
	if (!db)
		return;
	s3_call_read_end(c, db);
	if (c->bucket.tags.len) {
		send_tags(c, c->bucket.tags);
		return;
	}
	CLEANUP_ERROR struct error err = ERROR_INIT;
	s3_error(&err, "NoSuchTagSet");
	s3_call_fail(c, &err);
}

static int write_bucket_tags(struct s3_call *c, struct turn *t, struct error *err)
{
	if (s3_call_bucket_now(c, turn_db(t), err) < 0)
		return -1;
	return db_exec(turn_db(t), err, "UPDATE s3_bucket SET tags=? WHERE id=?", "Si", c->object.tags, c->bucket.id) <
			       0
		       ? -1
		       : 0;
}

void s3_put_bucket_tagging(struct s3_call *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (read_document(c, S3_BUCKET_TAGS_MAX, &c->object.tags, &err) < 0)
		s3_call_fail(c, &err);
	else
		s3_call_write(c, write_bucket_tags, s3_answer_204);
}

void s3_delete_bucket_tagging(struct s3_call *c)
{
	c->object.tags = STR_NULL;
	s3_call_write(c, write_bucket_tags, s3_answer_204);
}

void s3_get_object_tagging(struct s3_call *c)
{
	if (!s3_call_read_object(c))
		return;
	s3_call_version_header(c, &c->object);
	send_tags(c, c->object.tags);
}

static int write_object_tags(struct s3_call *c, struct turn *t, struct error *err)
{
	const struct str tags = c->object.tags;
	if (s3_call_bucket_now(c, turn_db(t), err) < 0 || s3_call_object(c, turn_db(t), false, &c->object, err) < 0)
		return -1;
	return db_exec(turn_db(t), err, "UPDATE s3_object SET tags=? WHERE id=?", "Si", tags.len ? tags : STR_NULL,
		       c->object.id) < 0
		       ? -1
		       : 0;
}

static void answer_tagged(struct s3_call *c)
{
	s3_call_version_header(c, &c->object);
	if (str_eqz(c->method, "DELETE"))
		s3_answer_204(c);
	else
		s3_answer_200(c);
}

void s3_put_object_tagging(struct s3_call *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (read_document(c, S3_TAGS_MAX, &c->object.tags, &err) < 0)
		s3_call_fail(c, &err);
	else
		s3_call_write(c, write_object_tags, answer_tagged);
}

void s3_delete_object_tagging(struct s3_call *c)
{
	c->object.tags = STR("");
	s3_call_write(c, write_object_tags, answer_tagged);
}
