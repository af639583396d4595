/* spec.c - see spec.h. */
#include "task/spec.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/json.h"
#include "task/path.h"
#include "task/spec_read.h"

#define PORT_RANGE_MAX 1000
#define MAX_CONTAINERS 64
#define MAX_BYTES ((int64_t)1 << 50)

bool spec_id_ok(const char *id)
{
	if (!id || !*id || strlen(id) > SPEC_ID_MAX)
		return false;
	return strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(id);
}

int spec_signal(const char *name)
{
	int64_t number;
	if (str_to_i64(str_from(name), &number))
		return number > 0 && number < NSIG ? (int)number : 0;
	if (!strncmp(name, "SIG", 3))
		name += 3;
	for (int i = 1; i < NSIG; i++) {
		const char *abbrev = sigabbrev_np(i);
		if (abbrev && !strcmp(abbrev, name))
			return i;
	}
	return 0;
}

static int parse_mount(const struct spec_at *at, const json_t *obj, struct spec_mount *m)
{
	const char *type;
	if (spec_get_text(at, obj, "type", true, &type) < 0 || spec_get_target(at, obj, "target", &m->target) < 0)
		return -1;
	if (!strcmp(type, "stage")) {
		m->kind = SPEC_STAGE;
		m->writable = json_get_bool(obj, "writable", true);
		return spec_get_host_path(at, obj, "source", true, &m->source);
	}
	if (!strcmp(type, "bind")) {
		m->kind = SPEC_BIND;
		m->writable = !json_get_bool(obj, "readonly", true);
		return spec_get_host_path(at, obj, "source", true, &m->source);
	}
	if (!strcmp(type, "scratch")) {
		m->kind = SPEC_SCRATCH;
		m->writable = !json_get_bool(obj, "readonly", false);
		if (spec_get_text(at, obj, "name", true, &m->name) < 0)
			return -1;
		if (!spec_name_ok(m->name, 64))
			return spec_bad(at, "name", "must match [A-Za-z0-9][A-Za-z0-9._-]{0,63}");
		return spec_get_host_path(at, obj, "seed", false, &m->seed);
	}
	if (!strcmp(type, "tmpfs")) {
		m->kind = SPEC_TMPFS;
		m->writable = true;
		return spec_get_int(at, obj, "size", 4096, MAX_BYTES, &m->size_bytes);
	}
	return spec_bad(at, "type", "must be stage, scratch, bind or tmpfs, not `%.40s`", type);
}

static int components(const char *path)
{
	int n = 0;
	for (; *path; path++)
		n += *path == '/';
	return n;
}

/* Parents before children, else the order of the spec. */
static void sort_mounts(struct spec_mount *m, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		struct spec_mount one = m[i];
		size_t k = i;
		for (; k > 0 && components(m[k - 1].target) > components(one.target); k--)
			m[k] = m[k - 1];
		m[k] = one;
	}
}

static int parse_mounts(const struct spec_at *at, const json_t *obj, struct spec_container *c)
{
	json_t *array;
	if (spec_get_array(at, obj, "mounts", 256, &array, &c->nmounts) < 0)
		return -1;
	c->mounts = ARENA_ARRAY(at->arena, struct spec_mount, c->nmounts + 1);
	for (size_t i = 0; i < c->nmounts; i++) {
		struct spec_at in = *at;
		in.where = arena_printf(at->arena, "%smounts[%zu].", at->where, i);
		if (parse_mount(&in, json_array_get(array, i), &c->mounts[i]) < 0)
			return -1;
		for (size_t k = 0; k < i; k++)
			if (!strcmp(c->mounts[k].target, c->mounts[i].target))
				return spec_bad(&in, "target", "is mounted twice: `%.200s`", c->mounts[i].target);
	}
	sort_mounts(c->mounts, c->nmounts);
	return 0;
}

static int parse_files(const struct spec_at *at, const json_t *obj, struct spec_container *c)
{
	json_t *array;
	if (spec_get_array(at, obj, "files", SPEC_ITEMS_MAX, &array, &c->nfiles) < 0)
		return -1;
	c->files = ARENA_ARRAY(at->arena, struct spec_file, c->nfiles + 1);
	for (size_t i = 0; i < c->nfiles; i++) {
		const json_t *one = json_array_get(array, i);
		struct spec_file *f = &c->files[i];
		struct spec_at in = *at;
		in.where = arena_printf(at->arena, "%sfiles[%zu].", at->where, i);
		int64_t mode = 0644;
		if (spec_get_target(&in, one, "path", &f->path) < 0 ||
		    spec_get_int(&in, one, "mode", 0, 0777, &mode) < 0)
			return -1;
		if (!json_is_string(json_get(one, "text")))
			return spec_bad(&in, "text", "must be a text");
		f->text = json_str(json_get(one, "text"));
		f->mode = (unsigned)mode;
	}
	return 0;
}

