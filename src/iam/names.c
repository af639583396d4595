/* names.c - identifiers, ARNs and policy texts.
 *
 * DESIGN: all randomness comes from the turn, so a simulated day is repeatable. Identifiers look like AWS's (a
 * four-letter kind and base-32 characters), because clients and people tell them apart by that. */
#include <ctype.h>

#include "base/buf.h"
#include "iam/room.h"

static const char *random_text(struct turn *t, const char *prefix, size_t n, const char *alphabet, unsigned bits)
{
	size_t have = strlen(prefix);
	char *out = arena_alloc(turn_arena(t), have + n + 1);
	memcpy(out, prefix, have);
	uint64_t word = 0;
	unsigned left = 0;
	for (size_t i = 0; i < n; i++) {
		if (left < bits) {
			word = turn_random(t);
			left = 64;
		}
		out[have + i] = alphabet[word & ((1u << bits) - 1)];
		word >>= bits;
		left -= bits;
	}
	return out;
}

const char *iam_new_id(struct turn *t, const char *prefix, size_t n)
{
	return random_text(t, prefix, n, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 5);
}

static const char base64_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const char *iam_new_secret(struct turn *t)
{
	return random_text(t, "", 40, base64_alphabet, 6);
}

const char *iam_new_token(struct turn *t)
{
	return random_text(t, "", 256, base64_alphabet, 6);
}

const char *iam_arn(struct iam *i, struct arena *a, const char *kind, struct str path, struct str name)
{
	return arena_printf(a, "arn:aws:iam::%s:%s%.*s%.*s", i->account, kind, STR_ARG(path), STR_ARG(name));
}

struct str iam_last_part(struct str arn)
{
	for (size_t n = arn.len; n > 0; n--)
		if (arn.ptr[n - 1] == '/')
			return str_skip(arn, n);
	return arn;
}

/* The part behind "arn:aws:<service>::<account>:", STR_NULL when it is no such ARN. */
static struct str own_resource(struct iam *i, struct str arn, const char *service)
{
	struct str rest = arn, piece[5] = { { 0 } };
	for (int n = 0; n < 5; n++)
		if (!str_split(&rest, ':', &piece[n]))
			return STR_NULL;
	bool ours = str_eqz(piece[0], "arn") && str_eqz(piece[2], service) && str_eqz(piece[4], i->account);
	return ours ? rest : STR_NULL;
}

struct str iam_role_name(struct iam *i, struct str role)
{
	if (!str_starts(role, STR("arn:")))
		return role;
	struct str resource = own_resource(i, role, "iam");
	if (str_starts(resource, STR("role/")))
		return iam_last_part(resource);
	resource = own_resource(i, role, "sts");
	if (!str_starts(resource, STR("assumed-role/")))
		return STR_NULL;
	struct str rest = str_skip(resource, 13), name = STR_NULL;
	str_split(&rest, '/', &name);
	return name;
}

const char *iam_encode_document(struct arena *a, struct str document)
{
	static const char hex[] = "0123456789ABCDEF";
	char *out = arena_alloc_raw(a, 3 * document.len + 1), *o = out;
	for (size_t n = 0; n < document.len; n++) {
		unsigned char ch = (unsigned char)document.ptr[n];
		bool plain = (ch >= '0' && ch <= '9') || (ch >= 'A' && ch <= 'Z') || (ch >= 'a' && ch <= 'z') ||
			     strchr("-_.~", ch);
		if (plain && ch) {
			*o++ = (char)ch;
			continue;
		}
		*o++ = '%';
		*o++ = hex[ch >> 4];
		*o++ = hex[ch & 15];
	}
	*o = 0;
	return out;
}

int iam_check_document(struct str document, enum policy_kind kind, struct error *err)
{
	struct policy *p = policy_parse(document, kind, err);
	policy_free(p);
	return p ? 0 : -1;
}

const char *iam_fold(struct arena *a, struct str name)
{
	char *z = arena_strdup(a, name);
	for (char *p = z; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return z;
}

/* ---- pages and tags ---- */

struct iam_page iam_page_of(const json_t *in)
{
	struct iam_page p = { json_get_str(in, "Marker"), json_get_str(in, "PathPrefix"),
			      json_get_int(in, "MaxItems", 100) };
	if (!p.after.ptr)
		p.after = STR("");
	if (!p.prefix.ptr)
		p.prefix = STR("");
	return p;
}

json_t *iam_page_out(const struct iam_page *page, const char *member, json_t *list, const char *key)
{
	json_t *out = json_object();
	bool more = (int64_t)json_array_size(list) > page->limit;
	if (more) {
		json_array_remove(list, (size_t)page->limit);
		const json_t *last = json_array_get(list, (size_t)page->limit - 1);
		json_set_text(out, "Marker", key ? json_get_text(last, key) : json_string_value(last));
	}
	json_set_bool(out, "IsTruncated", more);
	json_object_set_new(out, member, list);
	return out;
}

static json_t *tag_object(struct str tags)
{
	json_t *v = tags.len ? json_parse(tags, NULL) : NULL;
	return v ? v : json_object();
}

const char *iam_merge_tags(struct arena *a, struct str old, const json_t *tags)
{
	CLEANUP_JSON json_t *all = tag_object(old);
	json_t *tag;
	size_t n;
	json_array_foreach (tags, n, tag)
		json_object_set(all, json_get_text(tag, "Key"), json_object_get(tag, "Value"));
	return json_text(a, all).ptr;
}

const char *iam_drop_tags(struct arena *a, struct str old, const json_t *keys)
{
	CLEANUP_JSON json_t *all = tag_object(old);
	json_t *key;
	size_t n;
	json_array_foreach (keys, n, key)
		json_object_del(all, json_string_value(key));
	return json_text(a, all).ptr;
}

json_t *iam_tag_list(struct str tags)
{
	CLEANUP_JSON json_t *all = tag_object(tags);
	json_t *list = json_array(), *value;
	const char *key;
	json_object_foreach (all, key, value)
		json_array_append_new(list, json_pack("{s:s, s:O}", "Key", key, "Value", value));
	return list;
}
