/* fuzz_task.c - any bytes as what the executor reads from its socket, and any JSON as a task spec, any text as YAML.
 *
 * DESIGN: the first byte chooses. Checked beside memory safety: a refused spec always says ValidationException, and an
 * accepted one has only host paths that stay below the data directory and out of the executor's own. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../fuzz/fuzz_json.h"
#include "base/json.h"
#include "task/cdi_yaml.h"
#include "task/frame.h"
#include "task/image.h"
#include "task/path.h"
#include "task/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_host_path(const char *rel)
{
	char whole[8192];
	if (!rel)
		return;
	if (strlen(rel) > 4096 || !*rel || *rel == '/')
		abort();
	whole[0] = '/';
	strcpy(whole + 1, rel);
	if (!path_is_clean(whole) || !strncmp(rel, "tasks/.exec", 11))
		abort();
}

static void try_spec(struct str text)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_JSON json_t *json = json_parse(text, NULL);
	struct arena a = ARENA_INIT;
	struct task_spec spec;
	if (!json)
		return;
	if (spec_parse(&a, json, "/data", &spec, &err) < 0) {
		if (!error_is(&err, "ValidationException"))
			abort();
		arena_release(&a);
		return;
	}
	if (!spec_id_ok(spec.id) || !spec.ncontainers)
		abort();
	for (size_t i = 0; i < spec.ncontainers; i++) {
		const struct spec_container *c = &spec.containers[i];
		check_host_path(c->log);
		for (size_t k = 0; k < c->nmounts; k++) {
			check_host_path(c->mounts[k].source);
			if (!path_is_clean(c->mounts[k].target))
				abort();
		}
	}
	arena_release(&a);
}

static void try_frames(struct str bytes)
{
	CLEANUP_BUF struct buf in = BUF_INIT;
	buf_add_str(&in, bytes);
	for (int rc = 1; rc > 0;) {
		CLEANUP_JSON json_t *message = NULL;
		rc = frame_take(&in, 1 << 20, &message, NULL);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	struct str rest = str_of(data + 1, size - 1);
	if (data[0] % 4 == 0) {
		try_spec(rest);
	} else if (data[0] % 4 == 1) {
		try_frames(rest);
	} else if (data[0] % 4 == 3) {
		CLEANUP_JSON json_t *value = cdi_yaml_parse(rest, NULL);
		free(value ? json_text_dup(value) : NULL); /* whatever is read can be written */
	} else {
		struct arena a = ARENA_INIT;
		const char *repository, *tag;
		image_split(&a, arena_strdup(&a, rest), &repository, &tag, NULL);
		arena_release(&a);
	}
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
	static const char *const words[] = { "add",
					     "after",
					     "always",
					     "bind",
					     "capabilities",
					     "command",
					     "condition",
					     "config",
					     "container",
					     "container_port",
					     "containers",
					     "core",
					     "cpu",
					     "cpu_quota",
					     "cpu_shares",
					     "count",
					     "cpus",
					     "data",
					     "digest",
					     "dns",
					     "drop",
					     "egress",
					     "endpoints",
					     "entrypoint",
					     "env",
					     "essential",
					     "exec",
					     "files",
					     "form",
					     "from",
					     "fsize",
					     "gpus",
					     "hard",
					     "health",
					     "host",
					     "host_port",
					     "hostname",
					     "hosts",
					     "id",
					     "ignored",
					     "image",
					     "init",
					     "interval_ms",
					     "ip",
					     "ipc",
					     "keep_failed",
					     "layers",
					     "limits",
					     "locks",
					     "log",
					     "max_runtime_ms",
					     "memlock",
					     "memory",
					     "memory_reservation",
					     "mode",
					     "mounts",
					     "msgqueue",
					     "name",
					     "network",
					     "nice",
					     "nofile",
					     "none",
					     "nproc",
					     "one_network",
					     "outputs",
					     "path",
					     "period_ms",
					     "pids",
					     "ports",
					     "protocol",
					     "private",
					     "readonly",
					     "readonly_root",
					     "report",
					     "resources",
					     "restart",
					     "retries",
					     "rootfs",
					     "rss",
					     "rtprio",
					     "rttime",
					     "scratch",
					     "search",
					     "seed",
					     "servers",
					     "shared_pid",
					     "shm",
					     "sigpending",
					     "size",
					     "soft",
					     "source",
					     "stack",
					     "stage",
					     "start_period_ms",
					     "start_timeout_ms",
					     "stop_signal",
					     "stop_timeout_ms",
					     "success",
					     "swap",
					     "swappiness",
					     "sys_ptrace",
					     "sysctls",
					     "target",
					     "tasks",
					     "text",
					     "timeout_ms",
					     "tmpfs",
					     "type",
					     "ulimits",
					     "user",
					     "when",
					     "workdir",
					     "writable",
					     "START",
					     "COMPLETE",
					     "SUCCESS",
					     "HEALTHY",
					     "CMD-SHELL",
					     "on-failure",
					     "tar.gz",
					     "/data/x",
					     "/opt/ml",
					     "../x",
					     "SIGTERM",
					     "main",
					     "s",
					     "NET_RAW",
					     "ALL",
					     "1000:1000",
					     "tcp" };
	return fuzz_json_mutate(data, size, max, seed, 1, words, sizeof(words) / sizeof(*words));
}
