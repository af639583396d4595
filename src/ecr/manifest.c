/* manifest.c - digests, names and manifests. Source: OCI image and distribution specifications 1.1; ECR API reference.
 */
#include <ctype.h>
#include <stdio.h>

#include "base/id.h"
#include "ecr/room.h"

#define FOREIGN_MAX ((int64_t)1 << 40)
enum { REFS_MAX = 4096 };

static bool is_lower_hex(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!((s.ptr[i] >= '0' && s.ptr[i] <= '9') || (s.ptr[i] >= 'a' && s.ptr[i] <= 'f')))
			return false;
	return true;
}

bool ecr_digest_valid(struct str digest)
{
	if (str_starts(digest, STR("sha256:")))
		return digest.len == 7 + 64 && is_lower_hex(str_skip(digest, 7));
	return str_starts(digest, STR("sha512:")) && digest.len == 7 + 128 && is_lower_hex(str_skip(digest, 7));
}

bool ecr_is_digest(struct str reference)
{
	return str_find_char(reference, ':') >= 0;
}

/* [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}; ECR allows 300 characters. */
bool ecr_tag_valid(struct str tag)
{
	if (tag.len == 0 || tag.len > 300 || tag.ptr[0] == '.' || tag.ptr[0] == '-')
		return false;
	for (size_t i = 0; i < tag.len; i++)
		if (!isalnum((unsigned char)tag.ptr[i]) && !strchr("._-", tag.ptr[i]))
			return false;
	return true;
}

/* [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/...)*, 2 to 256 characters. */
bool ecr_repository_valid(struct str name)
{
	bool letter = false;
	if (name.len < 2 || name.len > 256)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];
		if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) {
			letter = true;
			continue;
		}
		if (!strchr("._-/", c) || !letter)
			return false;
		if (c == '/' || c == '.') /* must be followed by a letter or digit */
			letter = false;
		else if (c == '_' && i >= 2 && name.ptr[i - 1] == '_' && name.ptr[i - 2] == '_')
			return false;
		if (c == '.' && i > 0 && strchr("._-", name.ptr[i - 1]))
			return false;
		if ((c == '_' || c == '-') && i > 0 && strchr("./", name.ptr[i - 1]))
			return false;
	}
	return letter && !strchr("._-/", name.ptr[name.len - 1]);
}

const char *ecr_digest(struct arena *a, struct str bytes, struct str like)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	char hex[2 * EVP_MAX_MD_SIZE + 1];
	unsigned size = 0;
	bool long_form = str_starts(like, STR("sha512"));
	if (!long_form && like.len && !str_starts(like, STR("sha256")))
		return NULL;
	EVP_Digest(bytes.ptr ? bytes.ptr : "", bytes.len, digest, &size, long_form ? EVP_sha512() : EVP_sha256(), NULL);
	hex_encode(hex, digest, size);
	return arena_printf(a, "%s:%s", long_form ? "sha512" : "sha256", hex);
}

json_t *ecr_manifest_json(struct str body)
{
	return json_parse(body, NULL);
}

/* Layers that are kept elsewhere need no blob here. */
static bool is_foreign(const json_t *descriptor)
{
	struct str type = json_get_str(descriptor, "mediaType");
	return str_find(type, STR("nondistributable")) >= 0 || str_find(type, STR("foreign")) >= 0;
}

static int check_blob(struct db *db, struct arena *a, struct str repo, const json_t *descriptor, int64_t *total,
		      struct error *err)
{
	const char *blob;
	int64_t size;
	struct str digest = json_get_str(descriptor, "digest");
	if (!ecr_digest_valid(digest))
		return error_aws(
			err, "InvalidParameterException",
			"Invalid parameter at 'imageManifest' failed to satisfy constraint: 'Invalid JSON syntax'");
	if (is_foreign(descriptor)) {
		size = json_get_int(descriptor, "size", 0);
		*total += size > 0 && size < FOREIGN_MAX ? size : 0;
		return 0;
	}
	int rc = ecr_blob_find(db, a, repo, digest, &blob, &size, err);
	*total += rc == 1 ? size : 0;
	if (rc == 0)
		return error_aws(err, "LayersNotFoundException", "The blob %.*s is not in the repository '%.*s'",
				 STR_ARG(digest), STR_ARG(repo));
	return rc < 0 ? rc : 0;
}