static int parse_ulimits(const struct spec_at *at, const json_t *obj, struct spec_container *c)
{
	static const char *const known[] = { "core",    "cpu",      "data",   "fsize",      "locks",
					     "memlock", "msgqueue", "nice",   "nofile",     "nproc",
					     "rss",     "rtprio",   "rttime", "sigpending", "stack" };
	json_t *array;
	if (spec_get_array(at, obj, "ulimits", 15, &array, &c->nulimits) < 0)
		return -1;
	c->ulimits = ARENA_ARRAY(at->arena, struct spec_ulimit, c->nulimits + 1);
	for (size_t i = 0; i < c->nulimits; i++) {
		const json_t *one = json_array_get(array, i);
		struct spec_ulimit *u = &c->ulimits[i];
		struct spec_at in = *at;
		in.where = arena_printf(at->arena, "%sulimits[%zu].", at->where, i);
		if (spec_get_text(&in, one, "name", true, &u->name) < 0 ||
		    spec_get_int(&in, one, "soft", -1, INT64_MAX, &u->soft) < 0)
			return -1;
		u->hard = u->soft;
		if (spec_get_int(&in, one, "hard", -1, INT64_MAX, &u->hard) < 0)
			return -1;
		bool found = false;
		for (size_t k = 0; k < sizeof(known) / sizeof(*known); k++)
			found |= !strcmp(known[k], u->name);
		if (!found)
			return spec_bad(&in, "name", "is not a limit: `%.40s`", u->name);
	}
	return 0;
}

/* "sys_ptrace", "SYS_PTRACE", "CAP_SYS_PTRACE" -> "CAP_SYS_PTRACE". */
static int cap_names(const struct spec_at *at, const char *key, const char **list, const char ***out)
{
	size_t n = 0;
	while (list && list[n])
		n++;
	*out = ARENA_ARRAY(at->arena, const char *, n + 1);
	for (size_t i = 0; i < n; i++) {
		if (!spec_chars_ok(list[i], 40, "_"))
			return spec_bad(at, key, "holds a bad name: `%.40s`", list[i]);
		char *name = arena_printf(at->arena, "CAP_%s", strncasecmp(list[i], "CAP_", 4) ? list[i] : list[i] + 4);
		for (char *p = name; *p; p++)
			*p = (char)toupper((unsigned char)*p);
		(*out)[i] = strcmp(name, "CAP_ALL") ? name : "ALL";
	}
	return 0;
}

/* What a task may ask for beyond the default set. Anything that reaches the host (CAP_SYS_ADMIN, CAP_SYS_MODULE, ...)
 * is refused, and CAP_NET_ADMIN too where the network is the host's. In a PID name space with others CAP_SYS_PTRACE
 * reaches the host through the runtime that starts those (share.h). */
static int check_cap_add(const struct spec_at *at, const char **caps, const struct task_spec *task)
{
	static const char *const may[] = {
		"CAP_AUDIT_WRITE", "CAP_CHOWN",      "CAP_DAC_OVERRIDE", "CAP_FOWNER",
		"CAP_FSETID",      "CAP_KILL",       "CAP_MKNOD",        "CAP_NET_BIND_SERVICE",
		"CAP_SETFCAP",     "CAP_SETGID",     "CAP_SETPCAP",      "CAP_SETUID",
		"CAP_SYS_CHROOT",  "CAP_SYS_PTRACE", "CAP_IPC_LOCK",     "CAP_SYS_NICE",
		"CAP_IPC_OWNER",   "CAP_LEASE"
	};
	for (size_t i = 0; caps[i]; i++) {
		bool ok = task->network != NETWORK_HOST &&
			  (!strcmp(caps[i], "CAP_NET_ADMIN") || !strcmp(caps[i], "CAP_NET_RAW"));
		for (size_t k = 0; k < sizeof(may) / sizeof(*may); k++)
			ok |= !strcmp(caps[i], may[k]);
		if (!ok)
			return spec_bad(at, "capabilities.add", "may not hold %s%s", caps[i],
					task->network == NETWORK_HOST && !strncmp(caps[i], "CAP_NET_", 8)
						? " with network \"host\""
						: "");
		if (task->shared_pid && !strcmp(caps[i], "CAP_SYS_PTRACE"))
			return spec_bad(at, "capabilities.add",
					"may not hold CAP_SYS_PTRACE where containers share a PID name space");
	}
	return 0;
}

