/* room.h - what the files of the s3 room share. Not for other rooms.
 *
 * One request is one `struct s3_call`: http.c makes it and finds its operation in ops.c; the operation's `run` is
 * called when the body is there (large bodies have gone to a file meanwhile, body.c). Reads answer on the http thread
 * from a snapshot. Writes go through s3_call_write to the core thread and are answered after the commit; work that
 * blocks on the disk before that goes through s3_call_block. */
#ifndef QUERN_S3_ROOM_H
#define QUERN_S3_ROOM_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "base/map.h"
#include "s3/digest.h"
#include "s3/s3.h"

enum {
	S3_INLINE_MAX = 8192,   /* bodies up to this live in the row */
	S3_SMALL_MAX = 4 << 20, /* those that other rooms put live there too, up to this */
	S3_XML_MAX = 4 << 20,   /* XML documents clients send */
	S3_KEY_MAX = 1024,
	S3_META_MAX = 2048, /* user metadata, names and values */
	S3_PARTS_MAX = 10000,
	S3_PART_MIN = 5 << 20,
	S3_TAGS_MAX = 10,
	S3_BUCKET_TAGS_MAX = 50,
};
#define S3_OBJECT_MAX (5ll << 40)
#define S3_NAMESPACE "http://s3.amazonaws.com/doc/2006-03-01/"

/* What the keeper thread is to throw away soon: a blob, or what a writer has written. */
struct s3_trash {
	struct s3_trash *next;
	struct blob_writer writer;
	char id[BLOB_ID_LEN + 1];
};

struct s3 {
	struct engine *engine;
	struct store *store;
	struct blob_store *blobs;
	struct hasher *hasher;
	struct wire_service service;
	struct iam *iam;     /* asks bucket policies; NULL in tests: there are none */
	int64_t day_ms;      /* of lifecycle rules (aging.c) */
	atomic_bool policed; /* some bucket has, or had since the start, a policy */
	pthread_mutex_t uploads_lock;
	struct map uploads; /* upload id -> struct s3_live_upload, while parts are on their way (api_upload.c) */
	pthread_t keeper;
	bool keeper_runs, stop;
	pthread_mutex_t keeper_lock;
	pthread_cond_t keeper_wake;
	struct s3_trash *trash;
};

/* ---- rows (store.c) ---- */

enum s3_versioning { S3_UNVERSIONED, S3_VERSIONED, S3_SUSPENDED };

struct s3_bucket {
	int64_t id;
	struct str name, owner, region, tags, cors;
	struct str lifecycle;  /* lifecycle.h, empty for none */
	struct str encryption; /* header lines of objects that come without, empty for none */
	int64_t created_ms;
	enum s3_versioning versioning;
};

/* A version of an object, or a delete marker. Strings are in an arena. */
struct s3_object {
	int64_t id;              /* grows: the newest version of a key has the largest */
	struct str key, version; /* "null" for the null version */
	bool listed;             /* the current version, and no marker */
	bool marker;
	int64_t size_bytes, modified_ms;
	struct str etag;     /* without quotes */
	struct str checksum; /* "CRC32 <base64> FULL_OBJECT", empty when none */
	struct str storage;  /* storage class, empty for STANDARD */
	struct str headers;  /* "Name: value\n" lines to send back */
	struct str tags;     /* "k=v&k=v", percent-encoded; empty when none */
	struct str blob;     /* blob id, empty when the body is inline */
	struct str parts;    /* "<upload id> <size>:<checksum> ..." of a multipart object, else empty */
	struct str body;     /* inline body, only when asked for */
};

extern const struct store_migration s3_migrations[];

/* An object as other rooms ask for it (rooms.c): 1, or < 0 with NoSuchBucket, NoSuchKey. */
int s3_room_find(struct db *db, struct arena *a, struct str bucket, struct str key, struct str version,
		 struct s3_object *out, struct error *err);
/* A body on disk as s3_commit takes it; owned. */
json_t *s3_prepared(const char *blob, int64_t size_bytes, const struct digest_result *sums);
/* 1 found, 0 none, < 0 a fault. */
int s3_bucket_find(struct db *db, struct arena *a, struct str name, struct s3_bucket *out, struct error *err);
/* The version `version` (STR_NULL: the current object; a marker is no current object). */
int s3_object_find(struct db *db, struct arena *a, int64_t bucket, struct str key, struct str version, bool with_body,
		   struct s3_object *out, struct error *err);