/* The size of an index is that of its largest image. */
static int check_index(struct db *db, struct arena *a, struct str repo, const json_t *doc, int64_t *total,
		       struct error *err)
{
	json_t *child;
	size_t i;
	json_array_foreach (json_get(doc, "manifests"), i, child) {
		struct ecr_image image;
		struct str digest = json_get_str(child, "digest");
		int rc = ecr_digest_valid(digest) ? ecr_image_find(db, a, repo, digest, &image, err) : 0;
		if (rc < 0)
			return rc;
		if (rc == 0)
			return error_aws(err, "ReferencedImagesNotFoundException",
					 "The image with digest '%.*s' is not in the repository '%.*s'",
					 STR_ARG(digest), STR_ARG(repo));
		*total = image.size_bytes > *total ? image.size_bytes : *total;
	}
	return 0;
}

static int malformed(struct error *err)
{
	return error_aws(err, "InvalidParameterException",
			 "Invalid parameter at 'imageManifest' failed to satisfy constraint: 'Invalid JSON syntax'");
}

int ecr_manifest_read(struct db *db, struct arena *a, struct str repo, struct str media_type, struct str body,
		      struct ecr_image *out, struct error *err)
{
	CLEANUP_JSON json_t *doc = ecr_manifest_json(body);
	json_t *layer, *config = json_get(doc, "config"), *layers = json_get(doc, "layers");
	size_t i;
	int64_t total = (int64_t)body.len;
	if (!json_is_object(doc) || json_array_size(layers) + json_array_size(json_get(doc, "manifests")) > REFS_MAX)
		return malformed(err);
	struct str stated = json_get_str(doc, "mediaType");
	if (media_type.ptr && stated.ptr && !str_eq(media_type, stated))
		return error_aws(err, "InvalidParameterException", "The media type '%.*s' is not the manifest's '%.*s'",
				 STR_ARG(media_type), STR_ARG(stated));
	if (!media_type.ptr)
		media_type = stated.ptr                   ? stated
			     : json_get(doc, "manifests") ? STR("application/vnd.oci.image.index.v1+json")
							  : STR("application/vnd.oci.image.manifest.v1+json");
	if (json_get(doc, "manifests")) {
		if (check_index(db, a, repo, doc, &total, err) < 0)
			return -1;
	} else {
		if (!json_is_object(config) || !json_is_array(layers))
			return malformed(err);
		if (check_blob(db, a, repo, config, &total, err) < 0)
			return -1;
		json_array_foreach (layers, i, layer)
			if (check_blob(db, a, repo, layer, &total, err) < 0)
				return -1;
	}
	struct str subject = json_get_str(json_get(doc, "subject"), "digest"), type = json_get_str(doc, "artifactType"),
		   config_type = json_get_str(config, "mediaType");
	*out = (struct ecr_image){
		.media_type = arena_str(a, media_type),
		.body = body,
		.size_bytes = total,
		.subject = arena_str(a, subject),
		.config_type = arena_str(a, config_type),
		.artifact_type = arena_str(a, type.len ? type : config_type),
		.annotations = json_get(doc, "annotations") ? json_text(a, json_get(doc, "annotations")) : STR_NULL,
	};
	return 0;
}

bool ecr_parse_uri(struct arena *a, const char *uri, const char **repository, const char **reference)
{
	struct str rest = str_from(uri);
	ptrdiff_t slash = str_find_char(rest, '/');
	struct str host = slash > 0 ? str_head(rest, (size_t)slash) : STR_NULL;
	/* A first part with a dot or a port is a registry. */
	if (host.ptr && (str_find_char(host, '.') >= 0 || str_find_char(host, ':') >= 0 || str_eqz(host, "localhost")))
		rest = str_skip(rest, host.len + 1);
	ptrdiff_t at = str_find_char(rest, '@');
	struct str name = at >= 0 ? str_head(rest, (size_t)at) : rest, tag = STR_NULL;
	for (size_t i = name.len; i > 0 && name.ptr[i - 1] != '/'; i--)
		if (name.ptr[i - 1] == ':') {
			tag = str_skip(name, i);
			name = str_head(name, i - 1);
			break;
		}
	struct str ref = at >= 0 ? str_skip(rest, (size_t)at + 1) : tag.ptr ? tag : STR("latest");
	if (!ecr_repository_valid(name) || (at >= 0 ? !ecr_digest_valid(ref) : !ecr_tag_valid(ref)))
		return false;
	*repository = arena_strdup(a, name);
	*reference = arena_strdup(a, ref);
	return true;
}
