/* order.c - see order.h. */
#include "task/order.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "task/forward.h"
#include "task/path.h"

const char *health_name(const struct sup_container *c)
{
	static const char *const names[] = { "UNKNOWN", "HEALTHY", "UNHEALTHY" };
	return names[c->health];
}

/* ---- order ---- */

static const struct sup_container *find(const struct sup *s, const char *name)
{
	for (size_t i = 0; i < s->spec.ncontainers; i++)
		if (!strcmp(s->containers[i].spec->name, name))
			return &s->containers[i];
	return NULL; /* spec_parse lets no such name through */
}

static bool met(const struct sup_container *c, enum spec_condition condition)
{
	switch (condition) {
	case AFTER_START:
		return c->started_at != 0;
	case AFTER_COMPLETE:
		return c->started_at && c->phase == PHASE_ENDED;
	case AFTER_SUCCESS:
		return c->started_at && c->phase == PHASE_ENDED && c->exit_code == 0;
	case AFTER_HEALTHY:
		return c->phase == PHASE_RUNNING && c->health == HEALTH_GOOD;
	}
	return false;
}

bool order_may_start(const struct sup_container *c)
{
	for (size_t i = 0; i < c->spec->nafter; i++)
		if (!met(find(c->sup, c->spec->after[i].container), c->spec->after[i].condition))
			return false;
	return true;
}

const char *order_hopeless(const struct sup_container *c)
{
	struct arena *a = &c->sup->arena;
	for (size_t i = 0; i < c->spec->nafter; i++) {
		const struct spec_after *need = &c->spec->after[i];
		const struct sup_container *other = find(c->sup, need->container);
		if (met(other, need->condition))
			continue;
		if (other->phase == PHASE_ENDED)
			return arena_printf(a,
					    "dependency graph: container ordering unable to be resolved: dependency "
					    "[%s] of container [%s] %s",
					    need->container, c->spec->name,
					    need->condition == AFTER_SUCCESS ? "did not exit successfully"
									     : "has stopped");
		if (other->started_at && need->condition != AFTER_START && other->spec->start_timeout_ms &&
		    clock_now_ms() - other->started_at >= other->spec->start_timeout_ms)
			return arena_printf(
				a, "dependency graph: container ordering dependency [%s] for target [%s] has timed out",
				need->container, c->spec->name);
	}
	return NULL;
}

bool order_may_stop(const struct sup_container *c)
{
	const struct sup *s = c->sup;
	if (forward_holds(c))
		return false;
	for (size_t i = 0; i < s->spec.ncontainers; i++) {
		const struct sup_container *other = &s->containers[i];
		if (other->phase != PHASE_RUNNING && other->phase != PHASE_STARTING)
			continue;
		for (size_t k = 0; k < other->spec->nafter; k++)
			if (!strcmp(other->spec->after[k].container, c->spec->name))
				return false;
	}
	return true;
}

/* ---- health ---- */

void health_begin(struct sup_container *c)
{
	const struct spec_health *h = c->spec->health;
	if (!h)
		return;
	c->health_failures = 0;
	c->health_at = sup_now_ms() + h->interval_ms;
	c->health_grace = sup_now_ms() + h->start_period_ms;
}