static int parse_capabilities(const struct spec_at *at, const json_t *obj, const struct task_spec *task,
			      struct spec_container *c)
{
	json_t *caps = json_get(obj, "capabilities");
	const char **add = NULL, **drop = NULL;
	if (spec_get_texts(at, caps, "add", &add) < 0 || spec_get_texts(at, caps, "drop", &drop) < 0 ||
	    cap_names(at, "capabilities.add", add, &c->cap_add) < 0 ||
	    cap_names(at, "capabilities.drop", drop, &c->cap_drop) < 0)
		return -1;
	return check_cap_add(at, c->cap_add, task);
}

static int parse_env(const struct spec_at *at, const json_t *obj, struct spec_container *c)
{
	c->env = json_get(obj, "env");
	if (!c->env)
		return 0;
	if (!json_is_object(c->env) || json_object_size(c->env) > SPEC_ITEMS_MAX)
		return spec_bad(at, "env", "must be an object of at most %d texts", SPEC_ITEMS_MAX);
	const char *key;
	json_t *value;
	size_t total = 0;
	json_object_foreach (c->env, key, value) {
		if (!*key || strchr(key, '='))
			return spec_bad(at, "env", "holds a bad name: `%.80s`", key);
		if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value))
			return spec_bad(at, "env", "holds a value that is not a text: `%.80s`", key);
		total += strlen(key) + json_string_length(value) + 2;
	}
	/* One string may be 128 KiB (MAX_ARG_STRLEN); the runtime reports that. */
	return total <= 2 << 20 ? 0 : spec_bad(at, "env", "is larger than 2 MiB");
}

static int parse_essential(const struct spec_at *at, const json_t *obj, struct spec_container *c)
{
	json_t *value = json_get(obj, "essential");
	c->essential = ESSENTIAL_YES;
	if (!value || json_is_true(value))
		return 0;
	if (json_is_string(value) && !strcmp(json_string_value(value), "on-failure")) {
		c->essential = ESSENTIAL_ON_FAILURE;
		return 0;
	}
	c->essential = ESSENTIAL_NO;
	return json_is_false(value) ? 0 : spec_bad(at, "essential", "must be true, false or \"on-failure\"");
}

static int parse_memory(const struct spec_at *at, const json_t *obj, struct spec_container *c)
{
	c->swappiness = -1;
	if (spec_get_int(at, obj, "memory", 6 << 20, MAX_BYTES, &c->memory_bytes) < 0 ||
	    spec_get_int(at, obj, "memory_reservation", 4096, MAX_BYTES, &c->memory_reservation_bytes) < 0 ||
	    spec_get_int(at, obj, "swap", 0, MAX_BYTES, &c->swap_bytes) < 0 ||
	    spec_get_int(at, obj, "swappiness", 0, 100, &c->swappiness) < 0)
		return -1;
	if (c->memory_bytes && c->memory_reservation_bytes > c->memory_bytes)
		return spec_bad(at, "memory_reservation", "must not be larger than memory");
	return 0;
}

static int parse_limits(const struct spec_at *at, const json_t *obj, struct spec_container *c)
{
	const char *signal_name;
	c->stop_timeout_ms = 30000;
	if (spec_get_cpus(at, obj, "cpu_quota", &c->cpu_quota) < 0 || parse_memory(at, obj, c) < 0 ||
	    spec_get_int(at, obj, "cpu_shares", 2, 262144, &c->cpu_shares) < 0 ||
	    spec_get_int(at, obj, "gpus", 1, 64, &c->gpus) < 0 ||
	    spec_get_int(at, obj, "pids", 1, 4 << 20, &c->pids) < 0 ||
	    spec_get_int(at, obj, "shm", 4096, MAX_BYTES, &c->shm_bytes) < 0 ||
	    spec_get_int(at, obj, "stop_timeout_ms", 0, 86400000, &c->stop_timeout_ms) < 0 ||
	    spec_get_text(at, obj, "stop_signal", false, &signal_name) < 0)
		return -1;
	if (signal_name && !(c->stop_signal = spec_signal(signal_name)))
		return spec_bad(at, "stop_signal", "is not a signal: `%.40s`", signal_name);
	return 0;
}

