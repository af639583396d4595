/* wire.h - HTTP in, AWS protocols, one port.
 *
 * DESIGN: libmicrohttpd (epoll, thread pool). A request is routed by the SigV4 credential scope's service (header,
 * query or form), else by X-Amz-Target, path or host. Each service is a table of operations. Before a handler runs the
 * request is authenticated (SigV4, constant time, +-15 min), decoded by the service's protocol (json 1.0/1.1,
 * rest-json, query, rest-xml) and validated against the model generated from botocore (required members, limits,
 * patterns, enums, unknown operation) with AWS's error texts; a handler never checks again what the model says.
 * Timestamps in `in` and `out` are epoch seconds (JSON real or integer), blobs are base64 text, whatever the protocol.
 * Reads run on the http thread on a store snapshot. Writes run on the core thread and are answered after the commit.
 * A service that streams bodies (S3, the registry) gives a raw handler instead. */
#ifndef QUERN_WIRE_WIRE_H
#define QUERN_WIRE_WIRE_H

#include <jansson.h>
#include "base/arena.h"
#include "base/error.h"
#include "engine/engine.h"
#include "store/store.h"

struct wire_server;
struct wire_request;

/* Who signed the request. */
struct principal {
	const char *access_key;
	const char *account; /* 12 digits */
	const char *arn;     /* user, or assumed-role session */
	const char *user_id;
	bool anonymous;
	bool unrestricted;  /* no policy is asked about it: the root key, a role that is not kept here */
	const char *grants; /* where its policies are, for whoever answers wire_options.authorize */
};

/* What a handler sees of one call. Borrowed until the answer is sent. */
struct call {
	struct arena *arena;
	const struct principal *who;
	const char *region; /* of the credential scope; the server's when that is empty */
	const char *account;
	const char *operation;
	const char *request_id;
	struct engine *engine;
	void *service_ctx;            /* of wire_service */
	struct wire_request *request; /* headers, host, for the rare handler that needs them */
	/* A query of a JSON service whose answers are large may leave *out NULL and put the body's text here, in the
	 * arena, written as the protocol wants it. */
	struct str out_text;
};

/* Handlers. `in` is borrowed. *out is returned owned: an object (NULL = empty answer). */
typedef int (*wire_query)(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err);
typedef int (*wire_command)(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err);
/* Waits without holding a thread: keeps `c`, and calls wire_answer once, from any thread. */
typedef void (*wire_async)(struct call *c, json_t *in);

struct wire_op {
	const char *name; /* as in the model: "CreatePipeline" */
	wire_query query; /* exactly one of the three */
	wire_command command;
	wire_async async;
	/* Beside async: a command that does the same, for calls within a turn. May be NULL. */
	wire_command inside;
};

/* ---- what an operation needs ---- */

/* The action and the resources of one operation, for policies (access.c expands them). Texts of a resource: pieces with
 * a blank between them, each an ARN or what follows "arn:aws:<scope>:<region>:<account>:". `{Member}` stands for a
 * member of the input, `{a.b}` for one within (lists: for each), `{a|b=text}` for the first that is there, else the
 * text, else
 * "*"; `{Member,lower}` in small letters. Where the last of them has an ARN, that is the resource. */
struct wire_access {
	const char *operation;
	const char *action;   /* NULL: "<scope>:<operation>" */
	const char *resource; /* NULL: "*" */
	const char *pass;     /* members with roles that are given away (iam:PassRole), a blank between them; or NULL */
	const char *keys;  /* condition keys: "ecs:cluster=cluster/{cluster=default}", a blank between them; or NULL */
	const char *reads; /* bucket and key of an object that is read for the caller: "Code.S3Bucket Code.S3Key" */
	/* Appends the resources to a list instead (and roles to another) where the store has to be asked. May be NULL.
	 */
	void (*find)(struct call *c, struct db *db, const json_t *in, json_t *resources, json_t *roles);
	bool open; /* nobody needs a permission */
};

/* One question to the policies. */
struct wire_fact {
	const char *key; /* condition key: "s3:prefix" */
	struct str value;
};
struct wire_ask {
	const char *action;      /* "s3:GetObject" */
	struct str resource;     /* an ARN, or "*" */
	const char *region;      /* aws:RequestedRegion */
	const json_t *in;        /* for aws:RequestTag and aws:TagKeys; may be NULL */
	const char *const *tags; /* the same as name, value, name, value, NULL; may be NULL */
	const struct wire_fact *facts;
	size_t nfacts;
	struct wire_request *request; /* where it comes from; NULL for a call from inside */
};

