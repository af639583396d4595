/* termination.c - see termination.h. */
#include "termination.h"

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

#define EXIT_TERMINATED 143
#define PATIENCE_SECONDS 60 /* half of the time between SageMaker's SIGTERM and SIGKILL */

static volatile sig_atomic_t requested;

static void end_at_once(int signo)
{
	_exit(EXIT_TERMINATED);
}

static void end_saved(int signo)
{
	_exit(0);
}

static void note_request(int signo)
{
	requested = 1;
	alarm(PATIENCE_SECONDS);
}

static void handle(int signo, void (*handler)(int))
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };
	sigaction(signo, &action, NULL);
}

void termination_end_at_once(void)
{
	handle(SIGTERM, end_at_once);
}

void termination_wait_for_round(void)
{
	handle(SIGALRM, end_saved);
	handle(SIGTERM, note_request);
}

bool termination_requested(void)
{
	return requested != 0;
}
