/* cgroup.c - see cgroup.h. Facts: reference "containers", section 0 (hybrid machines) and 3 (counters read before the
 * removal). */
#include "task/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "task/path.h"

#define ROOT "/sys/fs/cgroup"

static bool is_fs(const char *path, long magic)
{
	struct statfs fs;
	return statfs(path, &fs) == 0 && (long)fs.f_type == magic;
}

/* May we make groups at the top? In a container without delegation the tree is read-only. */
static bool writable(const char *dir)
{
	return geteuid() == 0 && access(dir, W_OK) == 0;
}

enum cgroup_mode cgroup_detect(void)
{
	if (is_fs(ROOT, CGROUP2_SUPER_MAGIC))
		return writable(ROOT) ? CGROUP_UNIFIED : CGROUP_NONE;
	if (!is_fs(ROOT "/memory", CGROUP_SUPER_MAGIC) || !writable(ROOT "/memory"))
		return CGROUP_NONE;
	return is_fs(ROOT "/unified", CGROUP2_SUPER_MAGIC) ? CGROUP_HYBRID : CGROUP_LEGACY;
}

static const char *const names[] = { "none", "legacy", "hybrid", "unified" };

const char *cgroup_mode_name(enum cgroup_mode mode)
{
	return names[mode];
}

enum cgroup_mode cgroup_mode_of(const char *name)
{
	for (int i = 0; name && i < 4; i++)
		if (!strcmp(names[i], name))
			return (enum cgroup_mode)i;
	return CGROUP_NONE;
}

bool cgroup_has(enum cgroup_mode mode, const char *controller)
{
	char path[PATH_MAX], text[4096];
	if (mode == CGROUP_NONE)
		return false;
	if (mode != CGROUP_UNIFIED) {
		snprintf(path, sizeof(path), ROOT "/%s", controller);
		return is_fs(path, CGROUP_SUPER_MAGIC);
	}
	if (!strcmp(controller, "devices") || !strcmp(controller, "cpuacct")) /* by eBPF and cpu.stat: always there */
		return true;
	if (path_get(ROOT "/cgroup.controllers", text, sizeof(text)) < 0)
		return false;
	struct str rest = str_trim(str_from(text)), one;
	while (str_split(&rest, ' ', &one))
		if (str_eqz(one, controller))
			return true;
	return false;
}

/* v2: lets the children of a group have the controllers that the machine has. */
static int switch_on(const char *group, struct error *err)
{
	static const char *const on[] = { "+cpu", "+memory", "+pids" };
	char path[PATH_MAX];
	snprintf(path, sizeof(path), ROOT "%s/cgroup.subtree_control", group);
	for (size_t i = 0; i < 3; i++) {
		int rc = cgroup_has(CGROUP_UNIFIED, on[i] + 1) ? path_put(path, on[i]) : 0;
		if (rc < 0)
			return error_errno(err, -rc, "switch cgroup controller %s on in %s", on[i] + 1, group);
	}
	return 0;
}

int cgroup_hide_second_tree(struct error *err)
{
	if (umount2(ROOT "/unified", MNT_DETACH) < 0)
		return error_errno(err, errno, "hide " ROOT "/unified");
	return 0;
}

int cgroup_prepare(enum cgroup_mode mode, struct error *err)
{
	if (mode != CGROUP_UNIFIED)
		return 0;
	if (mkdir(ROOT "/quern", 0755) < 0 && errno != EEXIST)
		return error_errno(err, errno, "make cgroup /quern");
	return switch_on("", err) < 0 || switch_on("/quern", err) < 0 ? -1 : 0;
}

void cgroup_v1_path(const char *controller, const char *group, char *path)
{
	snprintf(path, PATH_MAX, ROOT "/%s%s", controller, group);
}

static void group_file(enum cgroup_mode mode, const char *controller, const char *group, const char *file, char *path)
{
	if (mode == CGROUP_UNIFIED)
		snprintf(path, PATH_MAX, ROOT "%s/%s", group, file);
	else
		snprintf(path, PATH_MAX, ROOT "/%s%s/%s", controller, group, file);
}

/* The number in `file`, or the one after `key` when key is not NULL ("oom_kill 3"). -1 when it is not there. */
static int64_t number(enum cgroup_mode mode, const char *controller, const char *group, const char *file,
		      const char *key)
{
	char path[PATH_MAX], text[4096];
	group_file(mode, controller, group, file, path);
	if (path_get(path, text, sizeof(text)) < 0)
		return -1;
	int64_t value = -1;
	struct str rest = str_from(text), line, name;
	while (str_split(&rest, '\n', &line)) {
		struct str right = line;
		if (key && (!str_split(&right, ' ', &name) || !str_eqz(name, key)))
			continue;
		return str_to_i64(str_trim(right), &value) ? value : -1;
	}
	return -1;
}