static int parse_after(const struct spec_at *at, const json_t *obj, struct spec_container *c)
{
	static const char *const names[] = { "START", "COMPLETE", "SUCCESS", "HEALTHY" };
	json_t *array;
	if (spec_get_array(at, obj, "after", MAX_CONTAINERS, &array, &c->nafter) < 0)
		return -1;
	c->after = ARENA_ARRAY(at->arena, struct spec_after, c->nafter + 1);
	for (size_t i = 0; i < c->nafter; i++) {
		const char *condition;
		struct spec_at in = *at;
		in.where = arena_printf(at->arena, "%safter[%zu].", at->where, i);
		if (spec_get_text(&in, json_array_get(array, i), "container", true, &c->after[i].container) < 0 ||
		    spec_get_text(&in, json_array_get(array, i), "condition", true, &condition) < 0)
			return -1;
		size_t k = 0;
		while (k < 4 && strcmp(names[k], condition))
			k++;
		if (k == 4)
			return spec_bad(&in, "condition", "must be START, COMPLETE, SUCCESS or HEALTHY, not `%.40s`",
					condition);
		c->after[i].condition = (enum spec_condition)k;
	}
	return spec_get_int(at, obj, "start_timeout_ms", 0, 86400000, &c->start_timeout_ms);
}

static int parse_health(const struct spec_at *at, const json_t *obj, struct spec_container *c)
{
	const json_t *health = json_get(obj, "health");
	struct spec_at in = *at;
	in.where = arena_printf(at->arena, "%shealth.", at->where);
	if (!health)
		return 0;
	struct spec_health *h = c->health = ARENA_NEW(at->arena, struct spec_health);
	*h = (struct spec_health){ .interval_ms = 30000, .timeout_ms = 5000, .retries = 3 };
	if (spec_get_texts(&in, health, "command", &h->command) < 0 ||
	    spec_get_int(&in, health, "interval_ms", 100, 86400000, &h->interval_ms) < 0 ||
	    spec_get_int(&in, health, "timeout_ms", 100, 86400000, &h->timeout_ms) < 0 ||
	    spec_get_int(&in, health, "retries", 1, 1000, &h->retries) < 0 ||
	    spec_get_int(&in, health, "start_period_ms", 0, 86400000, &h->start_period_ms) < 0)
		return -1;
	if (!h->command || !h->command[0] || !h->command[1] ||
	    (strcmp(h->command[0], "CMD") && strcmp(h->command[0], "CMD-SHELL")))
		return spec_bad(&in, "command", "must be CMD or CMD-SHELL and a command");
	return 0;
}

static int parse_ports(const struct spec_at *at, const json_t *obj, struct spec_container *c)
{
	json_t *array;
	if (spec_get_array(at, obj, "ports", 100, &array, &c->nports) < 0)
		return -1;
	c->ports = ARENA_ARRAY(at->arena, struct spec_port, c->nports + 1);
	for (size_t i = 0; i < c->nports; i++) {
		int64_t inside = 0, outside = 0, count = 1;
		struct spec_at in = *at;
		const char *protocol;
		in.where = arena_printf(at->arena, "%sports[%zu].", at->where, i);
		if (spec_get_int(&in, json_array_get(array, i), "container_port", 1, 65535, &inside) < 0 ||
		    spec_get_int(&in, json_array_get(array, i), "host_port", 0, 65535, &outside) < 0 ||
		    spec_get_int(&in, json_array_get(array, i), "count", 1, PORT_RANGE_MAX, &count) < 0 ||
		    spec_get_text(&in, json_array_get(array, i), "protocol", false, &protocol) < 0)
			return -1;
		if (!inside)
			return spec_bad(&in, "container_port", "is missing");
		if (protocol && strcmp(protocol, "tcp") && strcmp(protocol, "udp"))
			return spec_bad(&in, "protocol", "must be tcp or udp");
		if (inside + count > 65536 || outside + count > 65536)
			return spec_bad(&in, "count", "reaches behind port 65535");
		c->ports[i] = (struct spec_port){ (uint16_t)inside, (uint16_t)outside, (uint16_t)count,
						  protocol && !strcmp(protocol, "udp") };
	}
	return 0;
}

static int parse_restart(const struct spec_at *at, const json_t *obj, struct spec_container *c)
{
	json_t *restart = json_get(obj, "restart"), *array;
	struct spec_at in = *at;
	in.where = arena_printf(at->arena, "%srestart.", at->where);
	if (!restart)
		return 0;
	struct spec_restart *r = c->restart = ARENA_NEW(at->arena, struct spec_restart);
	r->period_ms = 300000;
	if (spec_get_int(&in, restart, "period_ms", 0, 86400000, &r->period_ms) < 0 ||
	    spec_get_array(&in, restart, "ignored", 256, &array, &r->nignored) < 0)
		return -1;
	r->ignored = ARENA_ARRAY(at->arena, int, r->nignored + 1);
	for (size_t i = 0; i < r->nignored; i++) {
		if (!json_is_integer(json_array_get(array, i)))
			return spec_bad(&in, "ignored", "must hold whole numbers");
		r->ignored[i] = (int)json_integer_value(json_array_get(array, i));
	}
	return 0;
}

