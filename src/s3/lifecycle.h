/* lifecycle.h - a bucket's lifecycle configuration: its rules, and what they say of an object at a time. Inside the s3
 * room.
 *
 * DESIGN: pure; it reads no clock and no store. A day's length is given, so that tests and `quern up --wait-scale` can
 * have short ones: what is due after n days is due at the first midnight (UTC; the end of a day of that length) after
 * them. Sources: "PutBucketLifecycleConfiguration", Amazon S3 API reference; "Lifecycle configuration elements" and
 * "Expiring objects", Amazon S3 user guide. */
#ifndef QUERN_S3_LIFECYCLE_H
#define QUERN_S3_LIFECYCLE_H

#include "base/buf.h"
#include "s3/room.h"

enum { S3_RULES_MAX = 1000 };
#define S3_DAY_MS 86400000ll

struct s3_rule_tag {
	struct str key, value;
	struct str stored; /* as objects have it: "k=v", percent-encoded */
};

/* When something is to happen: after days, or at a date. */
struct s3_when {
	bool set;
	int64_t days;    /* -1: by date */
	int64_t date_ms; /* midnight */
};

struct s3_transition {
	struct s3_when when; /* of a noncurrent version: days since it became that */
	struct str storage;
	int64_t newer; /* noncurrent: so many newer ones stay */
};

struct s3_rule {
	struct str id;
	bool enabled;
	bool bare_prefix;     /* Prefix stands in the rule itself, as before there were filters */
	bool many;            /* the filter has And */
	struct str prefix;    /* STR_NULL: the filter has none */
	int64_t above, below; /* ObjectSizeGreaterThan, ObjectSizeLessThan; -1: absent */
	struct s3_rule_tag *tags;
	size_t ntags;
	struct s3_when expiration;
	bool lone_markers; /* ExpiredObjectDeleteMarker */
	bool marker_said;  /* it was given, perhaps as false */
	struct s3_when noncurrent;
	int64_t newer; /* NewerNoncurrentVersions of the expiration */
	struct s3_transition *transitions, *noncurrent_transitions;
	size_t ntransitions, nnoncurrent;
	struct s3_when abort; /* uploads, since they began */
};

struct s3_lifecycle {
	struct s3_rule *rules;
	size_t count;
	bool small_ones_move; /* varies_by_storage_class: archives take objects below 128 KiB */
};

/* Reads and checks a document; texts borrow from it or are in the arena. Rules without an ID have an empty one. err
 * MalformedXML, InvalidArgument, InvalidRequest with S3's texts. */
int s3_lifecycle_parse(struct arena *a, struct str xml, struct s3_lifecycle *out, struct error *err);
/* The document as GetBucketLifecycleConfiguration answers it. */
void s3_lifecycle_xml(const struct s3_lifecycle *l, struct buf *b);
/* The bucket's column: a line with TransitionDefaultMinimumObjectSize, then the document. False: there is none. */
bool s3_lifecycle_stored(struct arena *a, struct str column, struct s3_lifecycle *out);
extern const char *const s3_lifecycle_sizes[3]; /* the values of TransitionDefaultMinimumObjectSize, NULL at the end */

/* When what begins at from_ms is due. */
int64_t s3_when_ms(const struct s3_when *w, int64_t from_ms, int64_t day_ms);
/* The current version goes at *at_ms by rule *rule (in the configuration); false: by none. */
bool s3_lifecycle_expiry(const struct s3_lifecycle *l, const struct s3_object *o, int64_t day_ms, int64_t *at_ms,
			 const struct s3_rule **rule);
/* An upload begun at created_ms is dropped at *at_ms; false: by no rule. */
bool s3_lifecycle_abort(const struct s3_lifecycle *l, struct str key, int64_t created_ms, int64_t day_ms,
			int64_t *at_ms, const struct s3_rule **rule);
/* A noncurrent version (or marker) that became that at since_ms, with so many newer noncurrent ones of its key, goes
 * by now_ms. */
bool s3_lifecycle_noncurrent(const struct s3_lifecycle *l, const struct s3_object *o, int64_t since_ms, int64_t newer,
			     int64_t now_ms, int64_t day_ms);
/* A delete marker that is its key's only version goes by now_ms. */
bool s3_lifecycle_marker(const struct s3_lifecycle *l, const struct s3_object *o, int64_t now_ms, int64_t day_ms);
/* The storage class that the version has come to by now_ms; STR_NULL: it stays as it is. since_ms < 0: it is the
 * current one. */
struct str s3_lifecycle_storage(const struct s3_lifecycle *l, const struct s3_object *o, int64_t since_ms,
				int64_t newer, int64_t now_ms, int64_t day_ms);

#endif
