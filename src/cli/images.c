/* images.c - quern images: builds container images from installed Debian packages and folders, without internet; lists
 * what the registry has, and drops what nobody needs.
 *
 * DESIGN: each --packages is one layer, with what the packages depend on and the layers before it lack; all --add make
 * the last one. A layer of packages is known again by the packages' versions: <data>/run/layers/<hash> holds its
 * digests, and when the registry still has it, it is neither packed nor sent a second time. */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/id.h"
#include "base/json.h"
#include "cli/commands.h"
#include "cli/image_tree.h"
#include "cli/registry.h"
#include "cli/table.h"
#include "ecr/ecr.h"

#define TARGET "AmazonEC2ContainerRegistry_V20150921."
#define FORMAT "quern layer 2"
enum { MAX_WORDS = 256, MAX_LAYERS = 32 };

static const char *const default_excludes[] = { "/usr/share/doc/*",  "/usr/share/man/*",     "/usr/share/locale/*",
						"/usr/share/info/*", "/usr/share/lintian/*", "/usr/share/bug/*",
						"/var/cache/*" };

struct build {
	struct config *config;
	struct arena *a;
	const char *repository, *tag;
	const char *wrong;               /* the argument that parse_build does not take; NULL: one is missing */
	const char **layers[MAX_LAYERS]; /* of package names */
	size_t nlayers, nadds, nexcludes, nwithout;
	const char *adds[MAX_WORDS], *excludes[MAX_WORDS],
		*without[MAX_WORDS]; /* without: packages that count as there */
	json_t *settings;            /* the image config's "config" */
	struct push *push;
	struct image_tree tree;
	json_t *manifest_layers, *diff_ids;
};

/* ---- arguments ---- */

/* "a,b c" in the words from argv[*at] on, up to the next option. */
static int take_packages(struct build *b, int argc, char **argv, int *at)
{
	const char **list = ARENA_ARRAY(b->a, const char *, MAX_WORDS);
	size_t n = 0;
	for (; *at + 1 < argc && strncmp(argv[*at + 1], "--", 2) != 0; (*at)++) {
		struct str rest = str_from(argv[*at + 1]), one;
		while (str_split(&rest, ',', &one)) {
			if (n == MAX_WORDS - 1)
				return -1;
			if (one.len)
				list[n++] = arena_strdup(b->a, one);
		}
	}
	if (!n || b->nlayers == MAX_LAYERS)
		return -1;
	b->layers[b->nlayers++] = list;
	return 0;
}

/* A JSON array of words, or one word. */
static int set_words(struct build *b, const char *key, const char *text)
{
	json_t *words = text[0] == '[' ? json_parse(str_from(text), NULL) : json_pack("[s]", text);
	if (!json_is_array(words)) {
		json_decref(words);
		return -1;
	}
	json_object_set_new(b->settings, key, words);
	return 0;
}

static int take_option(struct build *b, const char *option, const char *value)
{
	if (strcmp(option, "--add") == 0 && strstr(value, ":/") && b->nadds < MAX_WORDS)
		b->adds[b->nadds++] = value;
	else if (strcmp(option, "--exclude") == 0 && b->nexcludes < MAX_WORDS - 1)
		b->excludes[b->nexcludes++] = value;
	else if (strcmp(option, "--without") == 0 && b->nwithout < MAX_WORDS)
		b->without[b->nwithout++] = value;
	else if (strcmp(option, "--env") == 0 && strchr(value, '='))
		json_array_append_new(json_get(b->settings, "Env"), json_string(value));
	else if (strcmp(option, "--entrypoint") == 0)
		return set_words(b, "Entrypoint", value);
	else if (strcmp(option, "--command") == 0)
		return set_words(b, "Cmd", value);
	else if (strcmp(option, "--workdir") == 0)
		json_set_text(b->settings, "WorkingDir", value);
	else
		return -1;
	return 0;
}

