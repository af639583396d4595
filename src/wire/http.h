/* http.h - what the files of the HTTP server share. Inside the wire room.
 *
 * DESIGN: one struct wire_request from the request line to the last byte of the answer, in its own arena. libmicrohttpd
 * calls the access handler (serve.c) on the thread of the connection: once when the headers are there, once a piece of
 * body, once at the end. A request that waits (worker job, command, late answer) is suspended, so it holds no thread,
 * and its handler is called again when it is resumed. Other threads never touch the connection except to resume it; all
 * they share with the http thread is under `lock`. A request outlives its connection when somebody still works on it
 * (pending, owed, pins). */
#ifndef QUERN_WIRE_HTTP_H
#define QUERN_WIRE_HTTP_H

#include <microhttpd.h>
#include <pthread.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/work.h"
#include "wire/chunked.h"
#include "wire/model.h"
#include "wire/sigv4.h"
#include "wire/websocket.h"
#include "wire/wire.h"

enum {
	HTTP_POOL_BYTES = 64 * 1024, /* libmicrohttpd's memory a connection: bounds the header block */
	HTTP_URL_MAX = 24 * 1024,    /* a presigned URL with a 1 KiB key and a session token takes 4 to 9 KiB */
	HTTP_HEADERS_MAX = 200,
	HTTP_HEADERS_MAX_BYTES = 40 * 1024,
	/* A refused body up to this is read and dropped, so that the connection can go on. */
	HTTP_DRAIN_MAX = 1024 * 1024,
	HTTP_WORKERS = 8,
	HTTP_EARLY_AUTH = 64 * 1024, /* JSON bodies above this: the key is looked up before the body is read */
};

/* ---- lingering close (linger.c) ---- */
struct lingerer {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
	bool running, stopping;
	struct linger_socket {
		int fd;
		int64_t until_us;
	} sockets[64];
	int count;
	struct wire_server *server;
	_Atomic bool
		watching; /* requests are waiting for their clients: look now and then whether those are still there */
};
void linger_init(struct lingerer *l, struct wire_server *w);
/* The peer may still be sending: keeps a duplicate of `fd` open and reads it empty for a moment, so that the peer sees
 * our answer and no reset. */
void linger_add(struct lingerer *l, int fd);
void linger_watch(struct lingerer *l);
void linger_stop(struct lingerer *l);

/* ---- services ---- */
struct service {
	const struct wire_service *s;
	const struct model_service *model;
	struct map ops; /* name -> const struct wire_op */
};

enum auth_style { AUTH_JSON, AUTH_REST, AUTH_QUERY, AUTH_S3 };

struct wire_server {
	struct wire_options o;
	char *bind, *region, *account;
	struct service *services;
	size_t nservices;
	struct MHD_Daemon *daemon;
	int listen_fd;
	uint16_t port;
	struct work *work;
	struct lingerer linger;
	pthread_mutex_t lock;
	pthread_cond_t quiet;
	struct wire_request *live; /* all requests */
	int nlive, nactive;        /* nactive: those whose headers are complete */
	bool started, detaching, freed;
	_Atomic bool stopping;
	int stop_fd;     /* an event: readable from the moment that the server stops */
	int nwebsockets; /* their threads; under `lock` */
};

/* ---- one request ---- */
enum request_phase {
	PHASE_LINE,    /* only the request line is known */
	PHASE_HEADERS, /* no body will come: waiting for the final call */
	PHASE_STARTED, /* routed and begun; libmicrohttpd is still at the headers */
	PHASE_BODY,
	PHASE_DRAIN, /* answered; the rest of the body is dropped */
	PHASE_ENDED, /* the service has seen the whole request */
};
enum route_kind { ROUTE_NONE, ROUTE_HEALTH, ROUTE_COVERAGE, ROUTE_OP, ROUTE_RAW };
enum answer_kind { ANSWER_NONE, ANSWER_BODY, ANSWER_FD, ANSWER_STREAM, ANSWER_SOCKET };

struct answer_header {
	struct answer_header *next;
	char *name, *value;
};
struct answer {
	enum answer_kind kind;
	int status;
	struct answer_header *headers;
	struct str body;
	int fd;
	int64_t offset, length;
	ptrdiff_t (*read)(void *ctx, char *p, size_t n);
	void (*done)(void *ctx);
	void (*talk)(void *ctx, struct websocket *ws);
	void *ctx;
	bool taken; /* libmicrohttpd owns fd, stream or socket now */
};