/* The row of this number, without its body. */
int s3_object_by_id(struct db *db, struct arena *a, int64_t id, struct s3_object *out, struct error *err);
/* Bucket and current object at once; 0 when either is missing. */
int s3_object_find_in(struct db *db, struct arena *a, struct str bucket_name, struct str key, struct s3_bucket *bucket,
		      struct s3_object *out, struct error *err);
/* The newest version, marker or not. */
int s3_object_newest(struct db *db, struct arena *a, int64_t bucket, struct str key, struct s3_object *out,
		     struct error *err);
/* Makes o the key's newest version by the bucket's versioning: takes the null version's place or goes before it.
 * o->version is set. */
int s3_object_put(struct turn *t, const struct s3_bucket *b, struct s3_object *o, struct error *err);
/* What a DELETE without a version does: the object goes, or gets a delete marker, whose version is then in *made (in
 * the turn's arena; else empty). newest: what s3_object_newest finds, NULL when there is nothing. */
int s3_object_remove(struct turn *t, const struct s3_bucket *b, struct str key, const struct s3_object *newest,
		     struct str *made, struct error *err);
/* Removes one version; the newest left becomes current. */
int s3_object_drop(struct turn *t, int64_t bucket, const struct s3_object *o, struct error *err);
/* No row that is left names blob: it may go. Nothing for an empty id. */
int s3_blob_release(struct turn *t, struct str blob, struct error *err);
/* For blob_add_owner. */
int s3_blob_named(void *ctx, struct db *db, const char *id);

/* ---- one request (http.c, call.c) ---- */

enum s3_level { S3_SERVICE, S3_BUCKET, S3_OBJECT };
enum s3_body_kind { S3_BODY_NONE, S3_BODY_XML, S3_BODY_DATA, S3_BODY_FORM };

struct s3_call;
struct s3_op {
	const char *name;
	const char *method;
	enum s3_level level;
	const char *arg;    /* query argument that picks the operation, NULL for the plain one */
	const char *header; /* header that must be there too, NULL */
	enum s3_body_kind body;
	/* Before the body comes; < 0 refuses it. May be NULL. */
	int (*begin)(struct s3_call *c, struct error *err);
	/* When the body is there. Answers now or later. */
	void (*run)(struct s3_call *c);
	const char *fixed; /* run is NULL: error code answered always */
};

/* Where a body goes, and what is known about it when it is complete (body.c). Zero but for draft_fd; fields of the
 * first group are set before s3_body_open. */
struct s3_body {
	enum checksum_algo algo_default; /* when the client names none */
	bool foreign_sums;               /* x-amz-checksum-* are not of this body */
	bool no_memory;                  /* the caller says where it goes: s3_body_to_draft or s3_body_to_file */

	bool open, in_file, in_draft;
	struct buf memory;
	size_t memory_max;
	struct blob_writer writer;
	int draft_fd; /* in_draft: a part's place in the upload's file; owned */
	int64_t draft_at;
	int64_t size_bytes, limit_bytes;
	struct digest digest;
	enum checksum_algo algo;
	struct str expected; /* base64 the client gave; empty when in the trailer or none */
	bool in_trailer, has_md5;
	uint8_t md5[16]; /* Content-MD5 */
	struct digest_result sums;
	char blob[BLOB_ID_LEN + 1]; /* published, and to be removed when no row comes of it */
};

/* The object that a copy reads (api_copy.c). */
struct s3_source {
	struct str bucket_name, key, version;
	struct s3_bucket bucket;
	struct s3_object object;
};

struct s3_upload_part;
struct s3_form;

struct s3_call {
	struct s3 *s;
	struct wire_request *r;
	struct arena *a;
	const struct s3_op *op;
	const struct principal *who;
	struct str method, bucket_name, key;
	bool presigned, virtual_host;
	int nargs;               /* query arguments but those of the signature */
	struct s3_bucket bucket; /* found by s3_call_read, s3_call_bucket_now */
	struct s3_body body;
	struct s3_upload_part *part;        /* UploadPart, UploadPartCopy */
	struct s3_form *form;               /* PostObject */
	struct s3_object object;            /* what a write makes, or a read found */
	void *work;                         /* an operation's own */
	void (*cleanup)(struct s3_call *c); /* an operation's own, before the answer or on abort; may run twice */
	int (*write)(struct s3_call *c, struct turn *t, struct error *err);
	void (*blocking)(struct s3_call *c);
	void (*answer)(struct s3_call *c);
	struct {
		const char *name;
		struct str value;
	} details[6]; /* extra elements of an error */
	int ndetails;
};

