/* stage_name.c - file names of objects, and manifests: the pure part of staging. */
#include "sagemaker/stage.h"

#include "base/json.h"

/* Drops empty parts, refuses ".." and ".", keeps a trailing slash (a directory marker). */
static int clean(struct arena *a, struct str rest, struct str key, struct str *out, struct error *err)
{
	char *p = arena_alloc_raw(a, rest.len + 2);
	size_t n = 0;
	bool marker = rest.len == 0 || rest.ptr[rest.len - 1] == '/';
	struct str part;
	while (str_split(&rest, '/', &part)) {
		if (part.len == 0)
			continue;
		if (str_eqz(part, "..") || str_eqz(part, ".") || str_find_char(part, 0) >= 0 || part.len > 255)
			return error_aws(err, STAGE_CLIENT_ERROR, "The object key \"%.*s\" cannot be a file name.",
					 STR_ARG(key));
		if (n)
			p[n++] = '/';
		memcpy(p + n, part.ptr, part.len);
		n += part.len;
	}
	if (n && marker)
		p[n++] = '/';
	p[n] = 0;
	*out = str_of(p, n);
	return 0;
}

int stage_file_name(struct arena *a, struct str prefix, struct str key, struct str *out, struct error *err)
{
	size_t cut = prefix.len;
	if (!str_starts(key, prefix))
		return error_set(err, "object `%.*s` is not below `%.*s`", STR_ARG(key), STR_ARG(prefix));
	bool at_border = prefix.len == 0 || prefix.ptr[prefix.len - 1] == '/' ||
			 (key.len > prefix.len && key.ptr[prefix.len] == '/');
	if (!at_border)
		while (cut && prefix.ptr[cut - 1] != '/')
			cut--;
	return clean(a, str_skip(key, cut), key, out, err);
}

static int bad_manifest(struct error *err, const char *why)
{
	return error_aws(err, STAGE_CLIENT_ERROR, "The manifest file is not valid: %s.", why);
}

int stage_each_in_manifest(struct str text, int (*fn)(void *ctx, struct str prefix, struct str name), void *ctx,
			   struct error *err)
{
	CLEANUP_ERROR struct error why = ERROR_INIT;
	CLEANUP_JSON json_t *list = json_parse(text, &why);
	if (!list)
		return bad_manifest(err, error_text(&why));
	struct str prefix = json_get_str(json_array_get(list, 0), "prefix");
	if (!json_is_array(list) || !prefix.ptr)
		return bad_manifest(err, "it must be a list whose first element is {\"prefix\": \"s3://...\"}");
	for (size_t i = 1; i < json_array_size(list); i++) {
		struct str name = json_str(json_array_get(list, i));
		if (!name.ptr)
			return bad_manifest(err, "every element behind the first must be a string");
		int rc = fn(ctx, prefix, name);
		if (rc)
			return rc;
	}
	return 0;
}

const char *stage_missing_text(struct arena *a, struct str uri, const char *region, const char *role)
{
	struct str bucket = STR(""), key;
	s3_parse_uri(uri, &bucket, &key);
	return arena_printf(a,
			    "No S3 objects found under S3 URL \"%.*s\" given in input data source. Please ensure that "
			    "the bucket exists in the "
			    "selected region (%s), that objects exist under that S3 prefix, and that the role \"%s\" "
			    "has \"s3:ListBucket\" "
			    "permissions on bucket \"%.*s\".",
			    STR_ARG(uri), region, role, STR_ARG(bucket));
}

static int seen_one(void *ctx, const struct s3_entry *e)
{
	*(bool *)ctx = true;
	return 1;
}

struct exact {
	struct str key;
	bool found;
};

static int seen_exact(void *ctx, const struct s3_entry *e)
{
	struct exact *x = ctx;
	x->found = str_eq(e->key, x->key);
	return 1; /* the shortest key with the prefix comes first */
}

int stage_has_objects(struct db *db, struct str uri, bool manifest, struct error *err)
{
	CLEANUP_ERROR struct error why = ERROR_INIT;
	struct str bucket, key;
	bool any = false;
	if (!s3_parse_uri(uri, &bucket, &key))
		return 0;
	struct exact exact = { .key = key };
	int rc = manifest ? s3_each(db, bucket, key, seen_exact, &exact, &why)
			  : s3_each(db, bucket, key, seen_one, &any, &why);
	if (rc < 0)
		return error_is(&why, "NoSuchBucket") ? 0 : error_move(err, &why);
	return manifest ? exact.found : any;
}