static int parse_forward(const struct spec_at *at, const json_t *obj, struct spec_container *c)
{
	json_t *forward = json_get(obj, "forward");
	struct spec_at in = *at;
	in.where = arena_printf(at->arena, "%sforward.", at->where);
	if (!forward)
		return 0;
	struct spec_forward *f = c->forward = ARENA_NEW(at->arena, struct spec_forward);
	if (spec_get_text(&in, forward, "container", true, &f->container) < 0 ||
	    spec_get_text(&in, forward, "scratch", true, &f->scratch) < 0 ||
	    spec_get_text(&in, forward, "tag", true, &f->tag) < 0 ||
	    spec_get_text(&in, forward, "id", true, &f->id) < 0 ||
	    spec_get_text(&in, forward, "name", true, &f->name) < 0)
		return -1;
	if (c->log)
		return spec_bad(at, "forward", "and log cannot both be given");
	return spec_get_int(&in, forward, "records", 0, INT32_MAX, &f->records);
}

static bool ip_ok(const char *text)
{
	unsigned char at[16];
	return inet_pton(AF_INET, text, at) == 1 || inet_pton(AF_INET6, text, at) == 1;
}

/* One word for a line of /etc/hosts or resolv.conf. */
static bool host_ok(const char *name)
{
	return spec_chars_ok(name, 253, "._-");
}

static int parse_hosts(const struct spec_at *at, const json_t *obj, struct spec_container *c)
{
	json_t *array;
	if (spec_get_text(at, obj, "hostname", false, &c->hostname) < 0 ||
	    spec_get_array(at, obj, "hosts", SPEC_ITEMS_MAX, &array, &c->nhosts) < 0)
		return -1;
	if (c->hostname && (!host_ok(c->hostname) || strlen(c->hostname) > 64))
		return spec_bad(at, "hostname", "is no host name: `%.80s`", c->hostname);
	c->hosts = ARENA_ARRAY(at->arena, struct spec_host, c->nhosts + 1);
	for (size_t i = 0; i < c->nhosts; i++) {
		struct spec_at in = *at;
		in.where = arena_printf(at->arena, "%shosts[%zu].", at->where, i);
		if (spec_get_text(&in, json_array_get(array, i), "name", true, &c->hosts[i].name) < 0 ||
		    spec_get_text(&in, json_array_get(array, i), "ip", false, &c->hosts[i].ip) < 0 ||
		    spec_get_text(&in, json_array_get(array, i), "container", false, &c->hosts[i].container) < 0)
			return -1;
		if (!host_ok(c->hosts[i].name))
			return spec_bad(&in, "name", "is no host name: `%.80s`", c->hosts[i].name);
		if (!c->hosts[i].ip == !c->hosts[i].container)
			return spec_bad(&in, "ip", "or container must be there, one of them");
		if (c->hosts[i].ip && !ip_ok(c->hosts[i].ip))
			return spec_bad(&in, "ip", "is no address: `%.80s`", c->hosts[i].ip);
	}
	return 0;
}

static int parse_dns(const struct spec_at *at, const json_t *obj, struct spec_container *c)
{
	const json_t *dns = json_get(obj, "dns");
	struct spec_at in = *at;
	in.where = arena_printf(at->arena, "%sdns.", at->where);
	if (spec_get_texts(&in, dns, "servers", &c->dns_servers) < 0 ||
	    spec_get_texts(&in, dns, "search", &c->dns_search) < 0)
		return -1;
	for (size_t i = 0; c->dns_servers && c->dns_servers[i]; i++)
		if (!ip_ok(c->dns_servers[i]))
			return spec_bad(&in, "servers", "holds no address: `%.80s`", c->dns_servers[i]);
	for (size_t i = 0; c->dns_search && c->dns_search[i]; i++)
		if (!host_ok(c->dns_search[i]))
			return spec_bad(&in, "search", "holds no domain: `%.80s`", c->dns_search[i]);
	return 0;
}

bool spec_is_ipc_sysctl(const char *name)
{
	static const char *const all[] = { "kernel.msgmax", "kernel.msgmnb",          "kernel.msgmni",
					   "kernel.sem",    "kernel.shmall",          "kernel.shmmax",
					   "kernel.shmmni", "kernel.shm_rmid_forced", "fs.mqueue." };
	bool found = false;
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		found |= !strncmp(name, all[i], strlen(all[i]));
	return found;
}

/* Kernel parameters that belong to a namespace of the container's own: those of its IPC namespace, and those of its
 * network when that is not the host's. */