static int parse_build(struct build *b, int argc, char **argv)
{
	/* Also as it is printed at the end: with the registry's host. */
	if (!ecr_parse_uri(b->a, argv[1], &b->repository, &b->tag) || strchr(b->tag, ':'))
		return -1;
	for (size_t i = 0; i < sizeof(default_excludes) / sizeof(*default_excludes); i++)
		b->excludes[b->nexcludes++] = default_excludes[i];
	for (int i = 2; i < argc; i++) {
		if (strcmp(argv[i], "--packages") == 0) {
			if (take_packages(b, argc, argv, &i) < 0)
				return -1;
		} else if (i + 1 >= argc || strncmp(argv[i], "--", 2) != 0) {
			b->wrong = argv[i];
			return -1;
		} else if (take_option(b, argv[i], argv[i + 1]) < 0) {
			b->wrong = arena_printf(b->a, "%s %s", argv[i], argv[i + 1]);
			return -1;
		} else {
			i++;
		}
	}
	return b->nlayers || b->nadds ? 0 : -1;
}

/* ---- layers ---- */

static void note_layer(struct build *b, const char *digest, const char *diff_id, int64_t size)
{
	json_array_append_new(b->manifest_layers,
			      json_pack("{s:s,s:s,s:I}", "mediaType", "application/vnd.oci.image.layer.v1.tar+zstd",
					"digest", digest, "size", (json_int_t)size));
	json_array_append_new(b->diff_ids, json_string(diff_id));
}

/* Where the digests of a layer of packages are kept; it depends on the layers below, on what is left out and on the
 * date. */
static const char *layer_record(struct build *b, struct buf *key)
{
	unsigned char raw[EVP_MAX_MD_SIZE];
	char hex[65];
	EVP_Digest(key->ptr, key->len, raw, NULL, EVP_sha256(), NULL);
	hex_encode(hex, raw, 32);
	return config_path(b->config, arena_printf(b->a, "run/layers/%s.json", hex));
}

static void keep_record(struct build *b, const char *path, const struct layer_file *f)
{
	CLEANUP_JSON json_t *doc =
		json_pack("{s:s,s:s,s:I}", "digest", f->digest, "diff_id", f->diff_id, "size", (json_int_t)f->size);
	if (mkdir(config_path(b->config, "run/layers"), 0755) < 0 && errno != EEXIST)
		return; /* it is only for speed */
	json_dump_file(doc, path, 0);
}

static int push_layer(struct build *b, const char *what, const char *record, struct error *err)
{
	struct layer_file f;
	if (tree_write(&b->tree, b->tree.layer, &f, err) < 0)
		return -1;
	int rc = push_have(b->push, f.digest, err);
	if (rc == 0)
		rc = push_file(b->push, f.digest, f.fd, f.size, err);
	close(f.fd);
	if (rc < 0)
		return -1;
	fprintf(stderr, "layer %d: %s, %zu entries, %.1f MB, %.19s\n", b->tree.layer + 1, what,
		tree_count(&b->tree, b->tree.layer), (double)f.size / 1e6, f.digest);
	if (record)
		keep_record(b, record, &f);
	note_layer(b, f.digest, f.diff_id, f.size);
	return 0;
}

/* 1 when the registry has the layer from before. */
static int reuse_layer(struct build *b, const char *record, const char *what, struct error *err)
{
	CLEANUP_JSON json_t *doc = json_load_file(record, 0, NULL);
	const char *digest = json_get_text(doc, "digest"), *diff_id = json_get_text(doc, "diff_id");
	if (!digest || !diff_id)
		return 0;
	int rc = push_have(b->push, digest, err);
	if (rc != 1)
		return rc;
	fprintf(stderr, "layer %d: %s, as before, %.19s\n", b->tree.layer + 1, what, digest);
	note_layer(b, digest, diff_id, json_get_int(doc, "size", 0));
	return 1;
}

