/* cdi.c - see cdi.h. */
#include "task/cdi.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "task/path.h"
#include "task/cdi_yaml.h"

#define FILE_MAX (16u << 20)
#define FILES_MAX 256

/* ---- files ---- */

struct load {
	struct arena *a;
	struct cdi *out;
	size_t room, nnotes;
};

static void drop(void *value)
{
	json_decref(value);
}

static void note(struct load *l, const char *dir, const char *file, const char *why)
{
	const char **list = ARENA_ARRAY(l->a, const char *, l->nnotes + 2);
	for (size_t i = 0; i < l->nnotes; i++)
		list[i] = l->out->notes[i];
	list[l->nnotes++] = arena_printf(l->a, "%s/%s: %s", dir, file, why);
	l->out->notes = list;
}

static void add_device(struct load *l, const char *name, const json_t *edits, const json_t *spec)
{
	struct cdi *c = l->out;
	for (size_t i = 0; i < c->ndevices; i++)
		if (!strcmp(c->devices[i].name, name)) {
			c->devices[i] = (struct cdi_device){ name, edits, spec };
			return;
		}
	if (c->ndevices == l->room) {
		struct cdi_device *more = ARENA_ARRAY(l->a, struct cdi_device, l->room * 2 + 16);
		if (c->ndevices)
			memcpy(more, c->devices, c->ndevices * sizeof(*more));
		c->devices = more;
		l->room = l->room * 2 + 16;
	}
	c->devices[c->ndevices++] = (struct cdi_device){ name, edits, spec };
}

static void read_spec(struct load *l, const char *dir, const char *file, const json_t *spec)
{
	const char *version = json_get_text(spec, "cdiVersion"), *kind = json_get_text(spec, "kind");
	size_t i;
	json_t *device;
	if (!version || (strncmp(version, "0.", 2) && strncmp(version, "1.", 2)) || !kind || !strchr(kind, '/')) {
		note(l, dir, file, "not a CDI specification of version 0.x or 1.x");
		return;
	}
	json_array_foreach (json_get(spec, "devices"), i, device) {
		const json_t *name = json_get(device, "name"); /* old files have numbers */
		const char *text = json_is_integer(name)
					   ? arena_printf(l->a, "%lld", (long long)json_integer_value(name))
					   : json_string_value(name);
		if (text && *text)
			add_device(l, arena_printf(l->a, "%s=%s", kind, text), json_get(device, "containerEdits"),
				   json_get(spec, "containerEdits"));
	}
}

static void read_one(struct load *l, int dirfd, const char *dir, const char *file)
{
	CLEANUP_BUF struct buf text = BUF_INIT;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	size_t n = strlen(file);
	bool json = n > 5 && !strcmp(file + n - 5, ".json"), yaml = n > 5 && !strcmp(file + n - 5, ".yaml");
	if (!json && !yaml)
		return;
	json_t *spec = NULL;
	if (path_read(dirfd, file, FILE_MAX, &text, &err) == 0)
		spec = yaml ? cdi_yaml_parse(buf_str(&text), &err) : json_parse(buf_str(&text), &err);
	if (!spec) {
		note(l, dir, file, error_text(&err));
		return;
	}
	arena_defer(l->a, drop, spec);
	read_spec(l, dir, file, spec);
}

static void read_dir(struct load *l, const char *dir)
{
	struct dirent **files;
	CLEANUP_FD int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int n = fd < 0 ? -1 : scandirat(fd, ".", &files, NULL, alphasort);
	if (n < 0 && errno != ENOENT)
		note(l, dir, "", strerror(errno));
	if (n > FILES_MAX)
		note(l, dir, files[FILES_MAX]->d_name, "this and all after it are too many");
	for (int i = 0; i < n; i++) {
		if (i < FILES_MAX)
			read_one(l, fd, dir, files[i]->d_name);
		free(files[i]);
	}
	if (n >= 0)
		free(files);
}

void cdi_load(struct arena *a, const char *dirs, struct cdi *out)
{
	struct load l = { .a = a, .out = out };
	struct str rest = str_from(dirs && *dirs ? dirs : CDI_DIRS), dir;
	*out = (struct cdi){ .notes = ARENA_ARRAY(a, const char *, 1) };
	while (rest.len && str_split(&rest, ':', &dir))
		if (dir.len)
			read_dir(&l, arena_strdup(a, dir));
}

static bool is_gpu(const char *name)
{
	const char *eq = strrchr(name, '=');
	return eq - name > 4 && !strncmp(eq - 4, "/gpu", 4) && strcmp(eq + 1, "all");
}