void cgroup_read(enum cgroup_mode mode, const char *group, struct cgroup_usage *out)
{
	*out = (struct cgroup_usage){ .cpu_ms = -1, .memory_peak_bytes = -1 };
	int64_t cpu, kills = 0;
	if (mode == CGROUP_UNIFIED) {
		cpu = number(mode, "", group, "cpu.stat", "usage_usec");
		out->cpu_ms = cpu < 0 ? -1 : cpu / 1000;
		out->memory_peak_bytes = number(mode, "", group, "memory.peak", NULL);
		kills = number(mode, "", group, "memory.events", "oom_kill");
	} else if (mode != CGROUP_NONE) {
		cpu = number(mode, "cpuacct", group, "cpuacct.usage", NULL);
		out->cpu_ms = cpu < 0 ? -1 : cpu / 1000000;
		out->memory_peak_bytes = number(mode, "memory", group, "memory.max_usage_in_bytes", NULL);
		kills = number(mode, "memory", group, "memory.oom_control", "oom_kill");
	}
	out->oom_kills = kills > 0 ? kills : 0;
}

static int64_t count(enum cgroup_mode mode, const char *controller, const char *group, const char *file,
		     const char *key)
{
	int64_t n = number(mode, controller, group, file, key);
	return n < 0 ? 0 : n;
}

static void read_now_v2(const char *g, struct cgroup_now *out)
{
	const enum cgroup_mode m = CGROUP_UNIFIED;
	*out = (struct cgroup_now){ .cpu_ns = count(m, "", g, "cpu.stat", "usage_usec") * 1000,
				    .cpu_user_ns = count(m, "", g, "cpu.stat", "user_usec") * 1000,
				    .cpu_system_ns = count(m, "", g, "cpu.stat", "system_usec") * 1000,
				    .periods = count(m, "", g, "cpu.stat", "nr_periods"),
				    .throttled = count(m, "", g, "cpu.stat", "nr_throttled"),
				    .throttled_ns = count(m, "", g, "cpu.stat", "throttled_usec") * 1000,
				    .memory = count(m, "", g, "memory.current", NULL),
				    .memory_peak = count(m, "", g, "memory.peak", NULL),
				    .memory_limit = count(m, "", g, "memory.max", NULL),
				    .cache = count(m, "", g, "memory.stat", "file"),
				    .rss = count(m, "", g, "memory.stat", "anon"),
				    .pids = count(m, "", g, "pids.current", NULL) };
}

static void read_now_v1(enum cgroup_mode m, const char *g, struct cgroup_now *out)
{
	const int64_t tick_ns = 1000000000 / sysconf(_SC_CLK_TCK);
	*out = (struct cgroup_now){ .cpu_ns = count(m, "cpuacct", g, "cpuacct.usage", NULL),
				    .cpu_user_ns = count(m, "cpuacct", g, "cpuacct.stat", "user") * tick_ns,
				    .cpu_system_ns = count(m, "cpuacct", g, "cpuacct.stat", "system") * tick_ns,
				    .periods = count(m, "cpu", g, "cpu.stat", "nr_periods"),
				    .throttled = count(m, "cpu", g, "cpu.stat", "nr_throttled"),
				    .throttled_ns = count(m, "cpu", g, "cpu.stat", "throttled_time"),
				    .memory = count(m, "memory", g, "memory.usage_in_bytes", NULL),
				    .memory_peak = count(m, "memory", g, "memory.max_usage_in_bytes", NULL),
				    .memory_limit = count(m, "memory", g, "memory.limit_in_bytes", NULL),
				    .cache = count(m, "memory", g, "memory.stat", "cache"),
				    .rss = count(m, "memory", g, "memory.stat", "rss"),
				    .pids = count(m, "pids", g, "pids.current", NULL) };
}

void cgroup_read_now(enum cgroup_mode mode, const char *group, struct cgroup_now *out)
{
	*out = (struct cgroup_now){ 0 };
	if (mode == CGROUP_UNIFIED)
		read_now_v2(group, out);
	else if (mode != CGROUP_NONE)
		read_now_v1(mode, group, out);
}

/* ---- v1, by ourselves ---- */

static const char *const own_controllers[] = { "cpu", "cpuacct", "memory", "pids", "devices" };
#define OWN_CONTROLLERS (sizeof(own_controllers) / sizeof(*own_controllers))

