/* lane.c - operations that may take long, as an expression may: on threads of their own. See room.h.
 *
 * DESIGN: a lane has a few threads at most, started when there is work and ended when there is none. So what is slow
 * holds up neither the core thread nor those that read requests, only what is in the same lane. */
#include "states/room.h"

struct lane_call {
	struct lane_call *next;
	struct call *c;
	json_t *in;
	wire_async fn;
};

void lane_init(struct lane *l, int most)
{
	*l = (struct lane){ .most = most };
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->ended, NULL);
	l->last = &l->first;
}

/* The lane's next call, taken; NULL: there is none, and the thread is no longer counted. */
static struct lane_call *take(struct lane *l)
{
	pthread_mutex_lock(&l->lock);
	struct lane_call *k = l->first;
	if (k && !(l->first = k->next))
		l->last = &l->first;
	if (!k && --l->running == 0)
		pthread_cond_broadcast(&l->ended);
	pthread_mutex_unlock(&l->lock);
	return k;
}

static void *lane_main(void *arg)
{
	struct lane_call *k;
	while ((k = take(arg))) {
		json_t *in = k->in;
		k->fn(k->c, in); /* k goes with its call */
		json_decref(in);
	}
	return NULL;
}

static bool start_thread(struct lane *l)
{
	pthread_attr_t attr;
	pthread_t thread;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	bool started = pthread_create(&thread, &attr, lane_main, l) == 0;
	pthread_attr_destroy(&attr);
	return started;
}

bool lane_add(struct lane *l, struct call *c, json_t *in, wire_async fn, bool may_wait)
{
	struct lane_call *k = ARENA_NEW(c->arena, struct lane_call);
	*k = (struct lane_call){ .c = c, .in = json_incref(in), .fn = fn };
	pthread_mutex_lock(&l->lock);
	bool more = l->running < l->most && start_thread(l);
	l->running += more;
	bool taken = more || (may_wait && l->running);
	if (taken) {
		*l->last = k;
		l->last = &k->next;
	}
	pthread_mutex_unlock(&l->lock);
	if (!taken)
		json_decref(in);
	return taken;
}

void lane_end(struct lane *l)
{
	pthread_mutex_lock(&l->lock);
	while (l->running)
		pthread_cond_wait(&l->ended, &l->lock);
	pthread_mutex_unlock(&l->lock);
	pthread_cond_destroy(&l->ended);
	pthread_mutex_destroy(&l->lock);
}