static int parse_sysctls(const struct spec_at *at, const json_t *obj, enum spec_network network,
			 struct spec_container *c)
{
	const json_t *sysctls = json_get(obj, "sysctls");
	const char *name;
	json_t *value;
	c->sysctls = ARENA_ARRAY(at->arena, struct spec_sysctl, json_object_size(sysctls) + 1);
	json_object_foreach ((json_t *)sysctls, name, value) {
		bool ok = network != NETWORK_HOST && !strncmp(name, "net.", 4);
		if ((!ok && !spec_is_ipc_sysctl(name)) || !spec_chars_ok(name, 200, "._-"))
			return spec_bad(at, "sysctls", "may not hold `%.80s`: it is not the container's own", name);
		if (!json_is_string(value) || json_string_length(value) > 200 ||
		    strpbrk(json_string_value(value), "\n\r"))
			return spec_bad(at, "sysctls", "holds a bad value of `%.80s`", name);
		c->sysctls[c->nsysctls++] = (struct spec_sysctl){ name, json_string_value(value) };
	}
	return 0;
}

static int parse_rootfs(const struct spec_at *at, const json_t *obj, struct spec_container *c)
{
	json_t *rootfs = json_get(obj, "rootfs"), *array;
	struct spec_at in = *at;
	in.where = arena_printf(at->arena, "%srootfs.", at->where);
	if (!rootfs)
		return 0;
	if (spec_get_array(&in, rootfs, "layers", 127, &array, &c->nlayers) < 0)
		return -1;
	if (!c->nlayers)
		return spec_bad(&in, "layers", "must hold at least one");
	c->rootfs_config = json_get(rootfs, "config");
	c->layers = ARENA_ARRAY(at->arena, struct spec_layer, c->nlayers);
	for (size_t i = 0; i < c->nlayers; i++) {
		const json_t *one = json_array_get(array, i);
		in.where = arena_printf(at->arena, "%srootfs.layers[%zu].", at->where, i);
		if (spec_get_text(&in, one, "digest", true, &c->layers[i].digest) < 0 ||
		    spec_get_text(&in, one, "diff_id", true, &c->layers[i].diff_id) < 0 ||
		    spec_get_host_path(&in, one, "path", true, &c->layers[i].path) < 0)
			return -1;
	}
	return 0;
}

static int parse_container(const struct spec_at *at, const json_t *obj, const struct task_spec *task,
			   struct spec_container *c)
{
	if (!json_is_object(obj))
		return spec_bad(at, "", "must be an object");
	if (spec_get_text(at, obj, "name", true, &c->name) < 0 ||
	    spec_get_text(at, obj, "image", true, &c->image) < 0 ||
	    spec_get_texts(at, obj, "entrypoint", &c->entrypoint) < 0 ||
	    spec_get_texts(at, obj, "command", &c->command) < 0 ||
	    spec_get_text(at, obj, "user", false, &c->user) < 0 ||
	    spec_get_text(at, obj, "workdir", false, &c->workdir) < 0)
		return -1;
	if (!spec_name_ok(c->name, 128))
		return spec_bad(at, "name", "must match [A-Za-z0-9][A-Za-z0-9._-]{0,127}");
	if (!*c->image || strlen(c->image) > 1024)
		return spec_bad(at, "image", "must have 1 to 1024 characters");
	if (c->user && !spec_chars_ok(c->user, 128, "._-:"))
		return spec_bad(at, "user", "must be `uid[:gid]` or a name: `%.80s`", c->user);
	if (c->workdir && !path_is_clean(c->workdir))
		return spec_bad(at, "workdir", "must be an absolute path: `%.200s`", c->workdir);
	c->readonly_root = json_get_bool(obj, "readonly_root", false);
	c->init = json_get_bool(obj, "init", false);
	c->terminal = json_get_bool(obj, "terminal", false);
	c->input = json_get_bool(obj, "stdin", false);
	if (parse_env(at, obj, c) < 0 || parse_mounts(at, obj, c) < 0 || parse_files(at, obj, c) < 0 ||
	    parse_essential(at, obj, c) < 0 || parse_limits(at, obj, c) < 0 || parse_ulimits(at, obj, c) < 0)
		return -1;
	if (parse_capabilities(at, obj, task, c) < 0 || parse_rootfs(at, obj, c) < 0 || parse_after(at, obj, c) < 0 ||
	    parse_health(at, obj, c) < 0 || parse_ports(at, obj, c) < 0 || parse_restart(at, obj, c) < 0 ||
	    parse_hosts(at, obj, c) < 0 || parse_dns(at, obj, c) < 0 || parse_sysctls(at, obj, task->network, c) < 0)
		return -1;
	if (spec_get_host_path(at, obj, "log", false, &c->log) < 0)
		return -1;
	return parse_forward(at, obj, c);
}