static int put(const char *controller, const char *group, const char *file, const char *text, struct error *err)
{
	char path[PATH_MAX];
	group_file(CGROUP_LEGACY, controller, group, file, path);
	int rc = path_put(path, text);
	return rc < 0 ? error_errno(err, -rc, "write `%s` to %s of cgroup %s", text, file, group) : 0;
}

static int put_number(const char *controller, const char *group, const char *file, int64_t number, struct error *err)
{
	char text[24];
	snprintf(text, sizeof(text), "%lld", (long long)number);
	return put(controller, group, file, text, err);
}

/* The group and its parents below the controller's root. 0 when the machine has no such controller. */
static int make_group(const char *controller, const char *group, struct error *err)
{
	char path[PATH_MAX];
	cgroup_v1_path(controller, "", path);
	if (access(path, F_OK) < 0)
		return 0;
	size_t base = strlen(path);
	cgroup_v1_path(controller, group, path);
	for (char *p = path + base + 1;; p++) {
		char was = *p;
		if (was && was != '/')
			continue;
		*p = 0;
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			return error_errno(err, errno, "make cgroup `%s`", path);
		*p = was;
		if (!was)
			return 1;
	}
}

/* What OCI runtimes allow by default: to make any node, and to use the harmless ones and the container's own terminals.
 */
static int limit_devices(const char *group, struct error *err)
{
	static const char *const allowed[] = { "c *:* m",   "b *:* m",   "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm",
					       "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm", "c 5:2 rwm", "c 136:* rwm" };
	if (put("devices", group, "devices.deny", "a", err) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(allowed) / sizeof(*allowed); i++)
		if (put("devices", group, "devices.allow", allowed[i], err) < 0)
			return -1;
	return 0;
}

static void add_setting(struct cgroup_setting *list, size_t *n, const char *file, int64_t value)
{
	list[*n].file = file;
	snprintf(list[(*n)++].value, sizeof(list->value), "%lld", (long long)value);
}

static size_t settings_v2(const struct cgroup_limits *l, struct cgroup_setting *out)
{
	size_t n = 0;
	if (l->cpus > 0) {
		out[n].file = "cpu.max";
		snprintf(out[n++].value, sizeof(out->value), "%lld 100000", (long long)(l->cpus * 100000));
	}
	if (l->cpu_shares) /* the scale that OCI runtimes use: 2..262144 to 1..10000 */
		add_setting(out, &n, "cpu.weight", 1 + (l->cpu_shares - 2) * 9999 / 262142);
	if (l->memory_bytes) {
		add_setting(out, &n, "memory.max", l->memory_bytes);
		add_setting(out, &n, "memory.swap.max", l->swap_bytes);
	}
	if (l->reservation_bytes)
		add_setting(out, &n, "memory.low", l->reservation_bytes);
	return n;
}

static size_t settings_v1(const struct cgroup_limits *l, struct cgroup_setting *out)
{
	size_t n = 0;
	if (l->cpus > 0) {
		add_setting(out, &n, "cpu/cpu.cfs_period_us", 100000);
		add_setting(out, &n, "cpu/cpu.cfs_quota_us", (int64_t)(l->cpus * 100000));
	}
	if (l->cpu_shares)
		add_setting(out, &n, "cpu/cpu.shares", l->cpu_shares);
	if (l->memory_bytes) {
		add_setting(out, &n, "memory/memory.limit_in_bytes", l->memory_bytes);
		add_setting(out, &n, "memory/memory.memsw.limit_in_bytes", l->memory_bytes + l->swap_bytes);
	}
	if (l->reservation_bytes)
		add_setting(out, &n, "memory/memory.soft_limit_in_bytes", l->reservation_bytes);
	if (l->swappiness >= 0)
		add_setting(out, &n, "memory/memory.swappiness", l->swappiness);
	return n;
}

size_t cgroup_settings(enum cgroup_mode mode, const struct cgroup_limits *limits,
		       struct cgroup_setting out[CGROUP_SETTINGS])
{
	return mode == CGROUP_UNIFIED ? settings_v2(limits, out) : settings_v1(limits, out);
}