/* What no package owns and every program expects. */
static void add_skeleton(struct image_tree *t)
{
	static const char *const merged[] = { "/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin" };
	static const char *const dirs[] = { "/dev", "/etc", "/home",    "/opt",     "/proc",     "/run",
					    "/srv", "/sys", "/usr/bin", "/usr/lib", "/usr/sbin", "/var/lib" };
	for (size_t i = 0; i < sizeof(merged) / sizeof(*merged); i++)
		tree_add_host(t, merged[i]);
	for (size_t i = 0; i < sizeof(dirs) / sizeof(*dirs); i++)
		tree_add_dir(t, dirs[i], 0755);
	tree_add_dir(t, "/root", 0700);
	tree_add_dir(t, "/tmp", 01777);
	tree_add_dir(t, "/var/tmp", 01777);
	tree_add_text(
		t, "/etc/passwd",
		STR("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"));
	tree_add_text(t, "/etc/group", STR("root:x:0:\nnogroup:x:65534:\n"));
	tree_add_text(t, "/etc/nsswitch.conf", STR("passwd: files\ngroup: files\nhosts: files dns\n"));
}

static int build_packages(struct build *b, struct error *err)
{
	CLEANUP_BUF struct buf key = BUF_INIT;
	struct map done = MAP_INIT;
	struct dpkg *d = NULL;
	int rc = b->nlayers ? dpkg_open(&d, err) : 0;
	const char *epoch = getenv("SOURCE_DATE_EPOCH");
	buf_printf(&key, FORMAT " %s\n", epoch ? epoch : "");
	for (size_t i = 0; i < b->nexcludes; i++)
		buf_printf(&key, "exclude %s\n", b->excludes[i]);
	for (size_t i = 0; i < b->nwithout; i++)
		map_set(&done, str_from(b->without[i]), b);
	for (size_t i = 0; i < b->nlayers && rc >= 0; i++, b->tree.layer++) {
		const char **packages, *names;
		rc = dpkg_select(d, b->layers[i], &done, b->a, &packages, &names, err);
		if (rc < 0)
			break;
		buf_addz(&key, names);
		buf_addz(&key, "\n");
		size_t n = 0;
		while (packages[n])
			n++;
		const char *what = arena_printf(b->a, "%s%s and what it needs (%zu packages)", b->layers[i][0],
						b->layers[i][1] ? ", ..." : "", n);
		const char *record = layer_record(b, &key);
		/* The files are listed in any case: the layers above must not have them again. */
		rc = dpkg_add_files(d, packages, &b->tree, err);
		if (rc >= 0)
			rc = reuse_layer(b, record, what, err);
		if (rc == 0)
			rc = push_layer(b, what, record, err);
	}
	dpkg_close(d);
	map_release(&done);
	return rc < 0 ? -1 : 0;
}

static int build_adds(struct build *b, struct error *err)
{
	if (!b->nadds)
		return 0;
	for (size_t i = 0; i < b->nadds; i++) {
		const char *to = strstr(b->adds[i], ":/") + 1,
			   *from = arena_strdup(b->a, str_of(b->adds[i], (size_t)(to - 1 - b->adds[i])));
		if (tree_add_copy(&b->tree, from, to, err) < 0)
			return -1;
	}
	tree_add_compiled(&b->tree);
	return push_layer(b, b->nadds == 1 ? b->adds[0] : "added files", NULL, err);
}

/* ---- config and manifest ---- */

static void digest_of(struct str text, char out[72])
{
	unsigned char raw[EVP_MAX_MD_SIZE];
	EVP_Digest(text.ptr, text.len, raw, NULL, EVP_sha256(), NULL);
	memcpy(out, "sha256:", 7);
	hex_encode(out + 7, raw, 32);
}

static const char *architecture(void)
{
	struct utsname u;
	if (uname(&u) < 0 || strcmp(u.machine, "x86_64") == 0)
		return "amd64";
	return strcmp(u.machine, "aarch64") == 0 ? "arm64" : "unknown";
}

static int push_config(struct build *b, char digest[72], int64_t *size, struct error *err)
{
	CLEANUP_JSON json_t *doc =
		json_pack("{s:s,s:s,s:O,s:{s:s,s:O}}", "architecture", architecture(), "os", "linux", "config",
			  b->settings, "rootfs", "type", "layers", "diff_ids", b->diff_ids);
	struct str text = json_text(b->a, doc);
	digest_of(text, digest);
	*size = (int64_t)text.len;
	int rc = push_have(b->push, digest, err);
	return rc != 0 ? rc : push_text(b->push, digest, text, err);
}

