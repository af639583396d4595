/* oci.c - the OCI runtime configuration of one container.
 *
 * DESIGN: what Docker gives a container by default (capabilities, masked paths, /dev, seccomp), with no_new_privs on
 * top. The environment is built from zero. With the host's network CAP_NET_RAW is left out: it could read the loopback
 * traffic of others. The same file serves crun and runc; crun takes the seccomp filter ready-made (see filter.h). */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "task/cdi.h"
#include "task/path.h"
#include "task/filter.h"
#include "task/sup.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static json_t *text_array(const char *const *list, size_t n)
{
	json_t *array = json_array();
	for (size_t i = 0; i < n && list[i]; i++)
		json_array_append_new(array, json_string(list[i]));
	return array;
}

/* ---- process ---- */

static void add_texts(json_t *array, const char **list)
{
	for (size_t i = 0; list && list[i]; i++)
		json_array_append_new(array, json_string(list[i]));
}

/* As Docker does: an entrypoint of the task drops the image's command too. */
static int make_args(struct sup_container *c, json_t *args, struct error *err)
{
	add_texts(args, c->spec->entrypoint ? c->spec->entrypoint : c->image.entrypoint);
	add_texts(args, c->spec->command ? c->spec->command : c->spec->entrypoint ? NULL : c->image.command);
	if (c->spec->init && json_array_size(args))
		json_array_insert_new(args, 0, json_string("--")),
			json_array_insert_new(args, 0, json_string("/dev/init"));
	return json_array_size(args) ? 0 : error_set(err, "no command specified");
}

