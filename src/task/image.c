/* image.c - see image.h. */
#include "task/image.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "task/path.h"

#define IMAGE_DIRS 64
#define LOCAL_PYTHON "/opt/quern/local-python"
#define BUILTIN_PATH "/opt/quern/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static bool plain(struct str s, const char *extra)
{
	for (size_t i = 0; i < s.len; i++)
		if (!isalnum((unsigned char)s.ptr[i]) && !strchr(extra, s.ptr[i]))
			return false;
	return s.len > 0;
}

int image_split(struct arena *a, const char *uri, const char **repository, const char **tag, struct error *err)
{
	struct str rest = str_from(uri), first, name = rest;
	ptrdiff_t at = str_find_char(rest, '@');
	if (at >= 0)
		name = rest = str_head(rest, (size_t)at);
	/* The first part is a registry when it looks like a host: it has a dot or a port, or is "localhost". */
	if (str_find_char(rest, '/') >= 0) {
		str_split(&rest, '/', &first);
		if (str_find_char(first, '.') >= 0 || str_find_char(first, ':') >= 0 || str_eqz(first, "localhost"))
			name = rest;
	}
	struct str label = STR("latest");
	for (size_t i = name.len; i-- > 0 && name.ptr[i] != '/';)
		if (name.ptr[i] == ':') {
			label = str_skip(name, i + 1);
			name = str_head(name, i);
			break;
		}
	if (!plain(name, "._-/") || !plain(label, "._-") || label.len > 128 || name.len > 256)
		return error_set(err, "invalid reference format: `%.200s`", uri);
	*repository = arena_strdup(a, name);
	*tag = arena_strdup(a, label);
	return 0;
}

static json_t *read_json(const char *images_dir, const char *name, bool required, struct error *err)
{
	CLEANUP_FD int dir = open(images_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	CLEANUP_BUF struct buf text = BUF_INIT;
	if (dir < 0) {
		error_errno(err, errno, "open the directory of built-in images `%s`", images_dir);
		return NULL;
	}
	if (!required && faccessat(dir, name, F_OK, 0) < 0)
		return json_object();
	if (path_read(dir, name, 1 << 20, &text, err) < 0) {
		error_wrap(err, "built-in images in `%s`", images_dir);
		return NULL;
	}
	json_t *value = json_parse(buf_str(&text), err);
	if (!value)
		error_wrap(err, "`%s/%s`", images_dir, name);
	return value;
}

json_t *image_list(const char *images_dir, struct error *err)
{
	CLEANUP_JSON json_t *all = read_json(images_dir, "images.json", true, err);
	json_t *images = json_get(all, "images");
	if (all && !json_is_array(images))
		error_set(err, "`%s/images.json` has no array `images`", images_dir);
	return json_is_array(images) ? json_incref(images) : NULL;
}

/* Does `value` (a pattern or an array of patterns; absent = none) match? */
static bool matches(const json_t *value, const char *text)
{
	if (json_is_string(value))
		return fnmatch(json_string_value(value), text, 0) == 0;
	for (size_t i = 0; i < json_array_size(value); i++)
		if (matches(json_array_get(value, i), text))
			return true;
	return false;
}

static const char **texts(struct arena *a, const json_t *array)
{
	if (!json_is_array(array))
		return NULL;
	const char **out = ARENA_ARRAY(a, const char *, json_array_size(array) + 1);
	for (size_t i = 0; i < json_array_size(array); i++)
		out[i] = arena_strdup(a, json_str(json_array_get(array, i)));
	return out;
}

static bool exists(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 && (S_ISDIR(st.st_mode) || S_ISREG(st.st_mode));
}

static void add_dir(struct image *out, const char *source, const char *target, bool scratch)
{
	if (out->ndirs < IMAGE_DIRS && exists(source))
		out->dirs[out->ndirs++] = (struct image_dir){ source, target, scratch };
}

/* The host's program directories: /usr, and /bin and the like where they are no links into it. */
static void add_host_dirs(struct image *out)
{
	static const char *const more[] = { "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32" };
	struct stat st;
	add_dir(out, "/usr", "/usr", true);
	for (size_t i = 0; i < sizeof(more) / sizeof(*more); i++)
		if (lstat(more[i], &st) == 0 && S_ISDIR(st.st_mode))
			add_dir(out, more[i], more[i], true);
}

/* [{"from": below images_dir, "to": path}]; `first`: only the first whose `from` is there. */
static int add_mounts(struct arena *a, const char *images_dir, const json_t *list, bool first, struct image *out,
		      struct error *err)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *from = json_get_text(json_array_get(list, i), "from"),
			   *to = json_get_text(json_array_get(list, i), "to");
		const char *source = from ? arena_printf(a, "%s/%s", images_dir, from) : "";
		if (!from || !to || !path_is_clean(to) || !path_is_clean(arena_printf(a, "/%s", from)))
			return error_set(err, "`%s/images.json`: bad mount", images_dir);
		if (exists(source)) {
			add_dir(out, source, arena_strdup(a, str_from(to)), false);
			if (first)
				return 0;
		} else if (!first) {
			return error_set(err, "built-in image: `%s` is missing (make install, or images/assemble.sh)",
					 source);
		}
	}
	return 0;
}

