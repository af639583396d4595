/* session.c - see session.h: offers, and the WebSocket's request. The conversation is in talk.c. */
#include "ecs/session.h"

#include <openssl/crypto.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/id.h"
#include "ecs/talk.h"

enum { OFFER_MS = 60 * 1000, OFFERS_MAX = 256, OPEN_MAX = 64 };

#define PLACE "/v1/data-channel/"

struct sessions {
	pthread_mutex_t lock;
	struct session_offer offers[OFFERS_MAX];
	size_t noffers, nopen;
};

static int64_t mono_ms(void)
{
	return clock_monotonic_us() / 1000;
}

/* ---- offers ---- */

struct sessions *sessions_new(void)
{
	struct sessions *s = mem_calloc(1, sizeof(*s));
	pthread_mutex_init(&s->lock, NULL);
	return s;
}

static void offer_release(struct session_offer *o)
{
	OPENSSL_cleanse(o->token, sizeof(o->token));
	free(o->task);
	free(o->container);
	free(o->who);
	json_decref(o->command);
	*o = (struct session_offer){ 0 };
}

void sessions_free(struct sessions *s)
{
	for (size_t i = 0; i < s->noffers; i++)
		offer_release(&s->offers[i]);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* Lock held. */
static void drop_old(struct sessions *s)
{
	int64_t now = mono_ms();
	for (size_t i = 0; i < s->noffers;) {
		if (now < s->offers[i].until_ms) {
			i++;
			continue;
		}
		offer_release(&s->offers[i]);
		s->offers[i] = s->offers[--s->noffers];
	}
}

int sessions_offer(struct sessions *s, struct session_offer *o, struct error *err)
{
	unsigned char random[(SESSION_TOKEN_BYTES - 1) / 4 * 3];
	char hex[19];
	random_bytes(random, sizeof(random));
	hex_encode(hex, random, 9);
	snprintf(o->id, sizeof(o->id), "ecs-execute-command-%.17s", hex);
	random_bytes(random, sizeof(random));
	base64_encode(o->token, random, sizeof(random));
	o->until_ms = mono_ms() + OFFER_MS;
	struct session_offer copy = *o;
	copy.task = mem_strdup(o->task);
	copy.container = mem_strdup(o->container);
	copy.who = mem_strdup(o->who);
	copy.command = json_deep_copy(o->command);
	pthread_mutex_lock(&s->lock);
	drop_old(s);
	bool room = s->noffers < OFFERS_MAX && s->nopen < OPEN_MAX;
	if (room)
		s->offers[s->noffers++] = copy;
	pthread_mutex_unlock(&s->lock);
	if (room)
		return 0;
	offer_release(&copy);
	return ecs_client_error(err, "Too many sessions are open (%d at most) or wait to be opened.", OPEN_MAX);
}

/* Takes the offer when the token is its own. */
static bool take(struct sessions *s, const char *id, struct str token, struct session_offer *out)
{
	bool found = false;
	pthread_mutex_lock(&s->lock);
	drop_old(s);
	for (size_t i = 0; i < s->noffers && !found && s->nopen < OPEN_MAX; i++) {
		struct session_offer *o = &s->offers[i];
		if (strcmp(o->id, id) || token.len != strlen(o->token) ||
		    CRYPTO_memcmp(o->token, token.ptr, token.len) != 0)
			continue;
		found = true;
		*out = *o;
		*o = s->offers[--s->noffers];
		s->nopen++;
	}
	pthread_mutex_unlock(&s->lock);
	return found;
}

/* ---- the words of a command ---- */

/* One word off `*at`, or NULL. *open: a quote is not closed. */
static bool next_word(const char **at, struct buf *word, bool *open)
{
	const char *p = *at;
	char quote = 0;
	buf_clear(word);
	p += strspn(p, " \t\r\n");
	bool any = *p != 0;
	for (; *p && (quote || !strchr(" \t\r\n", *p)); p++) {
		if (*p == quote)
			quote = 0;
		else if (!quote && (*p == '\'' || *p == '"'))
			quote = *p;
		else if (*p == '\\' && quote != '\'' && p[1])
			buf_add_char(word, *++p);
		else
			buf_add_char(word, *p);
	}
	*open = quote != 0;
	*at = p;
	return any;
}

json_t *session_words(const char *text)
{
	CLEANUP_BUF struct buf word = BUF_INIT;
	json_t *words = json_array();
	bool open = false;
	while (!open && next_word(&text, &word, &open))
		json_array_append_new(words, json_stringn(buf_str(&word).ptr, word.len));
	if (!open)
		return words;
	json_decref(words);
	return NULL;
}

/* ---- the request ---- */

struct visitor {
	struct ecs *e;
	char id[SESSION_ID_BYTES];
};

static bool token_opens(void *ctx, struct str token, struct session_offer *offer)
{
	struct visitor *v = ctx;
	return take(v->e->sessions, v->id, token, offer);
}

static void talk(void *ctx, struct websocket *ws)
{
	struct visitor *v = ctx;
	struct session_offer offer = { 0 };
	session_talk(v->e->o.tasks, ws, token_opens, v, &offer);
	if (!offer.task)
		return;
	offer_release(&offer);
	pthread_mutex_lock(&v->e->sessions->lock);
	v->e->sessions->nopen--;
	pthread_mutex_unlock(&v->e->sessions->lock);
}

static void begin(struct wire_request *r, void *ctx)
{
	struct visitor *v = mem_calloc(1, sizeof(*v));
	struct str id = str_skip(wire_path(r), sizeof(PLACE) - 1);
	v->e = ctx;
	if (id.len < sizeof(v->id))
		memcpy(v->id, id.ptr, id.len);
	wire_send_websocket(r, talk, free, v);
}

const struct raw_handler ecs_sessions_handler = { .begin = begin };

bool ecs_sessions_claims(struct wire_request *r, void *ctx)
{
	return str_starts(wire_path(r), STR(PLACE));
}