struct wire_request {
	struct arena arena; /* the request itself lives in it */
	struct wire_server *server;
	struct wire_request *prev, *next;
	struct MHD_Connection *conn; /* http thread only; NULL when gone */
	enum request_phase phase;
	char id[37];

	struct sigv4_request http; /* method, raw path, raw query, headers */
	struct str path;           /* decoded */
	struct codec_pair *query;  /* decoded; read by request_query */
	size_t nquery;
	bool query_read, has_body, expects_continue, counted;
	int64_t length; /* of the body as sent, -1 unknown */
	_Atomic int64_t received;
	_Atomic bool receiving; /* libmicrohttpd waits for more of the body */
	int64_t received_then;  /* at the last look (linger.c) */

	enum route_kind route;
	struct service *service;
	enum auth_style style;
	struct sigv4 auth;
	enum sigv4_fault auth_fault;
	struct principal who;
	const char *region;
	unsigned char peer[16]; /* the client's address; peer_size 4, 16, or 0 when it is none */
	int peer_size;

	/* raw services */
	void *state;
	bool raw_open;             /* begin ran and did not answer: end or abort is owed to it */
	struct evp_md_ctx_st *sha; /* of a body whose hash was signed */
	struct chunked *chunked;
	bool chunked_wanted; /* a signed aws-chunked body: auth_check keeps the key */
	unsigned char chunk_key[32];
	int64_t body_length;   /* decoded */
	struct inside *inside; /* a call from inside, which has no connection (inside.c); else NULL */
	bool spool;            /* raw, but the signature needs the hash of the whole body: buffered in `body` */
	int spool_step;

	/* operations */
	struct buf body;
	struct call call;
	const struct model_service *model;
	const struct model_op *op;
	const struct wire_op *handler;
	json_t *in, *out;
	struct error op_error;
	int op_rc;
	bool op_ended;
	void (*resumed)(struct wire_request *r); /* runs on the http thread when nothing is pending any more */

	struct answer answer;

	pthread_mutex_t lock;          /* guards what follows */
	bool suspended, want_answer;   /* want_answer: only an answer ends the wait */
	bool answered, gone, complete; /* complete: the answer was sent whole */
	bool owed, ended;              /* owed: end ran, the answer is to come */
	bool abort_due, streaming, woken, hung_up, detached;
	int offloads; /* wire_offload calls so far */
	int pending;  /* worker jobs, commands, async calls */
	int pins;     /* libmicrohttpd's response may still call us */
};

/* server.c */
void server_destroy(struct wire_server *w);

/* request.c */
struct wire_request *request_new(struct wire_server *w, struct MHD_Connection *conn, const char *uri);
/* Copies method and headers; 0, or -1 with err when the request breaks a rule or a limit. */
int request_headers(struct wire_request *r, const char *method, struct error *err);
void request_query(struct wire_request *r);
/* Suspends the connection when something is pending (or, with need_answer, until there is an answer). http thread. */
bool request_wait(struct wire_request *r, bool need_answer);
bool request_answered(struct wire_request *r);
void request_hold(struct wire_request *r);
/* Ends one request_hold: resumes or frees as needed. r may be gone after. */
void request_release(struct wire_request *r);
/* The service must be told that there will be no end: at once, or when nothing is pending. */
void request_abort(struct wire_request *r);
/* The connection is done with the request. */
void request_gone(struct wire_request *r, bool complete);
void request_pin(struct wire_request *r);
void request_unpin(struct wire_request *r);
/* Cuts a request off its connection (server stop). */
void request_detach(struct wire_request *r);

/* websocket.c */
/* The response that turns the connection of a request (ANSWER_SOCKET) over to a thread of its own. */
struct MHD_Response *websocket_response(struct wire_request *r);
/* Waits until the threads have ended; stop_fd has told them to. */
void websocket_join_all(struct wire_server *w);

/* answer.c */
/* Takes an answer down; false: there is one already. */
bool answer_set(struct wire_request *r, const struct answer *a);
/* The waiting connection may go on with it. r may be gone after. */
void answer_publish(struct wire_request *r);
/* Queues the answer with libmicrohttpd. http thread. */
enum MHD_Result answer_queue(struct wire_request *r);
/* Writes the answer to the socket ourselves: libmicrohttpd cannot answer in the middle of a body. */
void answer_write_now(struct wire_request *r);
/* Closes what an answer that was never sent holds. */
void answer_discard(struct answer *a);
void answer_codec(struct wire_request *r, const struct codec_response *rs);
/* An error in the shape of whatever the request was for. */
void answer_error(struct wire_request *r, struct error *err);