static int add_links(struct arena *a, const json_t *list, struct image *out, struct error *err)
{
	out->links = ARENA_ARRAY(a, struct image_link, json_array_size(list) + 1);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *path = json_get_text(json_array_get(list, i), "path"),
			   *to = json_get_text(json_array_get(list, i), "to");
		if (!path || !to || !path_is_clean(path) || !path[1])
			return error_set(err, "images.json: bad link");
		out->links[out->nlinks++] =
			(struct image_link){ arena_strdup(a, str_from(path)), arena_strdup(a, str_from(to)) };
	}
	return 0;
}

/* Debian packages whose programs the image takes from the host. Without dpkg nothing can be said. */
static int check_packages(const json_t *entry, struct error *err)
{
	CLEANUP_BUF struct buf missing = BUF_INIT;
	const json_t *list = json_get(entry, "debian_packages");
	if (access("/var/lib/dpkg/info", X_OK) < 0)
		return 0;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *name = json_string_value(json_array_get(list, i));
		if (name && !image_package_installed(name))
			buf_printf(&missing, " %s", name);
	}
	if (!missing.len)
		return 0;
	const char *image = json_get_text(entry, "name");
	return error_set(err, "built-in image %s needs Debian packages that are not installed:%s (apt install%s)",
			 image ? image : "?", missing.ptr, missing.ptr);
}

bool image_package_installed(const char *name)
{
#if defined(__x86_64__)
	static const char arch[] = "amd64";
#elif defined(__aarch64__)
	static const char arch[] = "arm64";
#else
	static const char arch[] = "all";
#endif
	char path[512];
	snprintf(path, sizeof(path), "/var/lib/dpkg/info/%s.list", name);
	if (access(path, F_OK) == 0)
		return true;
	snprintf(path, sizeof(path), "/var/lib/dpkg/info/%s:%s.list", name, arch);
	return access(path, F_OK) == 0;
}

/* The layers of environment, the later ones win; PYTHONPATH gets the local environment before it. */
static void add_env(struct arena *a, const json_t *layout, const json_t *entry, const char *python_env,
		    struct image *out)
{
	CLEANUP_JSON json_t *env = json_object();
	json_set_text(env, "PATH", BUILTIN_PATH);
	json_object_update(env, json_get(layout, "env"));
	json_object_update(env, json_get(entry, "env"));
	const json_t *tag_env = json_get(entry, "tag_env");
	for (size_t i = 0; i < json_array_size(tag_env); i++)
		if (matches(json_get(json_array_get(tag_env, i), "tags"), out->tag))
			json_object_update(env, json_get(json_array_get(tag_env, i), "env"));
	if (python_env) {
		const char *old = json_get_text(env, "PYTHONPATH");
		json_set_text(env, "PYTHONPATH",
			      arena_printf(a, "%s%s%s", LOCAL_PYTHON, old ? ":" : "", old ? old : ""));
	}
	size_t n = 0;
	const char *key;
	json_t *value;
	out->env = ARENA_ARRAY(a, const char *, json_object_size(env) + 1);
	json_object_foreach (env, key, value)
		if (json_is_string(value))
			out->env[n++] = arena_printf(a, "%s=%s", key, json_string_value(value));
}

static int built_in(struct arena *a, const struct image_source *src, const json_t *all, const json_t *entry,
		    struct image *out, struct error *err)
{
	char skeleton[64];
	const json_t *layout = json_get(all, "layout");
	CLEANUP_JSON json_t *local = read_json(src->images_dir, "local.json", false, err);
	if (!local || check_packages(entry, err) < 0 || skeleton_make(src->cache_dir, skeleton, err) < 0)
		return -1;
	out->lowers = ARENA_ARRAY(a, const char *, 2);
	out->lowers[0] = arena_printf(a, "%s/%s", src->cache_path, skeleton);
	out->dirs = ARENA_ARRAY(a, struct image_dir, IMAGE_DIRS);
	add_host_dirs(out);
	if (add_mounts(a, src->images_dir, json_get(layout, "mounts"), false, out, err) < 0 ||
	    add_mounts(a, src->images_dir, json_get(layout, "python_mounts"), true, out, err) < 0 ||
	    add_mounts(a, src->images_dir, json_get(entry, "mounts"), false, out, err) < 0 ||
	    add_links(a, json_get(layout, "links"), out, err) < 0)
		return -1;
	const char *python_env = json_get_text(local, "python_env");
	if (python_env && !exists(python_env))
		return error_set(err, "`%s/local.json`: python_env `%s` is no directory", src->images_dir, python_env);
	if (python_env)
		add_dir(out, arena_strdup(a, str_from(python_env)), LOCAL_PYTHON, false);
	out->command = texts(a, json_get(entry, "default_command"));
	add_env(a, layout, entry, python_env, out);
	return 0;
}

int image_resolve(struct arena *a, const struct image_source *src, const char *uri, struct image *out,
		  struct error *err)
{
	*out = (struct image){ 0 };
	if (image_split(a, uri, &out->repository, &out->tag, err) < 0)
		return -1;
	CLEANUP_JSON json_t *all = read_json(src->images_dir, "images.json", true, err);
	if (!all)
		return -1;
	const json_t *images = json_get(all, "images");
	for (size_t i = 0; i < json_array_size(images); i++) {
		const json_t *entry = json_array_get(images, i);
		if (matches(json_get(entry, "repositories"), out->repository) &&
		    matches(json_get(entry, "tags"), out->tag))
			return built_in(a, src, all, entry, out, err);
	}
	return error_set(err,
			 "pull image manifest has been retried 1 time(s): failed to resolve ref %s: %s:%s: not found",
			 uri, out->repository, out->tag);
}