/* Runs `write` in a transaction on the core thread, then `answer`, or the error. */
void s3_call_write(struct s3_call *c, int (*write)(struct s3_call *c, struct turn *t, struct error *err),
		   void (*answer)(struct s3_call *c));
/* Runs fn on a thread that may block. */
void s3_call_block(struct s3_call *c, void (*fn)(struct s3_call *c));
/* A header; in a presigned request the query argument of the same name stands for it (SDKs move headers there), in a
 * form the field. STR_NULL when absent. */
struct str s3_call_header(struct s3_call *c, const char *name);
/* All of them. */
void s3_call_each_header(struct s3_call *c, void (*fn)(void *ctx, struct str name, struct str value), void *ctx);
struct str s3_call_arg(struct s3_call *c, const char *name, bool *present);
/* An integer argument; `absent` when not there. < 0 with err InvalidArgument. */
int s3_call_int(struct s3_call *c, const char *name, int64_t min, int64_t max, int64_t absent, int64_t *out,
		struct error *err);
/* The bucket as it is in this snapshot or transaction, into c->bucket; checks that it is the caller's. */
int s3_call_bucket_now(struct s3_call *c, struct db *db, struct error *err);
/* Is c->bucket the caller's? */
int s3_call_owner(struct s3_call *c, struct error *err);
/* versionId; STR_NULL when absent. */
int s3_call_version(struct s3_call *c, struct str *version, struct error *err);
/* The object (or its version) that is asked for; a delete marker is an error with its headers. */
int s3_call_object(struct s3_call *c, struct db *db, bool with_body, struct s3_object *out, struct error *err);
/* Puts it, without its body, into c->object from a snapshot; false after answering a fault. */
bool s3_call_read_object(struct s3_call *c);
/* x-amz-version-id, in a bucket that has versions. */
void s3_call_version_header(struct s3_call *c, const struct s3_object *o);
void s3_call_detail(struct s3_call *c, const char *name, struct str value);
/* Sends the error as S3's XML. */
void s3_call_fail(struct s3_call *c, struct error *err);
void s3_call_send(struct s3_call *c, int status, struct str body);
/* Sends an XML document and releases it. */
void s3_call_send_xml(struct s3_call *c, int status, struct buf *xml);
void s3_call_sethdr(struct s3_call *c, const char *name, struct str value);
void s3_call_send_file(struct s3_call *c, int status, int fd, int64_t offset, int64_t length);
/* Empty answers, for s3_call_write. */
void s3_answer_200(struct s3_call *c);
void s3_answer_204(struct s3_call *c);
/* A snapshot, with the bucket found in it; NULL after answering the fault. */
struct db *s3_call_read(struct s3_call *c);
void s3_call_read_end(struct s3_call *c, struct db *db);
void s3_error_put(struct error *err, const char *code);
/* The error with S3's standard status and text for the code. Returns -1. */
static inline int s3_error(struct error *err, const char *code)
{
	s3_error_put(err, code);
	return -1;
}
/* With a text of its own and the code's status. */
int s3_error_text(struct error *err, const char *code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The status of a code, 0 when it is not S3's. */
int s3_error_status(const char *code);
/* InvalidArgument with ArgumentName and ArgumentValue. Returns -1. */
int s3_error_argument(struct s3_call *c, struct error *err, const char *name, struct str value, const char *text);
/* The canonical user id of an account: 64 hex digits. */
const char *s3_owner_id(struct arena *a, struct str account);
void s3_xml_owner(struct arena *a, struct buf *b, const char *element, struct str account);
/* Opens the document: declaration and root element with the namespace. */
void s3_xml_start(struct buf *b, const char *root);
void s3_xml_time(struct buf *b, const char *element, int64_t ms);
void s3_xml_etag(struct buf *b, struct str etag);

/* ---- what policies allow (access.c) ---- */
extern const struct wire_access s3_access[];
/* May the caller do c->op with what the request says? err AccessDenied. DeleteObjects asks key by key instead. */
int s3_access_check(struct s3_call *c, struct error *err);
/* One question, about a bucket (key empty) or a key in it; `version`: about a version of it. */
int s3_access_key(struct s3_call *c, const char *action, struct str bucket, struct str key, bool version,
		  struct error *err);
/* The key is not there: code NoSuchKey, or AccessDenied for who may not list the bucket. Returns -1. */
int s3_access_missing(struct s3_call *c, const char *code, struct error *err);

/* For iam_set_resource_policies; ctx = the s3 (api_policy.c). */
int s3_find_policy(void *ctx, struct db *db, struct arena *a, struct str resource, struct str *text, struct error *err);

/* ---- lifecycle (aging.c, api_lifecycle.c) ---- */
void s3_aging_init(struct s3 *s);
/* In a turn: rules were changed. */
void s3_aging_wake(struct turn *t);
/* Applies all rules to all that is there. Blocking. */
int s3_sweep(struct s3 *s, struct error *err);
/* x-amz-expiration, when a rule of c->bucket says when this current object goes. */
void s3_lifecycle_header(struct s3_call *c, const struct s3_object *o);
/* x-amz-abort-date and x-amz-abort-rule-id of an upload. */
void s3_lifecycle_abort_headers(struct s3_call *c, struct str key, int64_t created_ms);

extern const struct raw_handler s3_raw;
bool s3_claims(struct wire_request *r, void *ctx);
/* A presigned URL of signature version 2 (v2.c): checks it and makes its signer c->who. */
int s3_v2_check(struct s3_call *c, struct error *err);
/* The i-th operation that is implemented, for `quern api`. */
const char *s3_operation_at(size_t i);
/* NULL when there is no such operation. */
const struct s3_op *s3_op_find(struct s3_call *c, enum s3_level level);
/* The bucket that a Host names, STR_NULL for path style. */
struct str s3_host_bucket(struct str host);
/* Length and UTF-8. */
int s3_key_check(struct s3_call *c, struct str key, struct error *err);

/* ---- bodies (body.c) ---- */

/* Reads what the client says about checksums (Content-MD5, x-amz-checksum-*) and opens the target. `length` -1 unknown.
 */
int s3_body_open(struct s3_call *c, enum s3_body_kind kind, int64_t length, struct error *err);
/* The checksum of a body when the client names none: S3's own, but for calls from inside that of the SDKs. */
enum checksum_algo s3_body_algo(struct s3_call *c);
/* Takes fd: the body goes there, from `at` on. */
void s3_body_to_draft(struct s3_call *c, int fd, int64_t at);
int s3_body_to_file(struct s3_call *c, struct error *err);
int s3_body_add(struct s3_call *c, const void *p, size_t n, struct error *err);
/* The body is complete: hashes, compares, and makes a file durable. Blocks when body.in_file or in_draft. */
int s3_body_store(struct s3_call *c, struct error *err);
/* Drops everything, also a blob already published. */
void s3_body_release(struct s3_call *c);
/* A blob made in another way: removed unless the call's write succeeds. */
void s3_body_adopt(struct s3_call *c, const char *id);
/* The blob now belongs to a row. */
void s3_body_keep(struct s3_call *c);
/* "CRC32 <base64> FULL_OBJECT" of the stored body in the call's arena; empty when none. */
struct str s3_body_checksum(struct s3_call *c);

/* ---- checksums on the wire (body.c) ---- */
struct s3_checksum {
	enum checksum_algo algo;
	struct str value;
	bool composite;
};
struct s3_checksum s3_checksum_parse(struct str stored);
/* x-amz-checksum-<algo> and x-amz-checksum-type. */
void s3_checksum_headers(struct s3_call *c, struct str stored);
void s3_checksum_xml(struct buf *b, struct str stored, bool with_type);

/* ---- what PUT, POST, Copy and CreateMultipartUpload have in common (meta.c) ---- */

/* Content headers, user metadata, storage class, encryption headers and tags of the request into o. */
int s3_meta_read(struct s3_call *c, struct s3_object *o, struct error *err);
int s3_meta_line(struct s3_call *c, struct buf *lines, const char *name, struct str value, struct error *err);
/* Calls fn for each "Name: value" line. */
void s3_meta_each(struct str headers, void (*fn)(void *ctx, struct str name, struct str value), void *ctx);
struct str s3_meta_get(struct str headers, const char *name);
int s3_meta_storage(struct s3_call *c, struct str value, struct str *out, struct error *err);
bool s3_meta_encryption_known(struct str algo);
/* An object whose headers say nothing of encryption gets the bucket's default, in `a`. */
void s3_meta_default(struct arena *a, const struct s3_bucket *b, struct s3_object *o);
/* `given`, perhaps quoted, is this entity tag. */
bool s3_meta_etag_is(struct str given, struct str etag);
/* Headers ACL, lock, SSE-C that would promise what is not there. */
int s3_meta_refuse(struct s3_call *c, struct error *err);
/* If-Match and If-None-Match of a write against what is there now. */
int s3_meta_write_conditions(struct s3_call *c, struct db *db, struct error *err);
/* The if-* headers of a read, or those of a copy's source: 0 go on, 304, or < 0 PreconditionFailed. */
int s3_meta_read_conditions(struct s3_call *c, bool of_source, const struct s3_object *o, struct error *err);

/* ---- tags (api_tags.c) ---- */
/* Checks "k=v&k=v" and writes it in its stored form. */
int s3_tags_parse_header(struct s3_call *c, struct str text, struct str *out, struct error *err);
int s3_tags_count(struct str tags);
struct xml_node;
int s3_tags_parse_xml(struct s3_call *c, const struct xml_node *tagging, int max, struct str *out, struct error *err);

/* ---- XML in (xml.c) ---- */
struct xml_node {
	struct str name, text;
	struct xml_node *first, *next, *last;
};
/* Parses a whole document into the arena; no DTD, bounded depth. err MalformedXML. */
int s3_xml_parse(struct arena *a, struct str text, struct xml_node **root, struct error *err);
const struct xml_node *s3_xml_child(const struct xml_node *n, const char *name);
/* Text of a child, STR_NULL when absent. */
struct str s3_xml_child_text(const struct xml_node *n, const char *name);

/* ---- the thread in the background (s3.c) ---- */
/* Unlinks a blob that no row names, soon, on the keeper thread. */
void s3_keeper_remove(struct s3 *s, const char *blob);
/* Takes the writer: freeing gigabytes takes the file system a while. */
void s3_keeper_abort(struct s3 *s, struct blob_writer *w);

/* The smallest string greater than all that start with s, in the arena; false when there is none. (api_list.c) */
bool s3_after_prefix(struct arena *a, struct str s, struct str *out);

/* ---- pieces that operations share ---- */
bool s3_bucket_name_valid(struct str name);
int s3_bucket_make(struct turn *t, struct str name, struct str owner, struct str region, struct error *err);
/* Drops all uploads of a bucket. */
int s3_uploads_drop(struct turn *t, int64_t bucket, struct error *err);
/* The stored body becomes c->object's; blocks as s3_body_store. */
int s3_put_take_body(struct s3_call *c, struct error *err);
/* For s3_call_write: c->object becomes the key's newest version, if the request's conditions hold. */
int s3_put_write(struct s3_call *c, struct turn *t, struct error *err);
/* Both, then answer(c); a body in a file is sealed where waiting for the disk holds nobody up. */
void s3_put_store(struct s3_call *c, void (*answer)(struct s3_call *c));
/* Version id and encryption headers of c->object. */
void s3_put_headers(struct s3_call *c);
/* x-amz-copy-source; then the object it names, with the x-amz-copy-source-if-* conditions. */
int s3_source_parse(struct s3_call *c, struct s3_source *src, struct error *err);
int s3_source_find(struct s3_call *c, struct db *db, struct s3_source *src, struct error *err);
/* The same from a snapshot, and opens its blob; *fd, owned by the caller, is untouched when it has none. */
int s3_source_open(struct s3_call *c, struct s3_source *src, int *fd, struct error *err);
int s3_source_read(const struct s3_object *o, int fd, int64_t from, int64_t n,
		   int (*fn)(void *ctx, const void *p, size_t n, struct error *err), void *ctx, struct error *err);
/* Walks the parts of a multipart object: rest starts as s3_parts_list(parts). False at the end. */
struct str s3_parts_list(struct str parts);
bool s3_parts_next(struct str *rest, int64_t *size_bytes, struct str *checksum);
/* "bytes=a-b", "bytes=a-", "bytes=-n": 1 understood, 0 to be ignored, -1 not satisfiable. */
int s3_range_parse(struct str text, int64_t size, int64_t *from, int64_t *length);
/* Lets go of all that the request holds: files, claims, what was published in vain. May be called twice. */
void s3_call_release(struct s3_call *c);
void s3_part_release(struct s3_call *c);
struct str s3_form_field(const struct s3_form *f, const char *name);
void s3_form_each(const struct s3_form *f, void (*fn)(void *ctx, struct str name, struct str value), void *ctx);
int s3_form_feed(struct s3_call *c, const void *p, size_t n, struct error *err);
void s3_form_release(struct s3_call *c);
/* Access-Control-* headers, when the request has an Origin that the bucket allows. */
void s3_cors_answer(struct s3_call *c);

/* ---- begin functions and operations, for ops.c ---- */
int s3_put_begin(struct s3_call *c, struct error *err);
int s3_part_begin(struct s3_call *c, struct error *err);
int s3_complete_begin(struct s3_call *c, struct error *err);
int s3_post_begin(struct s3_call *c, struct error *err);
void s3_abort_upload(struct s3_call *c);
void s3_complete_upload(struct s3_call *c);
void s3_copy_object(struct s3_call *c);
void s3_create_bucket_call(struct s3_call *c);
void s3_create_upload(struct s3_call *c);
void s3_delete_bucket(struct s3_call *c);
void s3_delete_bucket_cors(struct s3_call *c);
void s3_delete_bucket_encryption(struct s3_call *c);
void s3_delete_bucket_lifecycle(struct s3_call *c);
void s3_delete_bucket_nothing(struct s3_call *c);
void s3_delete_bucket_ownership(struct s3_call *c);
void s3_delete_bucket_policy(struct s3_call *c);
void s3_delete_public_access(struct s3_call *c);
void s3_delete_bucket_tagging(struct s3_call *c);
void s3_delete_object(struct s3_call *c);
void s3_delete_object_tagging(struct s3_call *c);
void s3_delete_objects(struct s3_call *c);
void s3_get_bucket_acl(struct s3_call *c);
void s3_get_bucket_cors(struct s3_call *c);
void s3_get_bucket_encryption(struct s3_call *c);
void s3_get_bucket_lifecycle(struct s3_call *c);
void s3_get_bucket_location(struct s3_call *c);
void s3_get_bucket_nothing(struct s3_call *c);
void s3_get_bucket_ownership(struct s3_call *c);
void s3_get_bucket_payer(struct s3_call *c);
void s3_get_bucket_policy(struct s3_call *c);
void s3_get_bucket_policy_status(struct s3_call *c);
void s3_get_bucket_tagging(struct s3_call *c);
void s3_get_bucket_versioning(struct s3_call *c);
void s3_get_object(struct s3_call *c);
void s3_get_object_acl(struct s3_call *c);
void s3_get_object_attributes(struct s3_call *c);
void s3_get_object_tagging(struct s3_call *c);
void s3_get_public_access(struct s3_call *c);
void s3_head_bucket(struct s3_call *c);
void s3_list_buckets(struct s3_call *c);
void s3_list_objects(struct s3_call *c);
void s3_list_objects_v2(struct s3_call *c);
void s3_list_parts(struct s3_call *c);
void s3_list_uploads(struct s3_call *c);
void s3_list_versions(struct s3_call *c);
void s3_options(struct s3_call *c);
void s3_post_object(struct s3_call *c);
void s3_put_acl(struct s3_call *c);
void s3_put_bucket_cors(struct s3_call *c);
void s3_put_bucket_encryption(struct s3_call *c);
void s3_put_bucket_lifecycle(struct s3_call *c);
void s3_put_bucket_ownership(struct s3_call *c);
void s3_put_bucket_policy(struct s3_call *c);
void s3_put_public_access(struct s3_call *c);
void s3_put_bucket_tagging(struct s3_call *c);
void s3_put_bucket_versioning(struct s3_call *c);
void s3_put_object(struct s3_call *c);
void s3_put_object_tagging(struct s3_call *c);
void s3_upload_part(struct s3_call *c);
void s3_upload_part_copy(struct s3_call *c);

#endif
