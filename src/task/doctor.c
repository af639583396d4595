/* doctor.c - can this machine run tasks? Each check says what it found and, when it is not well, the command that mends
 * it.
 *
 * DESIGN: what can be tried is tried (in a child process that leaves nothing behind), not guessed from versions. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "task/cdi.h"
#include "task/filter.h"
#include "task/image.h"
#include "task/machine.h"
#include "task/path.h"
#include "task/task.h"

#define DISK_WANTED ((uint64_t)10 << 30)

/* fix NULL: nothing to do. */
static void add(json_t *list, const char *check, bool ok, const char *fix, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
static void add(json_t *list, const char *check, bool ok, const char *fix, const char *fmt, ...)
{
	va_list ap;
	CLEANUP_FREE char *detail = NULL;
	va_start(ap, fmt);
	if (vasprintf(&detail, fmt, ap) < 0)
		BUG("out of memory");
	va_end(ap);
	json_t *one = json_object();
	json_set_text(one, "check", check);
	json_set_bool(one, "ok", ok);
	json_set_text(one, "detail", detail);
	json_object_set_new(one, "fix", ok || !fix ? json_null() : json_string(fix));
	json_array_append_new(list, one);
}

/* The data directory, or before the first start the nearest directory above it that is there; owned. */
static char *nearest_dir(const char *data_dir)
{
	char *dir = mem_strdup(*data_dir ? data_dir : "/");
	struct stat st;
	while (stat(dir, &st) < 0 && errno == ENOENT) {
		char *slash = strrchr(dir, '/');
		if (!slash) {
			free(dir);
			return mem_strdup(".");
		}
		slash[slash == dir] = '\0';
	}
	return dir;
}

/* Runs fn in a child; its result is the errno, 0 = it works. */
static int try(int (*fn)(const char *dir), const char *dir)
{
	pid_t pid = fork();
	int status;
	if (pid == 0)
		_exit(fn(dir) & 0xff);
	if (pid < 0)
		return errno;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EFAULT;
}

static int try_user_namespace(const char *dir)
{
	return unshare(CLONE_NEWUSER) < 0 ? errno : 0;
}

static int try_overlay(const char *dir)
{
	char options[PATH_MAX * 3], path[PATH_MAX];
	uid_t uid = geteuid();
	gid_t gid = getegid();
	bool root = uid == 0;
	if (unshare(CLONE_NEWNS | (root ? 0 : CLONE_NEWUSER)) < 0)
		return errno;
	if (!root && machine_map_user(uid, gid, NULL) < 0)
		return EPERM;
	if (mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return errno;
	static const char *const parts[] = { "l", "u", "w", "m" };
	for (size_t i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, parts[i]);
		if (mkdir(path, 0700) < 0)
			return errno;
	}
	snprintf(options, sizeof(options), "lowerdir=%s/l,upperdir=%s/u,workdir=%s/w%s", dir, dir, dir,
		 root ? "" : ",userxattr");
	return mount("quern", path, "overlay", 0, options) < 0 ? errno : 0;
}

static void check_overlay(json_t *list, const char *data_dir)
{
	CLEANUP_FREE char *dir = NULL;
	if (asprintf(&dir, "%s/.doctor-XXXXXX", data_dir) < 0)
		BUG("out of memory");
	if (!mkdtemp(dir)) {
		add(list, "overlay", false, "quern --data DIRECTORY-OF-YOURS up", "cannot write in %s: %s", data_dir,
		    strerror(errno));
		return;
	}
	int rc = try(try_overlay, dir);
	CLEANUP_FD int parent = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	path_remove_tree(parent, strrchr(dir, '/') + 1, NULL);
	if (rc)
		add(list, "overlay", false,
		    rc == ENODEV ? "sudo modprobe overlay" : "quern --data DIRECTORY-ON-EXT4-OR-XFS up",
		    "an overlay with its upper layer in %s cannot be mounted: %s", data_dir, strerror(rc));
	else
		add(list, "overlay", true, NULL, "works in %s", data_dir);
}

static void check_runtime(json_t *list, const struct machine *m)
{
	if (!m->runtime)
		add(list, "runtime", false, "sudo apt install crun", "neither crun nor runc is installed");
	else
		add(list, "runtime", true, NULL, "%s%s", m->runtime,
		    m->crun ? "" : " (crun starts containers about twice as fast)");
}

static void check_egress(json_t *list, const struct machine *m)
{
	const char *lacks = !m->slirp                                 ? "slirp4netns is not installed"
			    : access("/dev/net/tun", R_OK | W_OK) < 0 ? "/dev/net/tun cannot be opened"
								      : NULL;
	add(list, "egress", !lacks, m->slirp ? "sudo modprobe tun" : "sudo apt install slirp4netns",
	    "%s%stasks with a network of their own reach %s", lacks ? lacks : "", lacks ? ": " : "",
	    lacks ? "nothing but Quern" : "what this machine reaches");
}

static void check_cgroups(json_t *list, const struct machine *m)
{
	static const char *const wanted[] = { "cpu", "memory", "pids" };
	char missing[64] = "";
	for (size_t i = 0; i < 3; i++)
		if (!cgroup_has(m->cgroup, wanted[i]))
			snprintf(missing + strlen(missing), sizeof(missing) - strlen(missing), " %s", wanted[i]);
	if (m->cgroup == CGROUP_NONE)
		add(list, "cgroups", false,
		    m->rootless ? "sudo quern up (the part that answers requests is not root there either)"
				: "sudo mount -o remount,rw /sys/fs/cgroup",
		    "not usable: CPU, memory and process limits are not enforced%s",
		    m->rootless ? " without root" : "");
	else
		add(list, "cgroups", !*missing, "add cgroup_enable=memory to the kernel command line, then reboot",
		    "%s%s%s", cgroup_mode_name(m->cgroup), *missing ? "; missing:" : " with cpu, memory, pids",
		    missing);
}

static void check_disk(json_t *list, const char *data_dir)
{
	struct statvfs fs;
	if (statvfs(data_dir, &fs) < 0) {
		add(list, "disk", false, NULL, "%s: %s", data_dir, strerror(errno));
		return;
	}
	uint64_t avail = (uint64_t)fs.f_bavail * fs.f_frsize;
	add(list, "disk", avail >= DISK_WANTED, "quern --data DIRECTORY up", "%.1f GiB free in %s",
	    (double)avail / (1 << 30), data_dir);
}

static void check_packages(json_t *list)
{
	static const char *const names[] = { "python3",        "python3-pip",     "python3-sklearn", "python3-pandas",
					     "python3-joblib", "python3-xgboost", "libxgboost0" };
	char missing[256] = "", fix[320];
	if (access("/var/lib/dpkg/info", X_OK) < 0) {
		add(list, "packages", true, NULL,
		    "not a Debian system: whether /usr has Python with scikit-learn, pandas and xgboost is not "
		    "checked");
		return;
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!image_package_installed(names[i]))
			snprintf(missing + strlen(missing), sizeof(missing) - strlen(missing), " %s", names[i]);
	snprintf(fix, sizeof(fix), "sudo apt install%s", missing);
	add(list, "packages", !*missing, fix, "%s%s",
	    *missing ? "built-in images lack:" : "those of the built-in images are installed", missing);
}

static void check_init(json_t *list)
{
	bool there = access("/usr/bin/tini-static", X_OK) == 0 || access("/usr/bin/catatonit", X_OK) == 0;
	add(list, "init", there, "sudo apt install tini",
	    there ? "for containers that ask for a reaper"
		  : "no tini-static or catatonit: containers that ask for a reaper (initProcessEnabled) do not start");
}

static void check_filter(json_t *list)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_BUF struct buf bpf = BUF_INIT;
	int rc = access("/proc/sys/kernel/seccomp/actions_avail", F_OK) < 0
			 ? error_set(&err, "the kernel has no seccomp filters")
			 : seccomp_bpf_base64(&bpf, &err);
	add(list, "seccomp", rc == 0, "boot a kernel with CONFIG_SECCOMP_FILTER", "%s",
	    rc == 0 ? "system calls of containers are filtered" : error_text(&err));
}