static json_t *make_env(struct sup_container *c)
{
	CLEANUP_JSON json_t *map = json_object();
	json_set_text(map, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	json_set_text(map, "HOSTNAME", sup_hostname(c));
	json_set_text(map, "HOME", c->home);
	json_set_text(map, "TERM", c->spec->terminal ? "xterm" : NULL);
	for (size_t i = 0; c->image.env && c->image.env[i]; i++) {
		const char *eq = strchr(c->image.env[i], '=');
		if (eq)
			json_set_text(
				map,
				arena_strdup(&c->sup->arena, str_of(c->image.env[i], (size_t)(eq - c->image.env[i]))),
				eq + 1);
	}
	json_object_update(map, c->spec->env);
	json_t *env = json_array();
	const char *key;
	json_t *value;
	json_object_foreach (map, key, value)
		json_array_append_new(env, json_sprintf("%s=%s", key, json_string_value(value)));
	return env;
}

static const char *const default_caps[] = {
	"CAP_AUDIT_WRITE", "CAP_CHOWN",   "CAP_DAC_OVERRIDE",     "CAP_FOWNER",    "CAP_FSETID",
	"CAP_KILL",        "CAP_MKNOD",   "CAP_NET_BIND_SERVICE", "CAP_NET_RAW",   "CAP_SETFCAP",
	"CAP_SETGID",      "CAP_SETPCAP", "CAP_SETUID",           "CAP_SYS_CHROOT"
};

static bool in_list(const char **list, const char *name)
{
	for (size_t i = 0; list[i]; i++)
		if (!strcmp(list[i], name) || !strcmp(list[i], "ALL"))
			return true;
	return false;
}

/* The host's network is nobody's to read along; and without a control group for devices a node that a container makes
 * would open the machine's disks. */
static bool is_withheld(const struct sup *s, const char *cap)
{
	return (s->spec.network == NETWORK_HOST && !strcmp(cap, "CAP_NET_RAW")) ||
	       (!cgroup_has(s->cgroup, "devices") && !strcmp(cap, "CAP_MKNOD"));
}

static json_t *make_caps(const struct sup_container *c)
{
	json_t *list = json_array(), *caps = json_object();
	for (size_t i = 0; i < COUNT(default_caps); i++)
		if (!in_list(c->spec->cap_drop, default_caps[i]) && !is_withheld(c->sup, default_caps[i]))
			json_array_append_new(list, json_string(default_caps[i]));
	for (size_t i = 0; c->spec->cap_add[i]; i++)
		if (!is_withheld(c->sup, c->spec->cap_add[i]))
			json_array_append_new(list, json_string(c->spec->cap_add[i]));
	json_object_set(caps, "bounding", list);
	if (c->uid == 0) { /* another user gets none, as with Docker */
		json_object_set(caps, "effective", list);
		json_object_set(caps, "permitted", list);
	}
	json_decref(list);
	return caps;
}

static const struct {
	const char *name;
	int resource;
} limits[] = { { "core", RLIMIT_CORE },         { "cpu", RLIMIT_CPU },
	       { "data", RLIMIT_DATA },         { "fsize", RLIMIT_FSIZE },
	       { "locks", RLIMIT_LOCKS },       { "memlock", RLIMIT_MEMLOCK },
	       { "msgqueue", RLIMIT_MSGQUEUE }, { "nice", RLIMIT_NICE },
	       { "nofile", RLIMIT_NOFILE },     { "nproc", RLIMIT_NPROC },
	       { "rss", RLIMIT_RSS },           { "rtprio", RLIMIT_RTPRIO },
	       { "rttime", RLIMIT_RTTIME },     { "sigpending", RLIMIT_SIGPENDING },
	       { "stack", RLIMIT_STACK } };

/* A limit above the hard one we live under needs CAP_SYS_RESOURCE, which root may lack: it is cut, with a note. */
static json_t *make_rlimits(struct sup_container *c)
{
	json_t *array = json_array();
	for (size_t i = 0; i < c->spec->nulimits; i++) {
		const struct spec_ulimit *u = &c->spec->ulimits[i];
		struct rlimit own = { RLIM_INFINITY, RLIM_INFINITY };
		for (size_t k = 0; k < COUNT(limits); k++)
			if (!strcmp(limits[k].name, u->name))
				getrlimit((__rlimit_resource_t)limits[k].resource, &own);
		uint64_t soft = u->soft < 0 ? RLIM_INFINITY : (uint64_t)u->soft,
			 hard = u->hard < 0 ? RLIM_INFINITY : (uint64_t)u->hard;
		if (hard > own.rlim_max)
			sup_note(c->sup, "%s: ulimit %s cut to %llu, the hard limit of this machine", c->spec->name,
				 u->name, (unsigned long long)own.rlim_max);
		hard = hard < own.rlim_max ? hard : own.rlim_max;
		soft = soft < hard ? soft : hard;
		char type[32] = "RLIMIT_";
		for (size_t k = 0; u->name[k] && k < 20; k++)
			type[7 + k] = (char)(u->name[k] - 'a' + 'A');
		json_t *one = json_object();
		json_set_text(one, "type", type);
		/* jansson holds signed 64 bits; the largest of them is as good as no limit */
		json_set_int(one, "soft", (int64_t)(soft > INT64_MAX ? INT64_MAX : soft));
		json_set_int(one, "hard", (int64_t)(hard > INT64_MAX ? INT64_MAX : hard));
		json_array_append_new(array, one);
	}
	return array;
}

static int make_process(struct sup_container *c, json_t *config, struct error *err)
{
	json_t *process = json_object(), *user = json_object(), *args = json_array();
	json_object_set_new(config, "process", process);
	json_set_bool(process, "terminal", c->sup->terminal || c->spec->terminal);
	json_set_int(user, "uid", c->uid);
	json_set_int(user, "gid", c->gid);
	json_object_set_new(process, "user", user);
	json_object_set_new(process, "args", args);
	json_object_set_new(process, "env", make_env(c));
	json_set_text(process, "cwd", c->spec->workdir ? c->spec->workdir : c->image.workdir ? c->image.workdir : "/");
	json_object_set_new(process, "capabilities", make_caps(c));
	json_set_bool(process, "noNewPrivileges", true);
	if (c->spec->nulimits)
		json_object_set_new(process, "rlimits", make_rlimits(c));
	return make_args(c, args, err);
}

/* ---- mounts ---- */

/* options: separated by commas */
static void add_mount(json_t *list, const char *target, const char *type, const char *source, const char *options)
{
	json_t *m = json_object(), *array = json_array();
	struct str rest = str_from(options), one;
	while (str_split(&rest, ',', &one))
		json_array_append_new(array, json_stringn(one.ptr, one.len));
	json_set_text(m, "destination", target);
	json_set_text(m, "type", type);
	json_set_text(m, "source", source);
	json_object_set_new(m, "options", array);
	json_array_append_new(list, m);
}

/* Programs read their CPU and memory limits there (OpenMP and thread pools size themselves by it). */
static void add_cgroup_view(struct sup_container *c, json_t *list)
{
	static const char *const shown[] = { "cpu", "memory" };
	if (c->sup->cgroup == CGROUP_UNIFIED)
		add_mount(list, "/sys/fs/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev,relatime,ro");
	if (c->sup->cgroup != CGROUP_LEGACY && c->sup->cgroup != CGROUP_HYBRID)
		return;
	add_mount(list, "/sys/fs/cgroup", "tmpfs", "tmpfs", "nosuid,noexec,nodev,mode=755,size=64k");
	for (size_t i = 0; i < COUNT(shown); i++) {
		char path[PATH_MAX], target[64], parent[PATH_MAX];
		if (!cgroup_has(c->sup->cgroup, shown[i]))
			continue;
		/* The runtime mounts before or after it makes the group, as it likes: make it now. */
		cgroup_v1_path(shown[i], c->group, path);
		snprintf(parent, sizeof(parent), "%s", path);
		*strrchr(parent, '/') = 0;
		char *task = strrchr(parent, '/');
		*task = 0;
		mkdir(parent, 0755);
		*task = '/';
		mkdir(parent, 0755);
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			continue;
		snprintf(target, sizeof(target), "/sys/fs/cgroup/%s", shown[i]);
		add_mount(list, target, "bind", path, "bind,ro,nosuid,noexec,nodev");
	}
}

static void add_system_mounts(struct sup_container *c, json_t *list)
{
	struct arena *a = &c->sup->arena;
	int64_t shm = c->spec->shm_bytes ? c->spec->shm_bytes : SPEC_SHM_BYTES;
	add_mount(list, "/proc", "proc", "proc", "nosuid,noexec,nodev");
	add_mount(list, "/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k");
	add_mount(list, "/dev/pts", "devpts", "devpts",
		  c->sup->rootless ? "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620"
				   : "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5");
	add_mount(list, "/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev");
	if (c->sup->shm)
		add_mount(list, "/dev/shm", "bind", c->sup->shm, "bind,rw,nosuid,noexec,nodev");
	else if (c->sup->spec.ipc != IPC_NONE)
		add_mount(list, "/dev/shm", "tmpfs", "shm",
			  arena_printf(a, "nosuid,noexec,nodev,mode=1777,size=%lld", (long long)shm));
	/* A new sysfs needs a network namespace that belongs to our user namespace. */
	if (c->sup->rootless && c->sup->spec.network == NETWORK_HOST)
		add_mount(list, "/sys", "bind", "/sys", "rbind,ro,nosuid,noexec,nodev");
	else
		add_mount(list, "/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro");
	add_cgroup_view(c, list);
}

static void add_spec_mounts(struct sup_container *c, json_t *list)
{
	struct arena *a = &c->sup->arena;
	for (size_t k = 0; k < c->spec->nmounts; k++) {
		const struct spec_mount *m = &c->spec->mounts[k];
		const char *ready = arena_printf(a, "%s/m%zu", c->dir, k);
		if (m->kind == SPEC_TMPFS) {
			const char *size = m->size_bytes ? arena_printf(a, ",size=%lld", (long long)m->size_bytes) : "";
			add_mount(list, m->target, "tmpfs", "tmpfs", arena_printf(a, "nosuid,nodev,mode=1777%s", size));
			continue;
		}
		if (m->kind == SPEC_SCRATCH)
			ready = arena_printf(a, "%s/x/s/%s", c->sup->priv, m->name);
		add_mount(list, m->target, "bind", ready,
			  m->writable ? "bind,rw,nosuid,nodev" : "bind,ro,nosuid,nodev");
	}
}

/* The little reaper (PID 1) of Debian's tini, bound to /dev/init. */
static int add_init(struct sup_container *c, json_t *list, struct error *err)
{
	static const char *const places[] = { "/usr/bin/tini-static", "/usr/bin/catatonit",
					      "/usr/libexec/podman/catatonit" };
	if (!c->spec->init)
		return 0;
	for (size_t i = 0; i < COUNT(places); i++)
		if (access(places[i], X_OK) == 0) {
			add_mount(list, "/dev/init", "bind", places[i], "bind,ro,nosuid,nodev");
			return 0;
		}
	return error_set(err, "init: no tini-static or catatonit on this machine (apt install tini)");
}

/* ---- linux ---- */

static json_t *cpu_resources(const struct sup_container *c)
{
	json_t *cpu = json_object();
	if (c->spec->cpu_quota > 0) {
		json_set_int(cpu, "quota", (int64_t)(c->spec->cpu_quota * 100000));
		json_set_int(cpu, "period", 100000);
	}
	if (c->spec->cpu_shares)
		json_set_int(cpu, "shares", c->spec->cpu_shares);
	return cpu;
}

static json_t *memory_resources(const struct sup_container *c)
{
	json_t *memory = json_object();
	if (c->spec->memory_bytes) {
		bool swap = access("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes", F_OK) == 0;
		json_set_int(memory, "limit", c->spec->memory_bytes);
		if (swap || c->sup->cgroup == CGROUP_UNIFIED) /* memory and swap together */
			json_set_int(memory, "swap", c->spec->memory_bytes + c->spec->swap_bytes);
	}
	if (c->spec->memory_reservation_bytes)
		json_set_int(memory, "reservation", c->spec->memory_reservation_bytes);
	if (c->spec->swappiness >= 0 && c->sup->cgroup != CGROUP_UNIFIED)
		json_set_int(memory, "swappiness", c->spec->swappiness);
	return memory;
}

static json_t *make_resources(struct sup_container *c)
{
	json_t *resources = json_object();
	enum cgroup_mode mode = c->sup->cgroup;
	if (mode == CGROUP_NONE || c->own_cgroups)
		return resources;
	json_object_set_new(resources, "devices", json_pack("[{s:b,s:s}]", "allow", 0, "access", "rwm"));
	if (cgroup_has(mode, "cpu"))
		json_object_set_new(resources, "cpu", cpu_resources(c));
	if (cgroup_has(mode, "memory"))
		json_object_set_new(resources, "memory", memory_resources(c));
	if (c->spec->pids && cgroup_has(mode, "pids"))
		json_object_set_new(resources, "pids", json_pack("{s:I}", "limit", (json_int_t)c->spec->pids));
	return resources;
}

/* A new one, or the one that our descriptor fd holds. */
static void add_namespace(json_t *list, const char *type, int fd)
{
	json_t *one = json_pack("{s:s}", "type", type);
	if (fd >= 0)
		json_object_set_new(one, "path", json_sprintf("/proc/%d/fd/%d", (int)getpid(), fd));
	json_array_append_new(list, one);
}

static json_t *make_namespaces(const struct sup_container *c)
{
	json_t *list = json_array();
	add_namespace(list, "pid", c->sup->pid_ns);
	add_namespace(list, "ipc", c->sup->ipc_ns);
	add_namespace(list, "uts", -1);
	add_namespace(list, "mount", -1);
	if (c->sup->cgroup == CGROUP_UNIFIED)
		add_namespace(list, "cgroup", -1);
	if (c->sup->spec.network != NETWORK_HOST)
		add_namespace(list, "network", c->netns);
	return list;
}

static void make_linux(struct sup_container *c, json_t *config)
{
	static const char *const masked[] = {
		"/proc/acpi",        "/proc/asound",        "/proc/interrupts", "/proc/kcore",
		"/proc/keys",        "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
		"/proc/sched_debug", "/proc/scsi",          "/sys/firmware",    "/sys/devices/virtual/powercap"
	};
	static const char *const readonly[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
						"/proc/sysrq-trigger" };
	json_t *linux_part = json_object();
	json_object_set_new(config, "linux", linux_part);
	json_object_set_new(linux_part, "namespaces", make_namespaces(c));
	json_object_set_new(linux_part, "resources", make_resources(c));
	if (c->sup->cgroup != CGROUP_NONE && !c->own_cgroups)
		json_set_text(linux_part, "cgroupsPath", c->group);
	if (c->spec->nsysctls) {
		json_t *sysctls = json_object();
		for (size_t i = 0; i < c->spec->nsysctls; i++)
			if (c->sup->ipc_ns < 0 || !spec_is_ipc_sysctl(c->spec->sysctls[i].name)) /* share.c did those */
				json_set_text(sysctls, c->spec->sysctls[i].name, c->spec->sysctls[i].value);
		json_object_set_new(linux_part, "sysctl", sysctls);
	}
	json_object_set_new(linux_part, "maskedPaths", text_array(masked, COUNT(masked)));
	json_object_set_new(linux_part, "readonlyPaths", text_array(readonly, COUNT(readonly)));
	if (c->sup->crun && c->sup->seccomp_bpf)
		json_object_set_new(config, "annotations",
				    json_pack("{s:s}", "run.oci.seccomp_bpf_data", c->sup->seccomp_bpf));
	else
		json_object_set_new(linux_part, "seccomp", seccomp_oci_profile());
}

int oci_make_config(struct sup_container *c, struct error *err)
{
	CLEANUP_JSON json_t *config = json_object();
	json_set_text(config, "ociVersion", "1.0.2");
	if (make_process(c, config, err) < 0)
		return -1;
	json_object_set_new(config, "root",
			    json_pack("{s:s,s:b}", "path", "root", "readonly", (int)c->spec->readonly_root));
	json_set_text(config, "hostname", sup_hostname(c));
	json_t *mounts = json_array();
	json_object_set_new(config, "mounts", mounts);
	add_system_mounts(c, mounts);
	if (add_init(c, mounts, err) < 0)
		return -1;
	add_spec_mounts(c, mounts);
	make_linux(c, config);
	if (c->edits && cdi_apply(&c->sup->arena, c->edits, config, err) < 0)
		return -1;
	CLEANUP_FREE char *text = json_text_dup(config);
	c->config = arena_str(&c->sup->arena, str_from(text));
	return 0;
}