/* A machine without swap accounting, or without a controller, has no such file. */
static int write_settings(enum cgroup_mode mode, const char *group, const struct cgroup_limits *limits,
			  struct error *err)
{
	struct cgroup_setting list[CGROUP_SETTINGS];
	size_t n = cgroup_settings(mode, limits, list);
	for (size_t i = 0; i < n; i++) {
		char path[PATH_MAX], controller[16] = "";
		const char *slash = strchr(list[i].file, '/'), *file = slash ? slash + 1 : list[i].file;
		if (slash)
			snprintf(controller, sizeof(controller), "%.*s", (int)(slash - list[i].file), list[i].file);
		group_file(mode, controller, group, file, path);
		int rc = path_put(path, list[i].value);
		if (rc < 0 && rc != -ENOENT)
			return error_errno(err, -rc, "write `%s` to %s of cgroup %s", list[i].value, file, group);
	}
	return 0;
}

static int make_task_v2(const char *group, struct error *err)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), ROOT "%s", group);
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return error_errno(err, errno, "make cgroup %s", group);
	return switch_on(group, err);
}

int cgroup_make_task(enum cgroup_mode mode, const char *group, const struct cgroup_limits *limits, struct error *err)
{
	if (mode == CGROUP_NONE)
		return 0;
	if (mode == CGROUP_UNIFIED) {
		if (make_task_v2(group, err) < 0)
			return -1;
	} else if (make_group("cpu", group, err) < 0 || make_group("memory", group, err) < 0) {
		return -1;
	} else { /* kernels before 5.11 count children only when told to */
		char path[PATH_MAX];
		group_file(mode, "memory", group, "memory.use_hierarchy", path);
		path_put(path, "1");
	}
	return write_settings(mode, group, limits, err);
}

int cgroup_make(const char *group, const struct cgroup_limits *limits, struct error *err)
{
	for (size_t i = 0; i < OWN_CONTROLLERS; i++) {
		int rc = make_group(own_controllers[i], group, err);
		if (rc < 0 || (rc > 0 && !strcmp(own_controllers[i], "devices") && limit_devices(group, err) < 0))
			return -1;
	}
	if (limits->pids)
		cgroup_limit_pids(group, limits->pids > CGROUP_START_PIDS ? limits->pids : CGROUP_START_PIDS);
	return write_settings(CGROUP_LEGACY, group, limits, err);
}

int cgroup_allow_device(const char *group, const char *rule, struct error *err)
{
	return put("devices", group, "devices.allow", rule, err);
}

int cgroup_enter(const char *group)
{
	for (size_t i = 0; i < OWN_CONTROLLERS; i++) {
		char path[PATH_MAX];
		group_file(CGROUP_LEGACY, own_controllers[i], group, "cgroup.procs", path);
		int rc = path_put(path, "0");
		if (rc < 0 && rc != -ENOENT)
			return rc;
	}
	return 0;
}

void cgroup_limit_pids(const char *group, int64_t pids)
{
	put_number("pids", group, "pids.max", pids, NULL);
}

/* ---- the end ---- */

/* Kills who is in now; returns how many there were. */
static int kill_round(enum cgroup_mode mode, const char *group)
{
	char path[PATH_MAX];
	group_file(mode, cgroup_has(mode, "pids") ? "pids" : "memory", group, "cgroup.procs", path);
	FILE *f = fopen(path, "re");
	if (!f)
		return 0;
	int n = 0;
	long pid;
	while (fscanf(f, "%ld", &pid) == 1)
		if (pid > 1) {
			kill((pid_t)pid, SIGKILL);
			n++;
		}
	fclose(f);
	return n;
}

void cgroup_kill(enum cgroup_mode mode, const char *group)
{
	if (mode == CGROUP_NONE)
		return;
	char path[PATH_MAX];
	if (mode == CGROUP_UNIFIED) {
		group_file(mode, "", group, "cgroup.kill", path);
		path_put(path, "1");
	}
	for (int tries = 0; tries < 500 && kill_round(mode, group) > 0; tries++)
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
}

static void remove_dir(const char *path)
{
	/* A dead process leaves its group a moment after it was waited for. */
	for (int tries = 0; tries < 200; tries++) {
		if (rmdir(path) == 0 || errno != EBUSY)
			return;
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 + 100000 * tries }, NULL);
	}
}

void cgroup_remove(enum cgroup_mode mode, const char *group)
{
	char path[PATH_MAX];
	if (mode == CGROUP_NONE)
		return;
	if (mode == CGROUP_UNIFIED) {
		snprintf(path, sizeof(path), ROOT "%s", group);
		remove_dir(path);
		return;
	}
	DIR *d = opendir(ROOT);
	for (struct dirent *entry; d && (entry = readdir(d));) {
		if (entry->d_type != DT_DIR || entry->d_name[0] == '.' || !strcmp(entry->d_name, "unified"))
			continue;
		cgroup_v1_path(entry->d_name, group, path);
		remove_dir(path);
	}
	if (d)
		closedir(d);
}