const char **cdi_gpus(struct arena *a, const struct cdi *cdi)
{
	const char **names = ARENA_ARRAY(a, const char *, cdi->ndevices + 1);
	size_t n = 0;
	for (size_t i = 0; i < cdi->ndevices; i++) {
		bool is_new = is_gpu(cdi->devices[i].name);
		for (size_t k = 0; k < i && is_new; k++)
			is_new = !is_gpu(cdi->devices[k].name) || !cdi->devices[i].edits ||
				 !json_equal((json_t *)cdi->devices[k].edits, (json_t *)cdi->devices[i].edits);
		if (is_new)
			names[n++] = cdi->devices[i].name;
	}
	return names;
}

json_t *cdi_edits(const struct cdi *cdi, const json_t *names, struct error *err)
{
	json_t *edits = json_array(), *name;
	CLEANUP_JSON json_t *specs = json_array();
	size_t i;
	json_array_foreach (names, i, name) {
		const struct cdi_device *found = NULL;
		bool known = false;
		for (size_t k = 0; k < cdi->ndevices; k++)
			if (str_eqz(json_str(name), cdi->devices[k].name))
				found = &cdi->devices[k];
		if (!found) {
			json_decref(edits);
			error_set(err, "unresolvable CDI device %s", json_string_value(name));
			return NULL;
		}
		for (size_t k = 0; k < json_array_size(specs); k++)
			known |= json_array_get(specs, k) == found->spec;
		if (found->spec && !known) {
			json_array_append(specs, (json_t *)found->spec);
			json_array_append(edits, (json_t *)found->spec);
		}
		if (found->edits)
			json_array_append(edits, (json_t *)found->edits);
	}
	return edits;
}

/* ---- edits ---- */

struct node {
	const char *path, *type, *permissions;
	int64_t major, minor, mode;
};

/* What the file does not say is taken from the host's node. */
static int read_node(const json_t *in, struct node *out, struct error *err)
{
	const char *host = json_get_text(in, "hostPath");
	struct stat st;
	*out = (struct node){ .path = json_get_text(in, "path"),
			      .type = json_get_text(in, "type"),
			      .permissions = json_get_text(in, "permissions"),
			      .major = json_get_int(in, "major", -1),
			      .minor = json_get_int(in, "minor", -1),
			      .mode = json_get_int(in, "fileMode", -1) };
	if (!out->path || !path_is_clean(out->path))
		return error_set(err, "CDI device node without a path");
	host = host ? host : out->path;
	out->permissions = out->permissions && *out->permissions ? out->permissions : "rwm";
	bool given = out->type && out->major >= 0 && out->minor >= 0;
	if (given && out->mode >= 0)
		return 0;
	if (stat(host, &st) < 0 || (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))) {
		if (!given)
			return error_set(err, "CDI device node `%s` is not a device of this machine", host);
		out->mode = 0666;
		return 0;
	}
	out->type = S_ISCHR(st.st_mode) ? "c" : "b";
	out->major = (int64_t)major(st.st_rdev);
	out->minor = (int64_t)minor(st.st_rdev);
	out->mode = out->mode >= 0 ? out->mode : (int64_t)(st.st_mode & 0777);
	return 0;
}

int cdi_device_rules(struct arena *a, const json_t *edits, const char ***rules, struct error *err)
{
	size_t i, k, n = 0;
	json_t *one, *node;
	json_array_foreach ((json_t *)edits, i, one)
		n += json_array_size(json_get(one, "deviceNodes"));
	*rules = ARENA_ARRAY(a, const char *, n + 1);
	n = 0;
	json_array_foreach ((json_t *)edits, i, one)
		json_array_foreach (json_get(one, "deviceNodes"), k, node) {
			struct node d;
			if (read_node(node, &d, err) < 0)
				return -1;
			(*rules)[n++] = arena_printf(a, "%c %lld:%lld %s", *d.type == 'b' ? 'b' : 'c',
						     (long long)d.major, (long long)d.minor, d.permissions);
		}
	return 0;
}

static json_t *member(json_t *obj, const char *key, json_t *fresh)
{
	json_t *have = json_object_get(obj, key);
	if (have) {
		json_decref(fresh);
		return have;
	}
	json_object_set_new(obj, key, fresh);
	return fresh;
}

/* "K=V" lines; a variable that is there is replaced. */
static void apply_env(const json_t *list, json_t *config)
{
	json_t *env = member(member(config, "process", json_object()), "env", json_array()), *one, *old;
	size_t i, k;
	json_array_foreach (list, i, one) {
		const char *text = json_string_value(one), *eq = text ? strchr(text, '=') : NULL;
		if (!eq)
			continue;
		json_array_foreach (env, k, old)
			if (!strncmp(json_string_value(old), text, (size_t)(eq - text) + 1)) {
				json_array_remove(env, k);
				break;
			}
		json_array_append(env, one);
	}
}