/* Ends an async call: takes out (NULL with rc < 0). err borrowed. */
void wire_answer(struct call *c, int rc, json_t *out, struct error *err);

/* For an async operation that writes, last in its command, with the answer that wire_answer will be given (borrowed):
 * what a caller from inside makes of the answer becomes one with the write (wire_internal.commit). < 0 with err: the
 * command is to fail. Nothing for a client's request. */
int wire_commit(struct call *c, struct turn *t, json_t *out, struct error *err);

/* A raw service handles HTTP itself. The order of calls: begin; when it set an answer, nothing more (the body is
 * refused: no 100-continue). Else body for each piece, then exactly one of end and abort; abort also comes after end
 * when the answer could not be sent whole. Calls for one request never overlap, and none is made while a wire_offload
 * of it runs. */
struct raw_handler {
	/* Called when the headers are complete and authenticated. Decide where the body goes. */
	void (*begin)(struct wire_request *r, void *ctx);
	/* A piece of the body (aws-chunked already taken apart). Its signatures and hashes are proved only when end is
	 * called: nothing may become visible before. p is valid during the call. < 0 stops the body (abort follows);
	 * the answer must be set. */
	int (*body)(struct wire_request *r, void *ctx, const void *p, size_t n);
	/* The body is complete and its signature/sha256 is good (else the wire layer answers through `fail` and calls
	 * `abort`). Set the answer now or later. */
	void (*end)(struct wire_request *r, void *ctx);
	/* The client went away, the body was bad, or there was an answer before the end: release what begin opened. */
	void (*abort)(struct wire_request *r, void *ctx);
	/* Renders an error in the service's shape into the answer. */
	void (*fail)(struct wire_request *r, void *ctx, struct error *err);
};

struct wire_service {
	const char *model;                /* model name in the generated tables ("sagemaker"), NULL for a raw service */
	const char *scope;                /* credential-scope service name ("sagemaker", "s3", "ecr" ...) */
	const struct wire_op *ops;        /* ends with a NULL name */
	const struct wire_access *access; /* a row for each operation, ends with a NULL operation */
	const char *passed_to;            /* who gets the roles: "ecs-tasks.amazonaws.com" */
	const struct raw_handler *raw;
	/* Raw services: claims an unsigned or otherwise unrouted request (S3 anonymous/POST form, /v2/ registry). May
	 * be NULL. */
	bool (*claims)(struct wire_request *r, void *ctx);
	bool own_auth; /* raw: the handler authenticates itself (registry bearer tokens) */
	void *ctx;
	int64_t max_body_bytes; /* of a request that is buffered; 0 = wire_options.max_json_bytes */
	const char *(*operation_at)(
		size_t i); /* raw, for `quern api`: the i-th implemented operation, NULL after the last. May be NULL. */
};

struct wire_options {
	const char *bind;   /* default "127.0.0.1" */
	uint16_t port;      /* default 4566 */
	int threads;        /* 0 = number of CPUs */
	const char *region; /* default region when a request has none */
	const char *account;
	struct engine *engine;
	/* Looks an access key up: fills who and secret (arena). Called on http threads. `token` may be null. False: an
	 * unknown key, or with err: code "InvalidToken...", "Expired...", or none (an internal fault). It is first
	 * called with a null db and answers from memory if it can; when the key is not known there, again with a
	 * snapshot. */
	bool (*find_key)(void *ctx, struct arena *a, struct db *db, struct str access_key, struct str token,
			 int64_t now_ms, struct principal *who, struct str *secret, struct error *err);
	void *find_key_ctx;
	/* May `who` do this? (Model-driven services don't ask about who is unrestricted.) -1 with err code AccessDenied
	 * and AWS's text. From any thread; NULL: everybody may do everything. */
	int (*authorize)(void *ctx, struct arena *a, const struct principal *who, const struct wire_ask *ask,
			 struct error *err);
	void *authorize_ctx;
	int64_t max_json_bytes; /* of a request that is buffered; default 16 MiB */
	int max_connections;    /* default 4096 */
	int idle_timeout_s; /* a connection without traffic is closed; default 75. Waiting for an answer does not count.
			     */
};

