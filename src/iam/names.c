/* names.c - identifiers, ARNs and policy texts.
 *
 * DESIGN: all randomness comes from the turn, so a simulated day is repeatable. Identifiers look like AWS's (a
 * four-letter kind and base-32 characters), because clients and people tell them apart by that. */
#include <ctype.h>

#include "base/buf.h"
#include "iam/room.h"
#include "wire/uri.h"

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

static const char base32_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

const char *iam_new_id(struct turn *t, const char *prefix, size_t n)
{
	return random_text(t, prefix, n, base32_alphabet, 5);
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
	return uri_encoded(a, document, false).ptr;
}

const char *iam_fixed_id(struct arena *a, const char *prefix, struct str name)
{
	char *id = arena_strdup(a, str_from(arena_printf(a, "%s.................", prefix))); /* 17 places */
	uint64_t hash = str_digest(name);
	for (char *p = id + strlen(prefix); *p; p++, hash = hash * 6364136223846793005u + 1442695040888963407u)
		*p = base32_alphabet[hash >> 59];
	return id;
}

int iam_check_document(struct str document, enum policy_kind kind, struct error *err)
{
	struct policy *p = policy_parse(document, kind, err);
	int rc = !p ? -1 : kind == POLICY_IDENTITY ? policy_check_new(p, err) : 0;
	policy_free(p);
	return rc;
}

const char *iam_fold(struct arena *a, struct str name)
{
	char *z = arena_strdup(a, name);
	for (char *p = z; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return z;
}

/* ---- pages ---- */

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
