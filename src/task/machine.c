/* machine.c - see machine.h. */
#include "task/machine.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "task/path.h"

const char *machine_find_program(struct arena *a, const char *name)
{
	static const char *const dirs[] = { "/usr/local/bin", "/usr/local/sbin", "/usr/bin", "/usr/sbin", "/bin", "/sbin" };
	if (strchr(name, '/'))
		return access(name, X_OK) == 0 ? arena_strdup(a, str_from(name)) : NULL;
	for (size_t i = 0; i < sizeof(dirs) / sizeof(*dirs); i++) {
		const char *path = arena_printf(a, "%s/%s", dirs[i], name);
		if (access(path, X_OK) == 0)
			return path;
	}
	return NULL;
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
	if (path_get(path, text, sizeof(text)) > 0 && str_to_i64(str_trim(str_from(text)), &value) && value > 0 && value < most)
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
	*out = (struct machine){ .cpus = count_cpus(), .memory_bytes = find_memory(), .cgroup = cgroup_detect(),
				 .rootless = geteuid() != 0 };
	out->runtime = machine_find_program(a, wanted ? wanted : "crun");
	if (!out->runtime && !wanted)
		out->runtime = machine_find_program(a, "runc");
	if (!out->runtime)
		out->notes[n++] = "no OCI runtime found (crun or runc): tasks cannot start";
	else
		out->crun = strstr(strrchr(out->runtime, '/'), "crun") != NULL;
	if (out->rootless)
		out->notes[n++] = "runs without root: one user id inside containers, and /usr of built-in images is read-only";
	if (out->cgroup == CGROUP_NONE)
		out->notes[n++] = "no usable cgroups: CPU, memory and process limits are not enforced";
	else if (!cgroup_has(out->cgroup, "memory") || !cgroup_has(out->cgroup, "cpu") || !cgroup_has(out->cgroup, "pids"))
		out->notes[n++] = "some cgroup controllers are missing: not every limit is enforced";
}
