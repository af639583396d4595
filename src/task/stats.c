/* stats.c - see stats.h. Source of the form: Docker Engine API, GET /containers/{id}/stats with one-shot. */
#include "task/stats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "task/path.h"

/* user + system time of the whole machine, in ns */
static int64_t machine_cpu_ns(void)
{
	char text[4096];
	int64_t sum = 0;
	if (path_get("/proc/stat", text, sizeof(text)) < 0 || strncmp(text, "cpu ", 4))
		return 0;
	char *at = text + 4;
	for (int i = 0; i < 8; i++)
		sum += strtoll(at, &at, 10);
	return sum * (1000000000 / sysconf(_SC_CLK_TCK));
}

static json_t *cpu_stats(const struct cgroup_now *now, int64_t machine_ns)
{
	return json_pack("{s:{s:I,s:I,s:I},s:I,s:i,s:{s:I,s:I,s:I}}", "cpu_usage", "total_usage",
			 (json_int_t)now->cpu_ns, "usage_in_kernelmode", (json_int_t)now->cpu_system_ns,
			 "usage_in_usermode", (json_int_t)now->cpu_user_ns, "system_cpu_usage", (json_int_t)machine_ns,
			 "online_cpus", get_nprocs(), "throttling_data", "periods", (json_int_t)now->periods,
			 "throttled_periods", (json_int_t)now->throttled, "throttled_time",
			 (json_int_t)now->throttled_ns);
}

static json_t *memory_stats(const struct cgroup_now *now)
{
	struct sysinfo info;
	int64_t all = sysinfo(&info) == 0 ? (int64_t)info.totalram * info.mem_unit : 0;
	int64_t limit = now->memory_limit > 0 && now->memory_limit < all ? now->memory_limit : all;
	return json_pack("{s:I,s:I,s:I,s:{s:I,s:I}}", "usage", (json_int_t)now->memory, "max_usage",
			 (json_int_t)now->memory_peak, "limit", (json_int_t)limit, "stats", "cache",
			 (json_int_t)now->cache, "rss", (json_int_t)now->rss);
}

/* "eth0: 1 2 …" lines: 8 counters in, 8 out. Loopback is left out. */
static json_t *networks(int pid)
{
	char path[64], text[4096];
	json_t *out = json_object();
	snprintf(path, sizeof(path), "/proc/%d/net/dev", pid);
	if (pid <= 0 || path_get(path, text, sizeof(text)) < 0)
		return out;
	struct str rest = str_from(text), line;
	while (str_split(&rest, '\n', &line)) {
		ptrdiff_t colon = str_find_char(line, ':');
		if (colon < 0)
			continue;
		char name[32], *at = (char *)line.ptr + colon + 1;
		struct str trimmed = str_trim(str_head(line, (size_t)colon));
		snprintf(name, sizeof(name), "%.*s", STR_ARG(trimmed));
		long long v[12];
		for (int i = 0; i < 12; i++)
			v[i] = strtoll(at, &at, 10);
		if (strcmp(name, "lo"))
			json_object_set_new(out, name,
					    json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "rx_bytes", v[0],
						      "rx_packets", v[1], "rx_errors", v[2], "rx_dropped", v[3],
						      "tx_bytes", v[8], "tx_packets", v[9], "tx_errors", v[10],
						      "tx_dropped", v[11]));
	}
	return out;
}

json_t *stats_read(enum cgroup_mode mode, const char *group, int pid)
{
	const struct cgroup_now zero = { 0 };
	struct cgroup_now now;
	char at[40];
	cgroup_read_now(mode, group, &now);
	json_t *out = json_object();
	json_set_text(out, "read", clock_iso_ms(clock_now_ms(), at));
	json_set_text(out, "preread", "0001-01-01T00:00:00Z");
	json_set_int(out, "num_procs", 0);
	json_object_set_new(out, "pids_stats", json_pack("{s:I}", "current", (json_int_t)now.pids));
	json_object_set_new(out, "cpu_stats", cpu_stats(&now, machine_cpu_ns()));
	json_object_set_new(out, "precpu_stats", cpu_stats(&zero, 0));
	json_object_set_new(out, "memory_stats", memory_stats(&now));
	json_object_set_new(out, "blkio_stats", json_object());
	json_object_set_new(out, "storage_stats", json_object());
	json_object_set_new(out, "networks", networks(pid));
	return out;
}