static int push_image(struct build *b, struct error *err)
{
	char config[72], digest[72];
	int64_t size;
	if (push_config(b, config, &size, err) < 0)
		return -1;
	CLEANUP_JSON json_t *doc = json_pack("{s:i,s:s,s:{s:s,s:s,s:I},s:O}", "schemaVersion", 2, "mediaType",
					     "application/vnd.oci.image.manifest.v1+json", "config", "mediaType",
					     "application/vnd.oci.image.config.v1+json", "digest", config, "size",
					     (json_int_t)size, "layers", b->manifest_layers);
	struct str text = json_text(b->a, doc);
	digest_of(text, digest);
	if (push_manifest(b->push, b->tag, text, err) < 0)
		return -1;
	const char *host = strstr(config_endpoint(b->config), "://");
	host = host ? host + 3 : "";
	if (b->config->json)
		printf("{\"image\": \"%s/%s:%s\", \"digest\": \"%s\"}\n", host, b->repository, b->tag, digest);
	else
		printf("%s/%s:%s\n%s\n", host, b->repository, b->tag, digest);
	return 0;
}

static int run_build(struct build *b, struct client *cl, struct error *err)
{
	if (push_new(b->config, cl, b->repository, &b->push, err) < 0)
		return -1;
	add_skeleton(&b->tree);
	if (build_packages(b, err) < 0 || build_adds(b, err) < 0)
		return -1;
	return push_image(b, err);
}

static int images_build(struct config *c, int argc, char **argv)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct build b = { .config = c, .a = &c->arena };
	struct client *cl = NULL;
	b.settings = json_pack("{s:[s,s]}", "Env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			       "LANG=C.UTF-8");
	b.manifest_layers = json_array();
	b.diff_ids = json_array();
	tree_init(&b.tree, b.excludes);
	bool good = argc > 1 && parse_build(&b, argc, argv) == 0;
	int rc = good ? client_new(c, &cl, &err) : -1;
	if (rc == 0)
		rc = run_build(&b, cl, &err);
	push_free(b.push);
	client_free(cl);
	tree_release(&b.tree);
	json_decref(b.settings);
	json_decref(b.manifest_layers);
	json_decref(b.diff_ids);
	if (!good)
		return usage("images", b.wrong);
	if (rc < 0)
		error_wrap(&err, "build image `%s`", argv[1]);
	return rc < 0 ? fail_error(NULL, &err) : 0;
}

/* ---- list ---- */

static int list_pages(struct client *cl, const char *target, const char *repository, const char *member, json_t *all,
		      struct error *err)
{
	CLEANUP_JSON json_t *token = NULL;
	do {
		json_t *in = json_object();
		json_set_text(in, "repositoryName", repository);
		if (token)
			json_object_set(in, "nextToken", token);
		CLEANUP_JSON json_t *page = client_call(cl, "ecr", target, in, err);
		if (!page)
			return -1;
		json_array_extend(all, json_get(page, member));
		json_decref(token);
		token = json_incref(json_get(page, "nextToken"));
	} while (token);
	return 0;
}

static int collect_images(struct client *cl, json_t *all, struct error *err)
{
	CLEANUP_JSON json_t *repositories = json_array();
	json_t *repository;
	size_t i;
	if (list_pages(cl, TARGET "DescribeRepositories", NULL, "repositories", repositories, err) < 0)
		return -1;
	json_array_foreach (repositories, i, repository)
		if (list_pages(cl, TARGET "DescribeImages", json_get_text(repository, "repositoryName"), "imageDetails",
			       all, err) < 0)
			return -1;
	return 0;
}