int wire_server_new(const struct wire_options *options, struct wire_server **out, struct error *err);
void wire_add_service(struct wire_server *w, const struct wire_service *service); /* borrowed */
/* Binds and starts the threads. The port really bound is wire_port. */
int wire_start(struct wire_server *w, struct error *err);
uint16_t wire_port(struct wire_server *w);
/* No new requests; running ones get `grace_ms`; then closes. */
void wire_stop(struct wire_server *w, int grace_ms);
void wire_server_free(struct wire_server *w);

/* ---- raw requests ---- */
struct arena *wire_arena(struct wire_request *r);
struct str wire_method(struct wire_request *r);
struct str wire_path(struct wire_request *r);                                       /* percent-decoded */
struct str wire_raw_path(struct wire_request *r);                                   /* as sent, without query */
struct str wire_query_arg(struct wire_request *r, const char *name, bool *present); /* decoded */
/* Calls fn for each decoded query argument. */
void wire_each_query(struct wire_request *r, void (*fn)(void *ctx, struct str name, struct str value), void *ctx);
struct str wire_header(struct wire_request *r, const char *name); /* STR_NULL when absent */
void wire_each_header(struct wire_request *r, void (*fn)(void *ctx, struct str name, struct str value), void *ctx);
const struct principal *wire_who(struct wire_request *r);
/* The client's address, "" when unknown. In the request's arena. */
const char *wire_source_ip(struct wire_request *r);
/* For raw services: may `who` do this? ask->request and ask->region are filled. -1 with err AccessDenied. */
int wire_authorize(struct wire_request *r, const struct principal *who, struct wire_ask *ask, struct error *err);
const char *wire_request_id(struct wire_request *r);
const char *wire_region(struct wire_request *r);
/* Body length that was announced after decoding aws-chunked (-1 unknown). */
int64_t wire_body_length(struct wire_request *r);
/* A trailer of an aws-chunked body, valid in end(). */
struct str wire_trailer(struct wire_request *r, const char *name);
struct engine *wire_engine(struct wire_request *r);
void wire_set_state(struct wire_request *r, void *state); /* the handler's own pointer */
void *wire_state(struct wire_request *r);
/* S3 POST form: checks the form's signature over its policy (base64 text) and makes the signer wire_who. err: S3 codes.
 * The policy's own expiry and conditions are the caller's matter. */
int wire_check_policy(struct wire_request *r, struct str policy, struct str credential, struct str date,
		      struct str signature, struct str token, struct error *err);
/* S3 presigned URLs and forms of signature version 2: `signature` is base64 of the HMAC-SHA1 of text; makes the signer
 * wire_who. */
int wire_check_v2(struct wire_request *r, struct str access_key, struct str token, struct str text,
		  struct str signature, struct error *err);

/* ---- answers: headers first, then exactly one of the send functions; from any thread, once. Outside of a handler's
 * callback or a wire_offload, r may be gone when the send function returns. For HEAD, set Content-Length and send an
 * empty body. ---- */
void wire_set_header(struct wire_request *r, const char *name, const char *value); /* copied */
void wire_send(struct wire_request *r, int status, struct str body);               /* body copied */
/* Sends `length` bytes of fd from offset with sendfile; takes fd. */
void wire_send_fd(struct wire_request *r, int status, int fd, int64_t offset, int64_t length);
/* Body produced piece by piece: fn fills p (up to n bytes) and returns the count, 0 = nothing now (call wire_wake), -1
 * = end, -2 = fault. done(ctx) at the end. Length unknown. */
void wire_send_stream(struct wire_request *r, int status, ptrdiff_t (*fn)(void *ctx, char *p, size_t n),
		      void (*done)(void *ctx), void *ctx);
void wire_wake(struct wire_request *r);
/* Runs fn(arg) on one of the server's worker threads (for fdatasync and other blocking work); the request stays
 * suspended meanwhile. */
void wire_offload(struct wire_request *r, void (*fn)(struct wire_request *r, void *arg), void *arg);

/* ---- for a raw service that can be called from inside; a client's request is none of these functions' business ----
 */
