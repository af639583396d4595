/* stop.c - see stop.h. */
#include "task/stop.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>

#include "task/order.h"
#include "task/path.h"

#define LOOK_FIRST_MS 1
#define LOOK_LAST_MS 250
#define FLAGS_FIELD 9      /* of /proc/<pid>/stat */
#define PF_FORKNOEXEC 0x40 /* there: forked, and still the program of its parent */
#define KILL_AGAIN_MS 1000

void stop_signal(struct sup_container *c, int sig)
{
	if (c->pidfd >= 0)
		pidfd_send_signal(c->pidfd, sig, NULL, 0);
	else if (c->pid > 1)
		kill(c->pid, sig);
}

/* The value of a line "Key:\t..." of /proc/<pid>/status; empty when it is not there. */
static struct str line_of(const char *status, const char *key)
{
	const char *at = strstr(status, key);
	return at ? str_head(str_from(at + strlen(key)), strcspn(at + strlen(key), "\n")) : STR("");
}

static bool in_mask(const char *status, const char *key, int sig)
{
	struct str mask = str_trim(line_of(status, key));
	return mask.len && strtoull(mask.ptr, NULL, 16) >> (sig - 1) & 1;
}

/* "NSpid:\t4711\t1": the last one is what it is inside. */
static bool is_first_inside(const char *status)
{
	struct str pids = str_trim(line_of(status, "\nNSpid:"));
	return str_ends(pids, STR("\t1"));
}

/* Does it sit in sigwait(3)? The signals that it waits for are not shown as blocked then. */
static bool waits_for_signals(pid_t pid)
{
	char path[64], text[256];
	snprintf(path, sizeof(path), "/proc/%d/syscall", (int)pid);
	return path_get(path, text, sizeof(text)) < 0 || strtol(text, NULL, 10) == SYS_rt_sigtimedwait;
}

enum heed { HEED_NOT, HEED_HELD_BACK, HEED_HANDLED };

/* What would become of a signal that is sent now. When that cannot be seen it is sent. */
static enum heed look(const struct sup_container *c, int sig)
{
	char path[64], status[4096];
	int64_t flags = process_stat(c->pid, FLAGS_FIELD);
	snprintf(path, sizeof(path), "/proc/%d/status", (int)c->pid);
	if (sig == SIGKILL || sig == SIGSTOP || flags < 0 || path_get(path, status, sizeof(status)) < 0 ||
	    !line_of(status, "\nSigCgt:").len)
		return HEED_HANDLED;
	if (flags & PF_FORKNOEXEC)
		return HEED_NOT;
	if (!is_first_inside(status) || in_mask(status, "\nSigCgt:", sig))
		return HEED_HANDLED;
	return in_mask(status, "\nSigBlk:", sig) || waits_for_signals(c->pid) ? HEED_HELD_BACK : HEED_NOT;
}

static int signal_of(const struct sup_container *c)
{
	return c->spec->stop_signal ? c->spec->stop_signal : c->image.stop_signal ? c->image.stop_signal : SIGTERM;
}

/* A signal that is held back may be dropped yet, when the program lets signals through before it has a handler: then
 * the handler gets it as soon as it is there. */
static void try_signal(struct sup_container *c, int64_t now)
{
	enum heed heed = look(c, signal_of(c));
	if (heed == HEED_HANDLED || (heed == HEED_HELD_BACK && !c->held_back))
		stop_signal(c, signal_of(c));
	c->held_back |= heed == HEED_HELD_BACK;
	c->look_ms = c->look_ms * 2 < LOOK_LAST_MS ? c->look_ms * 2 : LOOK_LAST_MS;
	c->look_at = heed == HEED_HANDLED ? 0 : now + c->look_ms;
}

static void ask(struct sup_container *c)
{
	int64_t now = sup_now_ms();
	if (c->phase != PHASE_RUNNING || c->kill_at)
		return;
	c->asked = true;
	c->kill_at = now + c->spec->stop_timeout_ms;
	c->held_back = false;
	c->look_ms = LOOK_FIRST_MS;
	try_signal(c, now);
}

void stop_ask_all(struct sup *s)
{
	for (size_t i = 0; i < s->spec.ncontainers; i++)
		if (order_may_stop(&s->containers[i]))
			ask(&s->containers[i]);
}

static bool is_asked(const struct sup_container *c)
{
	return c->phase == PHASE_RUNNING && c->kill_at && c->exit_code < 0;
}

void stop_run(struct sup *s)
{
	int64_t now = sup_now_ms();
	for (size_t i = 0; i < s->spec.ncontainers; i++) {
		struct sup_container *c = &s->containers[i];
		if (is_asked(c) && now >= c->kill_at) {
			stop_signal(c, SIGKILL);
			c->kill_at = now + KILL_AGAIN_MS;
			c->look_at = 0;
		} else if (is_asked(c) && c->look_at && now >= c->look_at) {
			try_signal(c, now);
		}
	}
}

int64_t stop_next_ms(const struct sup *s)
{
	int64_t next = INT64_MAX;
	for (size_t i = 0; i < s->spec.ncontainers; i++) {
		const struct sup_container *c = &s->containers[i];
		if (!is_asked(c))
			continue;
		next = c->kill_at < next ? c->kill_at : next;
		next = c->look_at && c->look_at < next ? c->look_at : next;
	}
	return next;
}