static void print_images(struct config *c, json_t *all)
{
	static const char *const headings[] = { "REPOSITORY", "TAGS", "DIGEST", "SIZE", "PUSHED", NULL };
	struct table t;
	json_t *image, *tag;
	size_t i, j;
	table_init(&t, &c->arena, c->color, headings);
	json_array_foreach (all, i, image) {
		const char *tags = NULL, *digest = json_get_text(image, "imageDigest");
		json_array_foreach (json_get(image, "imageTags"), j, tag)
			tags = arena_printf(&c->arena, "%s%s%s", tags ? tags : "", tags ? "," : "",
					    json_string_value(tag));
		const char *size =
			arena_printf(&c->arena, "%.1f MB", json_get_real(image, "imageSizeInBytes", 0) / 1e6);
		const char *cells[] = { json_get_text(image, "repositoryName"), tags,
					arena_printf(&c->arena, "%.19s", digest ? digest : "-"), size,
					table_ago(&c->arena, json_get_real(image, "imagePushedAt", 0)) };
		table_row(&t, cells);
	}
	table_print(&t, stdout);
}

static int images_list(struct config *c)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_JSON json_t *all = json_array();
	struct client *cl = NULL;
	int rc = client_new(c, &cl, &err);
	if (rc == 0)
		rc = collect_images(cl, all, &err);
	client_free(cl);
	if (rc < 0)
		return fail_error(NULL, &err);
	if (c->json) {
		json_dumpf(all, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		print_images(c, all);
	}
	return 0;
}

/* ---- prune ---- */

static void print_pruned(struct config *c, const json_t *done, bool dry)
{
	static const char *const headings[] = { "WHAT", "COUNT", "SIZE", NULL };
	static const char *const rows[][2] = { { "uploads", "uploads that were given up" },
					       { "blobs", "blobs that no image refers to" },
					       { "layers", "unpacked layers" } };
	struct table t;
	table_init(&t, &c->arena, c->color, headings);
	for (size_t i = 0; i < 3; i++) {
		const json_t *one = json_get(done, rows[i][0]);
		const char *cells[] = {
			rows[i][1], arena_printf(&c->arena, "%lld", (long long)json_get_int(one, "removed", 0)),
			arena_printf(&c->arena, "%.1f MB", json_get_real(one, "removed_bytes", 0) / 1e6)
		};
		table_row(&t, cells);
	}
	table_print(&t, stdout);
	const json_t *layers = json_get(done, "layers");
	if (json_get_text(layers, "error"))
		fprintf(stderr, "unpacked layers were left alone: %s\n", json_get_text(layers, "error"));
	else
		fprintf(stderr, "%s; %lld unpacked layers (%.1f MB) stay, %lld of them only because tasks use them\n",
			dry ? "nothing was removed" : "removed", (long long)json_get_int(layers, "kept", 0),
			json_get_real(layers, "kept_bytes", 0) / 1e6, (long long)json_get_int(layers, "in_use", 0));
}

static int images_prune(struct config *c, bool all, bool dry)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_JSON json_t *done = NULL;
	struct client *cl = NULL;
	int rc = client_new(c, &cl, &err);
	if (rc == 0)
		rc = registry_prune(c, cl, all, dry, &done, &err);
	client_free(cl);
	if (rc < 0)
		return fail_error(NULL, &err);
	if (c->json) {
		json_dumpf(done, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		print_pruned(c, done, dry);
	}
	return 0;
}

int cli_images(struct config *c, int argc, char **argv)
{
	int kept = 0;
	bool all = false, dry = false, prune = argc > 1 && strcmp(argv[1], "prune") == 0;
	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			c->json = true;
		else if (prune && strcmp(argv[i], "--all") == 0)
			all = true;
		else if (prune && strcmp(argv[i], "--dry-run") == 0)
			dry = true;
		else
			argv[kept++] = argv[i];
	}
	if (kept == 2 && strcmp(argv[1], "list") == 0)
		return images_list(c);
	if (kept == 2 && prune)
		return images_prune(c, all, dry);
	if (kept > 2 && strcmp(argv[1], "build") == 0)
		return images_build(c, kept - 1, argv + 1);
	return usage("images", kept > 1 && strcmp(argv[1], "build") != 0
				       ? argv[kept > 2 && (prune || strcmp(argv[1], "list") == 0) ? 2 : 1]
				       : NULL);
}