static int parse_containers(const struct spec_at *at, const json_t *json, struct task_spec *out)
{
	json_t *array;
	if (spec_get_array(at, json, "containers", MAX_CONTAINERS, &array, &out->ncontainers) < 0)
		return -1;
	if (!out->ncontainers)
		return spec_bad(at, "containers", "must hold at least one");
	out->containers = ARENA_ARRAY(at->arena, struct spec_container, out->ncontainers);
	for (size_t i = 0; i < out->ncontainers; i++) {
		struct spec_at in = *at;
		in.where = arena_printf(at->arena, "containers[%zu].", i);
		if (parse_container(&in, json_array_get(array, i), out, &out->containers[i]) < 0)
			return -1;
		for (size_t k = 0; k < i; k++)
			if (!strcmp(out->containers[k].name, out->containers[i].name))
				return spec_bad(&in, "name", "is used twice: `%s`", out->containers[i].name);
	}
	return 0;
}

static bool has_scratch(const struct task_spec *spec, const char *name)
{
	for (size_t i = 0; i < spec->ncontainers; i++)
		for (size_t k = 0; k < spec->containers[i].nmounts; k++) {
			const struct spec_mount *m = &spec->containers[i].mounts[k];
			if (m->kind == SPEC_SCRATCH && !strcmp(m->name, name))
				return true;
		}
	return false;
}

static bool has_container(const struct task_spec *spec, const char *name)
{
	for (size_t i = 0; i < spec->ncontainers; i++)
		if (!strcmp(spec->containers[i].name, name))
			return true;
	return false;
}

/* Names that exist, no cycle: in each round a container whose needs are gone goes; none goes means a cycle. */
static int check_after(const struct spec_at *at, const struct task_spec *spec)
{
	bool gone[MAX_CONTAINERS] = { 0 };
	size_t left = spec->ncontainers;
	for (bool moved = true; moved && left;) {
		moved = false;
		for (size_t i = 0; i < spec->ncontainers; i++) {
			const struct spec_container *c = &spec->containers[i];
			bool now = !gone[i];
			for (size_t d = 0; d < c->nafter && now; d++) {
				if (!has_container(spec, c->after[d].container))
					return spec_bad(at, "containers", "wait for one that is not there: `%.80s`",
							c->after[d].container);
				for (size_t o = 0; o < spec->ncontainers; o++)
					now &= gone[o] || strcmp(spec->containers[o].name, c->after[d].container);
			}
			if (now)
				gone[i] = moved = true, left--;
		}
	}
	return left ? spec_bad(at, "containers", "wait for each other") : 0;
}

/* To another container, through a directory that is there. */
static int check_forward(const struct spec_at *at, const struct task_spec *spec)
{
	for (size_t i = 0; i < spec->ncontainers; i++) {
		const struct spec_container *c = &spec->containers[i];
		if (!c->forward)
			continue;
		if (!has_container(spec, c->forward->container) || !strcmp(c->forward->container, c->name))
			return spec_bad(at, "containers", "send output to one that is not there: `%.80s`",
					c->forward->container);
		if (!has_scratch(spec, c->forward->scratch))
			return spec_bad(at, "containers", "send output through a directory that is not there: `%.80s`",
					c->forward->scratch);
	}
	return 0;
}

static int parse_output(const struct spec_at *at, const json_t *obj, const struct task_spec *spec,
			struct spec_output *o)
{
	const char *form, *when;
	if (spec_get_text(at, obj, "name", true, &o->name) < 0 || spec_get_text(at, obj, "from", true, &o->from) < 0 ||
	    spec_get_text(at, obj, "path", false, &o->path) < 0 || spec_get_text(at, obj, "form", true, &form) < 0 ||
	    spec_get_text(at, obj, "when", false, &when) < 0 ||
	    spec_get_text(at, obj, "container", false, &o->container) < 0)
		return -1;
	if (!spec_name_ok(o->name, 255 - 7))
		return spec_bad(at, "name", "must match [A-Za-z0-9][A-Za-z0-9._-]*");
	if (!has_scratch(spec, o->from))
		return spec_bad(at, "from", "names no scratch mount: `%.80s`", o->from);
	o->path = o->path ? o->path : "";
	if (*o->path && !path_is_clean(arena_printf(at->arena, "/%s", o->path)))
		return spec_bad(at, "path", "must be relative without `.`, `..` or `//`: `%.200s`", o->path);
	o->tar = !strcmp(form, "tar.gz");
	if (!o->tar && strcmp(form, "files"))
		return spec_bad(at, "form", "must be tar.gz or files, not `%.40s`", form);
	o->always = when && !strcmp(when, "always");
	if (when && !o->always && strcmp(when, "success"))
		return spec_bad(at, "when", "must be success or always, not `%.40s`", when);
	if (o->container && !has_container(spec, o->container))
		return spec_bad(at, "container", "names no container: `%.80s`", o->container);
	return 0;
}