static void check_gpus(json_t *list, const char *cdi_dirs)
{
	struct arena a = ARENA_INIT;
	struct cdi cdi;
	CLEANUP_BUF struct buf text = BUF_INIT;
	cdi_load(&a, cdi_dirs, &cdi);
	const char **gpus = cdi_gpus(&a, &cdi);
	for (size_t i = 0; gpus[i]; i++)
		buf_printf(&text, "%s%s", i ? ", " : "", gpus[i]);
	bool driver = access("/dev/nvidiactl", F_OK) == 0;
	if (*gpus)
		add(list, "gpus", true, NULL, "%.*s", STR_ARG(buf_str(&text)));
	else if (cdi.notes[0] || driver)
		add(list, "gpus", false, "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml", "%s",
		    cdi.notes[0] ? cdi.notes[0] : "there is a GPU, but no CDI file describes it");
	else
		add(list, "gpus", true, NULL, "none (no CDI file in %s)", cdi_dirs ? cdi_dirs : CDI_DIRS);
	arena_release(&a);
}

json_t *task_doctor(const char *data_dir, const char *cdi_dirs)
{
	CLEANUP_FREE char *dir = nearest_dir(data_dir);
	struct arena a = ARENA_INIT;
	struct machine m;
	json_t *list = json_array();
	machine_detect(&a, NULL, &m);
	add(list, "privileges", true, NULL,
	    m.rootless ? "runs without root: one user inside containers" : "runs as root");
	check_runtime(list, &m);
	check_egress(list, &m);
	check_cgroups(list, &m);
	int rc = try(try_user_namespace, dir);
	if (m.rootless || rc == 0)
		add(list, "user namespaces", rc == 0,
		    "sudo sysctl -w user.max_user_namespaces=65536 kernel.unprivileged_userns_clone=1", "%s",
		    rc ? strerror(rc) : "can be made");
	check_overlay(list, dir);
	check_filter(list);
	check_disk(list, dir);
	check_init(list);
	check_gpus(list, cdi_dirs);
	check_packages(list);
	arena_release(&a);
	return list;
}
