/* net.c - networks of tasks (being built). */
#include <stdio.h>
#include "task/sup.h"

int net_setup(struct sup *s, struct error *err)
{
	return s->spec.network == NETWORK_PRIVATE ? error_set(err, "network \"private\" is not built yet") : 0;
}

void net_teardown(struct sup *s)
{
}

const char *net_hosts(struct sup_container *c)
{
	struct sup *s = c->sup;
	CLEANUP_BUF struct buf text = BUF_INIT;
	buf_addz(&text, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
	for (size_t i = 0; i < s->spec.ncontainers; i++)
		buf_printf(&text, "127.0.0.1\t%s\n", s->spec.containers[i].name);
	return arena_strdup(&s->arena, buf_str(&text));
}
