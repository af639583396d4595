/* fuzz_ecr.c - what clients send to the registry: manifests, lifecycle policies, image URIs, names. Byte 0 picks.
 *
 * DESIGN: a repository "r" with a blob, an index's child and some tagged and untagged images of different ages, so that
 * a manifest that names them is accepted and a policy finds something to expire. */
#include <stdlib.h>

#include "ecr/room.h"
#include "fuzz_json.h"

#define BLOB "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define IMAGE "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb%d"
#define IMAGE_0 "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb0"
enum { IMAGES = 8 };
#define NOW_MS (100LL * 24 * 3600 * 1000)

static struct db *open_repository(void)
{
	struct store *s;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (store_open("", ecr_migrations, &s, &err) < 0)
		abort();
	struct db *db = store_writer(s);
	int rc = db_begin(db, &err);
	rc |= db_exec(db, &err, "INSERT INTO ecr_blob(digest, blob, size) VALUES(?, 'b', 1000)", "s", BLOB) < 0;
	rc |= db_exec(db, &err, "INSERT INTO ecr_link(repo, digest) VALUES('r', ?)", "s", BLOB) < 0;
	for (int i = 0; i < IMAGES; i++) {
		char digest[80], tag[16];
		snprintf(digest, sizeof(digest), IMAGE, i);
		snprintf(tag, sizeof(tag), "v%d", i);
		rc |= db_exec(db, &err,
			      "INSERT INTO ecr_image(repo, digest, media_type, body, pushed_ms, size) VALUES('r', ?, "
			      "'m', "
			      "'{}', ?, 10)",
			      "si", digest, (int64_t)i * NOW_MS / IMAGES) < 0;
		if (i % 2)
			rc |= db_exec(db, &err, "INSERT INTO ecr_tag(repo, tag, digest) VALUES('r', ?, ?)", "ss", tag,
				      digest) < 0;
	}
	if (rc || db_commit(db, &err) < 0)
		abort();
	return db;
}

static void read_manifest(struct db *db, struct arena *a, struct str text)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct ecr_image image;
	if (ecr_manifest_read(db, a, STR("r"), STR_NULL, text, &image, &err) == 0 &&
	    (image.size_bytes < (int64_t)text.len || !image.media_type.ptr))
		abort();
	if (err.message && !err.code[0])
		abort(); /* bad input is an answer, not a fault */
}

/* A policy that passes the check can be applied, and names only images that there are, each once. */
static void apply_policy(struct db *db, struct str text)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (ecr_lifecycle_check(text, &err) < 0) {
		if (!err.code[0])
			abort();
		return;
	}
	CLEANUP_JSON json_t *expired = ecr_lifecycle_apply(db, STR("r"), text, NOW_MS, &err);
	json_t *one, *other;
	size_t i, k;
	if (!expired || json_array_size(expired) > IMAGES)
		abort();
	json_array_foreach (expired, i, one)
		json_array_foreach (expired, k, other)
			if (i != k && str_eq(json_get_str(one, "imageDigest"), json_get_str(other, "imageDigest")))
				abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct db *db;
	struct arena a = ARENA_INIT;
	const char *repository, *reference;
	if (!db)
		db = open_repository();
	if (size < 1)
		return 0;
	struct str text = str_of((const char *)data + 1, size - 1);
	switch (data[0] % 4) {
	case 0:
		read_manifest(db, &a, text);
		break;
	case 1:
		apply_policy(db, text);
		break;
	case 2:
		if (ecr_parse_uri(&a, arena_strdup(&a, text), &repository, &reference) &&
		    !ecr_repository_valid(str_from(repository)))
			abort();
		break;
	default:
		ecr_tag_valid(text);
		ecr_repository_valid(text);
		if (ecr_digest_valid(text) && !ecr_digest(&a, text, text))
			abort();
	}
	arena_release(&a);
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
	static const char *const words[] = { "action",
					     "annotations",
					     "any",
					     "artifactType",
					     "config",
					     "countNumber",
					     "countType",
					     "countUnit",
					     "days",
					     "description",
					     "digest",
					     "expire",
					     "imageCountMoreThan",
					     "layers",
					     "manifests",
					     "mediaType",
					     "platform",
					     "rulePriority",
					     "rules",
					     "schemaVersion",
					     "selection",
					     "sinceImagePulled",
					     "sinceImagePushed",
					     "size",
					     "standard",
					     "storageClass",
					     "subject",
					     "tagPatternList",
					     "tagPrefixList",
					     "tagStatus",
					     "tagged",
					     "transition",
					     "type",
					     "untagged",
					     "v",
					     "v*",
					     "*1*",
					     BLOB,
					     IMAGE_0,
					     "application/vnd.oci.image.index.v1+json",
					     "application/vnd.oci.image.manifest.v1+json" };
	return fuzz_json_mutate(data, size, max, seed, 1, words, sizeof(words) / sizeof(*words));
}