/* route.c */
/* Finds the service and reads the signature's claims. 0, or -1 with err. */
int route_request(struct wire_request *r, struct error *err);
/* {"<service>": {"implemented": [names], "known": count}} of all services (coverage.c). */
struct str coverage_text(struct wire_server *w, struct arena *a);
/* Registers model and operations of a service. */
void route_service(struct service *sv);

/* auth.c */
/* Who signed this? Fills who and region, or err in the words of the service's protocol. payload_hash: see sigv4_verify.
 */
int auth_check(struct wire_request *r, struct str payload_hash, struct error *err);
/* Only what can be told without the body: claims, clock, headers, whether the key exists. */
int auth_precheck(struct wire_request *r, struct error *err);
void auth_anonymous(struct wire_request *r);
/* A snapshot; NULL without an engine, or with err on a fault. */
/* Whose access key s->access_key (with s->token) is, and its secret, in the request's arena: an enum sigv4_fault, or <
 * 0 with err, a fault of ours. */
int auth_find_key(struct wire_request *r, const struct sigv4 *s, int64_t now_ms, struct principal *who,
		  struct str *secret, struct error *err);
struct db *auth_snapshot(struct wire_request *r, struct error *err);
void auth_snapshot_end(struct wire_request *r, struct db *db);
int auth_fault_error(enum auth_style style, enum sigv4_fault fault, const struct sigv4 *s, int64_t now_ms,
		     struct error *err);
/* The code and text for a body whose hash is not the signed one. */
int auth_body_mismatch(enum auth_style style, struct error *err);

/* access.c */
/* May the caller of c do this operation with this input? Without a question for who is unrestricted. r may be NULL. */
int access_check(struct wire_server *w, const struct wire_service *s, struct call *c, const json_t *in,
		 struct wire_request *r, struct error *err);
/* The row of an operation, or NULL. */
const struct wire_access *access_find(const struct wire_service *s, const char *operation);

/* raw.c */
void raw_start(struct wire_request *r);
/* A piece of body: bytes used, or -1 when an answer stopped it. */
ptrdiff_t raw_body(struct wire_request *r, const char *p, size_t n);
void raw_end(struct wire_request *r);

/* operation.c */
/* Bytes that the body of a buffered request may have. */
int64_t operation_max_bytes(const struct wire_request *r);
void operation_start(struct wire_request *r);
ptrdiff_t operation_body(struct wire_request *r, const char *p, size_t n);
void operation_end(struct wire_request *r);

/* inside.c */
/* The raw service of this name whose operations are known (operation_at), or NULL. */
struct service *inside_find(struct wire_server *w, const char *model);
/* wire_call_internal_async for it. */
void inside_call(struct wire_server *w, struct service *sv, const struct wire_internal *call, struct arena *a,
		 wire_internal_done done, void *arg);
/* Its answer has been set. r may be gone after. */
void inside_answered(struct wire_request *r);

/* spelling.c */
struct model_shape;
struct model_member;
/* The member of this name in any case, or NULL. */
const struct model_member *spelling_member(const struct model_service *s, const struct model_shape *sh,
					   const char *key);
/* The SDK's name of a member; sdk. */
const char *spelling_sdk_name(const char *name, char sdk[256]);
/* The model's spelling of what an SDK may have spelled: members in any case, ISO times, JSON where a JSON text belongs;
 * tokens that the SDK makes are added. `in` may be anything. Owned. */
json_t *spelling_from_sdk(const struct model_service *s, const struct model_shape *sh, json_t *in);
/* The SDK's spelling of an answer; {} for none (sh or out NULL). Owned. */
json_t *spelling_to_sdk(const struct model_service *s, const struct model_shape *sh, enum wire_spelling spelling,
			json_t *out);

/* internal.c */
/* wire_answer for a call that has no request. */
void internal_answer(struct call *c, int rc, json_t *out, struct error *err);

/* serve.c */
void *serve_uri(void *cls, const char *uri, struct MHD_Connection *conn);
enum MHD_Result serve_request(void *cls, struct MHD_Connection *conn, const char *url, const char *method,
			      const char *version, const char *data, size_t *size, void **ctx);
void serve_completed(void *cls, struct MHD_Connection *conn, void **ctx, enum MHD_RequestTerminationCode why);
void serve_connection(void *cls, struct MHD_Connection *conn, void **socket_ctx,
		      enum MHD_ConnectionNotificationCode code);
/* This connection is closed while its client may still be sending. */
void serve_linger(struct MHD_Connection *conn);

#endif