/* The check's own process: the runtime waits for it, so both are ended. */
static void kill_check(struct sup_container *c)
{
	char name[64];
	int64_t pid = 0;
	CLEANUP_BUF struct buf text = BUF_INIT;
	CLEANUP_FD int dir = open(c->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	snprintf(name, sizeof(name), "check");
	if (dir >= 0 && path_read(dir, name, 32, &text, NULL) == 0 && str_to_i64(str_trim(buf_str(&text)), &pid) &&
	    pid > 1)
		kill((pid_t)pid, SIGKILL);
	kill(c->health_pid, SIGKILL);
}

void health_end(struct sup_container *c)
{
	c->health_at = 0;
	if (c->health_pid)
		kill_check(c);
	c->health = HEALTH_UNKNOWN;
}

static char **check_argv(struct sup_container *c)
{
	struct arena *a = &c->sup->arena;
	const char **command = c->spec->health->command;
	size_t n = 0, k = 0;
	while (command[n])
		n++;
	if (c->health_argv)
		return c->health_argv;
	char **argv = ARENA_ARRAY(a, char *, n + RUNTIME_ARGV + 9);
	k = runtime_argv(c, argv);
	argv[k++] = "exec";
	argv[k++] = "--pid-file";
	argv[k++] = arena_printf(a, "%s/check", c->dir);
	argv[k++] = "--user"; /* crun takes root otherwise */
	argv[k++] = arena_printf(a, "%u:%u", (unsigned)c->uid, (unsigned)c->gid);
	argv[k++] = arena_printf(a, "c%zu", c->index);
	if (n && !strcmp(command[0], "CMD-SHELL")) {
		argv[k++] = "/bin/sh";
		argv[k++] = "-c";
	}
	for (size_t i = 1; i < n; i++)
		argv[k++] = (char *)command[i];
	return c->health_argv = argv;
}

static void start_check(struct sup_container *c)
{
	char *const env[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL };
	char **argv = check_argv(c);
	pid_t pid = fork();
	if (pid == 0) {
		sigset_t none;
		sigemptyset(&none);
		int null = open("/dev/null", O_RDWR);
		dup2(null, 0);
		dup2(null, 1);
		dup2(null, 2);
		signal(SIGPIPE, SIG_DFL);
		sigprocmask(SIG_SETMASK, &none, NULL);
		close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
		if ((c->own_cgroups && cgroup_enter(c->group) < 0) || chdir(c->dir) < 0)
			_exit(126);
		if (c->sup->runtime_fd >= 0)
			fexecve(c->sup->runtime_fd, argv, env);
		execve(argv[0], argv, env);
		_exit(127);
	}
	if (pid < 0) {
		log_warn("task", "%s: health check: fork: %s", c->spec->name, strerror(errno));
		c->health_at = sup_now_ms() + c->spec->health->interval_ms;
		return;
	}
	c->health_pid = pid;
	c->health_at = 0;
	c->health_until = sup_now_ms() + c->spec->health->timeout_ms;
}

void health_run(struct sup *s)
{
	int64_t now = sup_now_ms();
	for (size_t i = 0; i < s->spec.ncontainers; i++) {
		struct sup_container *c = &s->containers[i];
		if (c->phase != PHASE_RUNNING || !c->spec->health || c->exit_code >= 0)
			continue;
		if (c->health_pid && now >= c->health_until) {
			kill_check(c);
			c->health_until = now + 1000;
		} else if (!c->health_pid && c->health_at && now >= c->health_at) {
			start_check(c);
		}
	}
}

static void check_ended(struct sup_container *c, int status)
{
	const struct spec_health *h = c->spec->health;
	enum sup_health before = c->health;
	int64_t now = sup_now_ms();
	c->health_pid = 0;
	if (c->phase != PHASE_RUNNING || c->exit_code >= 0)
		return;
	c->health_at = now + h->interval_ms;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		c->health = HEALTH_GOOD;
		c->health_failures = 0;
		c->health_grace = 0;
	} else if (now >= c->health_grace && ++c->health_failures >= h->retries) {
		c->health = HEALTH_BAD;
	}
	if (c->health != before)
		sup_changed(c->sup);
}

bool health_child_ended(struct sup *s, pid_t pid, int status)
{
	for (size_t i = 0; i < s->spec.ncontainers; i++)
		if (s->containers[i].health_pid == pid) {
			check_ended(&s->containers[i], status);
			return true;
		}
	return false;
}

int64_t order_next_ms(const struct sup *s)
{
	int64_t next = INT64_MAX, now = sup_now_ms();
	bool waiting = false;
	for (size_t i = 0; i < s->spec.ncontainers; i++)
		waiting |= s->containers[i].phase == PHASE_NEW;
	for (size_t i = 0; i < s->spec.ncontainers; i++) {
		const struct sup_container *c = &s->containers[i];
		if (c->phase != PHASE_RUNNING)
			continue;
		next = c->health_at && c->health_at < next ? c->health_at : next;
		next = c->health_pid && c->health_until < next ? c->health_until : next;
		int64_t left = c->spec->start_timeout_ms - (clock_now_ms() - c->started_at);
		if (waiting && c->spec->start_timeout_ms && left > 0 && now + left < next)
			next = now + left;
	}
	return next;
}
