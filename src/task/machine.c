/* machine.c - see machine.h. */
#include "task/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "task/path.h"

const char *machine_find_program(struct arena *a, const char *name)
{
	static const char *const dirs[] = { "/usr/local/bin", "/usr/local/sbin", "/usr/bin", "/usr/sbin", "/bin",
					    "/sbin" };
	if (strchr(name, '/'))
		return access(name, X_OK) == 0 ? arena_strdup(a, str_from(name)) : NULL;
	for (size_t i = 0; i < sizeof(dirs) / sizeof(*dirs); i++) {
		const char *path = arena_printf(a, "%s/%s", dirs[i], name);
		if (access(path, X_OK) == 0)
			return path;
	}
	return NULL;
}

#ifndef MFD_EXEC
#define MFD_EXEC 0x10u
#endif
#define ALL_SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

bool machine_is_sealed(int fd)
{
	return fcntl(fd, F_GET_SEALS) == ALL_SEALS;
}

int machine_seal_program(const char *path, struct error *err)
{
	struct stat st;
	CLEANUP_FD int in = open(path, O_RDONLY | O_CLOEXEC);
	if (in < 0 || fstat(in, &st) < 0)
		return error_errno(err, errno, "open `%s`", path);
	int fd = memfd_create("runtime", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
	if (fd < 0) /* a kernel before 6.3 does not know MFD_EXEC */
		fd = memfd_create("runtime", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int rc = fd < 0 ? errno : 0;
	for (off_t left = st.st_size; rc == 0 && left > 0;) {
		ssize_t n = sendfile(fd, in, NULL, (size_t)left);
		if (n <= 0)
			rc = n < 0 ? errno : EIO;
		left -= n > 0 ? n : 0;
	}
	if (rc == 0 && fcntl(fd, F_ADD_SEALS, ALL_SEALS) < 0)
		rc = errno;
	if (rc && fd >= 0)
		close(fd);
	return rc ? error_errno(err, rc, "copy `%s` into memory", path) : fd;
}

bool machine_program_knows(const char *path, const char *text)
{
	struct stat st;
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size <= 0)
		return false;
	void *all = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (all == MAP_FAILED)
		return false;
	bool found = memmem(all, (size_t)st.st_size, text, strlen(text)) != NULL;
	munmap(all, (size_t)st.st_size);
	return found;
}

static double count_cpus(void)
{
	cpu_set_t set;
	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		return CPU_COUNT(&set);
	return (double)get_nprocs();
}

static int64_t limit_in(const char *path, int64_t most)
{
	char text[64];
	int64_t value;
	if (path_get(path, text, sizeof(text)) > 0 && str_to_i64(str_trim(str_from(text)), &value) && value > 0 &&
	    value < most)
		return value;
	return most;
}

static int64_t find_memory(void)
{
	struct sysinfo info;
	int64_t most = sysinfo(&info) == 0 ? (int64_t)info.totalram * info.mem_unit : (int64_t)1 << 30;
	most = limit_in("/sys/fs/cgroup/memory.max", most);
	return limit_in("/sys/fs/cgroup/memory/memory.limit_in_bytes", most);
}

void machine_detect(struct arena *a, const char *wanted, struct machine *out)
{
	size_t n = 0;
	*out = (struct machine){ .cpus = count_cpus(),
				 .memory_bytes = find_memory(),
				 .cgroup = cgroup_detect(),
				 .rootless = geteuid() != 0 };
	out->runtime = machine_find_program(a, wanted ? wanted : "crun");
	if (!out->runtime && !wanted)
		out->runtime = machine_find_program(a, "runc");
	if (!out->runtime)
		out->notes[n++] = "no OCI runtime found (crun or runc): tasks cannot start";
	else
		out->crun = strstr(strrchr(out->runtime, '/'), "crun") != NULL;
	out->slirp = machine_find_program(a, "slirp4netns");
	if (!out->slirp)
		out->notes[n++] =
			"slirp4netns is not installed: tasks with a network of their own reach nothing but Quern";
	if (out->rootless)
		out->notes[n++] =
			"runs without root: one user id inside containers, and /usr of built-in images is read-only";
	if (out->cgroup == CGROUP_NONE)
		out->notes[n++] = "no usable cgroups: CPU, memory and process limits are not enforced";
	else if (!cgroup_has(out->cgroup, "memory") || !cgroup_has(out->cgroup, "cpu") ||
		 !cgroup_has(out->cgroup, "pids"))
		out->notes[n++] = "some cgroup controllers are missing: not every limit is enforced";
}

int machine_map_user(uid_t uid, gid_t gid, struct error *err)
{
	char text[64];
	snprintf(text, sizeof(text), "0 %u 1", (unsigned)uid);
	int rc = path_put("/proc/self/setgroups", "deny");
	if (rc == 0)
		rc = path_put("/proc/self/uid_map", text);
	snprintf(text, sizeof(text), "0 %u 1", (unsigned)gid);
	if (rc == 0)
		rc = path_put("/proc/self/gid_map", text);
	return rc < 0 ? error_errno(err, -rc, "map the user in a user namespace") : 0;
}