static int parse_outputs(const struct spec_at *at, const json_t *json, struct task_spec *out)
{
	json_t *array;
	if (spec_get_array(at, json, "outputs", 256, &array, &out->noutputs) < 0)
		return -1;
	out->outputs = ARENA_ARRAY(at->arena, struct spec_output, out->noutputs + 1);
	for (size_t i = 0; i < out->noutputs; i++) {
		struct spec_at in = *at;
		in.where = arena_printf(at->arena, "outputs[%zu].", i);
		if (parse_output(&in, json_array_get(array, i), out, &out->outputs[i]) < 0)
			return -1;
		for (size_t k = 0; k < i; k++)
			if (!strcmp(out->outputs[k].name, out->outputs[i].name))
				return spec_bad(&in, "name", "is used twice: `%s`", out->outputs[i].name);
	}
	return 0;
}

/* What all containers may use together. */
static int parse_task_limits(const struct spec_at *at, const json_t *json, struct task_spec *out)
{
	const json_t *limits = json_get(json, "limits");
	struct spec_at in = *at;
	in.where = "limits.";
	out->limited = json_is_object(limits);
	return spec_get_cpus(&in, limits, "cpus", &out->limit_cpus) < 0 ||
			       spec_get_int(&in, limits, "cpu_shares", 2, 262144, &out->limit_cpu_shares) < 0 ||
			       spec_get_int(&in, limits, "memory", 6 << 20, MAX_BYTES, &out->limit_memory_bytes) < 0
		       ? -1
		       : 0;
}

static int check_hosts(const struct spec_at *at, const struct task_spec *spec)
{
	for (size_t i = 0; i < spec->ncontainers; i++)
		for (size_t k = 0; k < spec->containers[i].nhosts; k++) {
			const char *other = spec->containers[i].hosts[k].container;
			if (other && !has_container(spec, other))
				return spec_bad(at, "containers", "name one that is not there: `%.80s`", other);
		}
	return 0;
}

int spec_parse(struct arena *a, const json_t *json, const char *data_dir, struct task_spec *out, struct error *err)
{
	struct spec_at at = { .arena = a, .data_dir = data_dir, .where = "", .err = err };
	const char *network, *ipc;
	*out = (struct task_spec){ 0 };
	if (!json_is_object(json))
		return error_aws(err, "ValidationException", "task spec: must be an object");
	if (spec_get_text(&at, json, "id", true, &out->id) < 0 ||
	    spec_get_text(&at, json, "network", false, &network) < 0 ||
	    spec_get_text(&at, json, "ipc", false, &ipc) < 0)
		return -1;
	if (!spec_id_ok(out->id))
		return spec_bad(&at, "id", "must match [a-z0-9-]{1,128}");
	if (!network || !strcmp(network, "host"))
		out->network = NETWORK_HOST;
	else if (!strcmp(network, "none"))
		out->network = NETWORK_NONE;
	else if (!strcmp(network, "private"))
		out->network = NETWORK_PRIVATE;
	else
		return spec_bad(&at, "network", "must be host, none or private, not `%.40s`", network);
	if (!ipc || !strcmp(ipc, "private"))
		out->ipc = IPC_PRIVATE;
	else if (!strcmp(ipc, "none"))
		out->ipc = IPC_NONE;
	else if (!strcmp(ipc, "task"))
		out->ipc = IPC_TASK;
	else
		return spec_bad(&at, "ipc", "must be private, none or task, not `%.40s`", ipc);
	out->shared_pid = json_get_bool(json, "shared_pid", false);
	out->one_network = json_get_bool(json, "one_network", false);
	out->endpoints = json_get_bool(json, "endpoints", false);
	out->egress = json_get_bool(json, "egress", false);
	out->report = json_get_bool(json, "report", false);
	out->keep_failed = json_get_bool(json, "keep_failed", false);
	const json_t *resources = json_get(json, "resources");
	struct spec_at in = at;
	in.where = "resources.";
	if (spec_get_int(&at, json, "max_runtime_ms", 1, (int64_t)366 * 86400000, &out->max_runtime_ms) < 0 ||
	    spec_get_cpus(&in, resources, "cpus", &out->cpus) < 0 ||
	    spec_get_int(&in, resources, "memory", 1, MAX_BYTES, &out->memory_bytes) < 0)
		return -1;
	if (parse_task_limits(&at, json, out) < 0 || parse_containers(&at, json, out) < 0 ||
	    check_after(&at, out) < 0 || check_forward(&at, out) < 0 || check_hosts(&at, out) < 0)
		return -1;
	return parse_outputs(&at, json, out);
}
