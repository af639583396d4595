/* config.c - see config.h. */
#include "cli/config.h"

#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/json.h"

/* The daemon's user when root starts it and there is no user `quern`: a number nobody else has. */
enum { DAEMON_UID = 64321 };

static int read_small(const char *path, char *text, size_t size)
{
	FILE *f = fopen(path, "re");
	if (!f)
		return -1;
	size_t n = fread(text, 1, size - 1, f);
	fclose(f);
	text[n] = 0;
	return (int)n;
}

static const char *default_data_dir(struct arena *a)
{
	const char *home = getenv("HOME"), *xdg = getenv("XDG_DATA_HOME");
	if (geteuid() == 0)
		return CONFIG_ROOT_DIR;
	if (xdg && xdg[0] == '/')
		return arena_printf(a, "%s/quern", xdg);
	return arena_printf(a, "%s/.local/share/quern", home ? home : "/tmp");
}

static int take_text(const json_t *v, const char *key, const char **out, struct arena *a, struct error *err)
{
	if (!json_is_string(v))
		return error_set(err, "config.json: `%s` must be a string", key);
	*out = arena_strdup(a, json_str(v));
	return 0;
}

static int take_port(struct str text, uint16_t *out, const char *where, struct error *err)
{
	int64_t port;
	if (!str_to_i64(text, &port) || port < 0 || port > 65535)
		return error_set(err, "%s: a port is a number from 0 to 65535", where);
	*out = (uint16_t)port;
	return 0;
}

static int apply_file(struct config *c, struct error *err)
{
	CLEANUP_FREE char *text = mem_alloc(65536);
	const char *path = config_path(c, "config.json"), *key;
	int n = read_small(path, text, 65536);
	if (n < 0)
		return errno == ENOENT || errno == EACCES ? 0 : error_errno(err, errno, "read `%s`", path);
	CLEANUP_JSON json_t *doc = json_parse(str_of(text, (size_t)n), err);
	if (!doc)
		return error_wrap(err, "%s", path);
	json_t *v;
	json_object_foreach (doc, key, v) {
		int rc = 0;
		if (strcmp(key, "port") == 0) {
			char number[24];
			snprintf(number, sizeof(number), "%lld",
				 json_is_integer(v) ? (long long)json_integer_value(v) : -1LL);
			rc = take_port(str_from(number), &c->port, "config.json: `port`", err);
		} else if (strcmp(key, "bind") == 0) {
			rc = take_text(v, key, &c->bind, &c->arena, err);
		} else if (strcmp(key, "region") == 0) {
			rc = take_text(v, key, &c->region, &c->arena, err);
		} else if (strcmp(key, "account") == 0) {
			rc = take_text(v, key, &c->account, &c->arena, err);
		} else if (strcmp(key, "runtime") == 0) {
			rc = take_text(v, key, &c->runtime, &c->arena, err);
		} else if (strcmp(key, "store") == 0) {
			rc = take_text(v, key, &c->store, &c->arena, err);
		} else if (strcmp(key, "cdi_dirs") == 0) {
			rc = take_text(v, key, &c->cdi_dirs, &c->arena, err);
		} else {
			rc = error_set(
				err,
				"%s: unknown key `%s` (known: port, bind, region, account, runtime, store, cdi_dirs)",
				path, key);
		}
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int apply_environment(struct config *c, struct error *err)
{
	const char *port = getenv("QUERN_PORT"), *bind = getenv("QUERN_BIND"), *runtime = getenv("QUERN_RUNTIME"),
		   *store = getenv("QUERN_STORE"), *cdi_dirs = getenv("QUERN_CDI_DIRS");
	if (bind && *bind)
		c->bind = bind;
	if (runtime && *runtime)
		c->runtime = runtime;
	if (store && *store)
		c->store = store;
	if (cdi_dirs && *cdi_dirs)
		c->cdi_dirs = cdi_dirs;
	return port && *port ? take_port(str_from(port), &c->port, "QUERN_PORT", err) : 0;
}

/* <exe>/../libexec/quern, wherever the tree was installed. */
static const char *find_libexec(struct arena *a)
{
	char exe[4096];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	if (n < 0)
		return "/usr/libexec/quern";
	exe[n] = 0;
	for (int i = 0; i < 2; i++) {
		char *slash = strrchr(exe, '/');
		if (slash)
			*slash = 0;
	}
	return arena_printf(a, "%s/libexec/quern", exe);
}

int config_load(struct config *c, const char *data_dir_flag, struct error *err)
{
	const char *home = getenv("QUERN_HOME"), *no_color = getenv("NO_COLOR");
	c->libexec = find_libexec(&c->arena);
	c->data_dir = data_dir_flag ? data_dir_flag : home && *home ? home : default_data_dir(&c->arena);
	if (c->data_dir[0] != '/') {
		char cwd[4096];
		if (!getcwd(cwd, sizeof(cwd)))
			return error_errno(err, errno, "find the current directory");
		c->data_dir = arena_printf(&c->arena, "%s/%s", cwd, c->data_dir);
	}
	c->bind = "127.0.0.1";
	c->port = 4566;
	c->region = "us-east-1";
	c->account = "000000000000";
	c->wait_scale = 1;
	c->execution_days = 90;
	c->uid = c->gid = -1;
	if (geteuid() == 0) {
		const struct passwd *pw = getpwnam("quern");
		c->uid = pw ? (int)pw->pw_uid : DAEMON_UID;
		c->gid = pw ? (int)pw->pw_gid : DAEMON_UID;
	}
	c->color = isatty(STDOUT_FILENO) && !(no_color && *no_color);
	if (apply_file(c, err) < 0)
		return -1;
	return apply_environment(c, err);
}

const char *config_path(struct config *c, const char *name)
{
	return arena_printf(&c->arena, "%s/%s", c->data_dir, name);
}

const char *config_endpoint(struct config *c)
{
	char text[256];
	if (c->endpoint)
		return c->endpoint;
	int n = read_small(config_path(c, "run/endpoint"), text, sizeof(text));
	if (n > 0)
		return arena_strdup(&c->arena, str_trim(str_of(text, (size_t)n)));
	return arena_printf(&c->arena, "http://%s:%u", c->bind, c->port);
}

int config_refuse_dir(struct config *c, struct error *err)
{
	return error_set(
		err,
		"the data directory `%s` belongs to another user: be that user, or choose one of your own with "
		"--data or QUERN_HOME",
		c->data_dir);
}

int config_pid(struct config *c, const char *name)
{
	char text[64], exe[64], link[4096], self[4096];
	int64_t pid;
	int n = read_small(config_path(c, name), text, sizeof(text));
	if (n <= 0 || !str_to_i64(str_trim(str_of(text, (size_t)n)), &pid) || pid <= 1 || kill((pid_t)pid, 0) < 0)
		return 0;
	/* A recycled pid is not ours: the program must have our name. */
	snprintf(exe, sizeof(exe), "/proc/%d/exe", (int)pid);
	ssize_t len = readlink(exe, link, sizeof(link) - 1);
	if (len < 0)
		return errno == EACCES ? (int)pid : 0;
	link[len] = 0;
	len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (len < 0)
		return 0;
	self[len] = 0;
	const char *a = strrchr(link, '/'), *b = strrchr(self, '/');
	return a && b && strncmp(a, b, strlen(b)) == 0 ? (int)pid : 0;
}

bool config_policies_ignored(struct config *c)
{
	char text[16] = "";
	FILE *f = fopen(config_path(c, "run/iam"), "re");
	if (!f)
		return false;
	size_t n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	return n > 0 && strncmp(text, "ignore", 6) == 0;
}