static int apply_node(const json_t *in, json_t *config, struct error *err)
{
	struct node d;
	if (read_node(in, &d, err) < 0)
		return -1;
	json_t *part = member(config, "linux", json_object());
	json_t *devices = member(part, "devices", json_array()), *old;
	json_t *rules = member(member(part, "resources", json_object()), "devices", json_array());
	size_t i;
	json_array_foreach (devices, i, old)
		if (str_eqz(json_get_str(old, "path"), d.path))
			return 0;
	/* a user of the container's that is not root owns the node, unless the file says whose it is */
	const json_t *user = json_get_path(config, "process.user");
	json_array_append_new(
		devices, json_pack("{s:s,s:s,s:I,s:I,s:I,s:I,s:I}", "path", d.path, "type", d.type, "major",
				   (json_int_t)d.major, "minor", (json_int_t)d.minor, "fileMode", (json_int_t)d.mode,
				   "uid", (json_int_t)json_get_int(in, "uid", json_get_int(user, "uid", 0)), "gid",
				   (json_int_t)json_get_int(in, "gid", json_get_int(user, "gid", 0))));
	json_array_append_new(rules,
			      json_pack("{s:b,s:s,s:I,s:I,s:s}", "allow", 1, "type", d.type, "major",
					(json_int_t)d.major, "minor", (json_int_t)d.minor, "access", d.permissions));
	return 0;
}

static int apply_mount(struct arena *a, const json_t *in, json_t *config, struct error *err)
{
	const char *host = json_get_text(in, "hostPath"), *path = json_get_text(in, "containerPath"),
		   *type = json_get_text(in, "type");
	if (!host || !path || !path_is_clean(path))
		return error_set(err, "CDI mount without hostPath and containerPath");
	type = type && *type ? type : "bind";
	json_t *options = json_array(), *given = json_get(in, "options"), *one;
	bool binds = false;
	size_t i;
	json_array_foreach (given, i, one) {
		binds |= str_eqz(json_str(one), "bind") || str_eqz(json_str(one), "rbind");
		json_array_append(options, one);
	}
	if (!json_array_size(given))
		json_array_append_new(options, json_string("ro"));
	if (!strcmp(type, "bind") && !binds)
		json_array_append_new(options, json_string("bind"));
	json_array_append_new(
		member(config, "mounts", json_array()),
		json_pack("{s:s,s:s,s:s,s:o}", "destination", path, "type", type, "source", host, "options", options));
	return 0;
}

static int apply_hook(const json_t *in, json_t *config, struct error *err)
{
	static const char *const known[] = { "prestart", "createRuntime", "createContainer", "startContainer",
					     "poststart" };
	const char *name = json_get_text(in, "hookName"), *path = json_get_text(in, "path");
	for (size_t i = 0; name && path && i < sizeof(known) / sizeof(*known); i++) {
		if (strcmp(known[i], name))
			continue;
		json_t *hook = json_pack("{s:s}", "path", path);
		json_copy_key(hook, in, "args");
		json_copy_key(hook, in, "env");
		json_copy_key(hook, in, "timeout");
		json_array_append_new(member(member(config, "hooks", json_object()), name, json_array()), hook);
		return 0;
	}
	return error_set(err, "CDI hook `%s` is not offered here", name ? name : "");
}

static int apply_one(struct arena *a, const json_t *edits, json_t *config, struct error *err)
{
	size_t i;
	json_t *one;
	apply_env(json_get(edits, "env"), config);
	json_array_foreach (json_get(edits, "deviceNodes"), i, one)
		if (apply_node(one, config, err) < 0)
			return -1;
	json_array_foreach (json_get(edits, "mounts"), i, one)
		if (apply_mount(a, one, config, err) < 0)
			return -1;
	json_array_foreach (json_get(edits, "hooks"), i, one)
		if (apply_hook(one, config, err) < 0)
			return -1;
	json_array_foreach (json_get(edits, "additionalGids"), i, one)
		json_array_append(member(member(member(config, "process", json_object()), "user", json_object()),
					 "additionalGids", json_array()),
				  one);
	static const char *const other[] = { "intelRdt", "netDevices" };
	for (i = 0; i < sizeof(other) / sizeof(*other); i++)
		if (json_get(edits, other[i]))
			return error_set(err, "CDI edit `%s` is not offered here", other[i]);
	return 0;
}

int cdi_apply(struct arena *a, const json_t *edits, json_t *config, struct error *err)
{
	size_t i;
	json_t *one;
	json_array_foreach ((json_t *)edits, i, one)
		if (apply_one(a, one, config, err) < 0)
			return -1;
	return 0;
}