/* The operation that a call from inside is for; NULL for a client's request. */
const char *wire_operation(const struct wire_request *r);
/* In the command that writes: makes the answer of a call from inside (answer(arg) sends it) and lets the caller put its
 * own into the command. < 0 with err undoes it. */
int wire_answer_in_turn(struct wire_request *r, struct turn *t, void (*answer)(void *arg), void *arg,
			struct error *err);
/* There is such an answer: what the request holds is to be kept until the command has ended. */
bool wire_answer_held(const struct wire_request *r);
/* The command has ended: tells the caller (r may be gone), or forgets the answer so that an error can be sent. */
void wire_answer_end(struct wire_request *r, bool committed);

/* ---- calls from inside (Step Functions' tasks, schedules) ---- */
/* How an answer is written, always with capitalised members: as the AWS SDK for Java 2 does it, ISO times; as version 1
 * does, times in milliseconds; and of version 1 where lists that are absent are empty (its classes of ECS). */
enum wire_spelling { WIRE_SDK2, WIRE_SDK1, WIRE_SDK1_LISTS };
struct wire_internal {
	const char *model;     /* "sagemaker", "stepfunctions" */
	const char *operation; /* "CreateTrainingJob" */
	json_t *in; /* borrowed; members spelled as in the model or as the AWS SDK for Java does; ISO timestamps allowed
		     */
	const struct principal *who;
	const char *region; /* NULL: the server's */
	enum wire_spelling spelling;
	/* Asynchronous calls only. Of an operation that writes in a command of its own (S3's, and whose handler calls
	 * wire_commit): called in that command with `done`'s argument and what the answer will be (borrowed), so that
	 * the write and what the caller makes of it are one. < 0 undoes both. May be NULL. */
	int (*commit)(void *arg, struct turn *t, json_t *out, struct error *err);
};
/* How an operation is done: it reads a snapshot, it is a command, or its answer may come late. */
enum wire_way { WIRE_ABSENT, WIRE_READS, WIRE_WRITES, WIRE_WAITS };
enum wire_way wire_call_way(struct wire_server *w, const char *model, const char *operation);
/* Calls an operation of a model-driven service of this server: the same checks and handlers as over HTTP. Blocks; not
 * from the core thread. *out owned: the answer in rq's spelling (blobs base64). err: the answer's code and text. */
int wire_call_internal(struct wire_server *w, const struct wire_internal *rq, struct arena *a, json_t **out,
		       struct error *err);
/* The same without blocking where the operation's handler is async: `done` is called once, on any thread, perhaps
 * before this returns. `rq`'s texts and `who` and the arena live until then; out is owned by `done`, err is borrowed.
 */
typedef void (*wire_internal_done)(void *arg, int rc, json_t *out, struct error *err);
void wire_call_internal_async(struct wire_server *w, const struct wire_internal *rq, struct arena *a,
			      wire_internal_done done, void *arg);
/* The same within a turn, for what reads or writes: done with the turn, so exactly once. A command that fails is undone
 * (turn_try). */
int wire_call_in_turn(struct wire_server *w, const struct wire_internal *rq, struct turn *t, struct arena *a,
		      json_t **out, struct error *err);

/* Does the model have the operation, and the operation's input the member (in any case)? True when the model itself is
 * unknown. */
bool wire_has_operation(const char *model, const char *operation);
bool wire_has_input(const char *model, const char *operation, const char *member);
/* Checks what stands for the answer of an operation (TestState's mocks) against its output shape, members spelled as
 * wire_call_internal spells them; `required`: absent required members are faults. An unknown model or operation passes.
 * err: ValidationException. */
int wire_check_output(const char *model, const char *operation, json_t *value, bool required, struct error *err);

/* The name of the error shape that a code stands for in the service's model ("NoSuchEntityException" for
 * "NoSuchEntity"), or NULL. *status (may be NULL) is the HTTP status that the shape has, untouched when it has none. */
const char *wire_error_shape(const char *model, const char *code, int *status);

/* ---- XML output (S3, STS, IAM) ---- */
struct buf;
void xml_open(struct buf *b, const char *name);
void xml_close(struct buf *b, const char *name);
void xml_escape(struct buf *b, struct str value);                 /* as text or as an attribute */
void xml_text(struct buf *b, const char *name, struct str value); /* escaped */
void xml_int(struct buf *b, const char *name, int64_t value);

#endif
