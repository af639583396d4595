/* list.h - pages of keys: the scan, and the document made of it. Inside the s3 room. */
#ifndef QUERN_S3_LIST_H
#define QUERN_S3_LIST_H

#include "s3/room.h"

enum s3_scan_kind { S3_SCAN_OBJECTS, S3_SCAN_VERSIONS, S3_SCAN_UPLOADS };

struct s3_scan {
	enum s3_scan_kind kind;
	struct db *db;
	struct arena *a;
	int64_t bucket;
	struct str prefix, delimiter;
	struct str marker;     /* go on after this key or group; empty: from the start */
	bool resume_at_marker; /* rows of the marker's own key are asked `want` */
	int64_t max;
	void *ctx;
	bool (*want)(void *ctx, struct rows *rows); /* NULL: all; column 0 is the key */
	void (*row)(void *ctx, struct rows *rows);
	void (*group)(void *ctx, struct str group);
	/* results */
	int64_t count;
	bool truncated;
	struct str last; /* last key or group counted */
};
int s3_scan_run(struct s3_scan *s, struct error *err);

/* A page of a listing while it is being made. */
struct s3_page {
	struct s3_call *c;
	struct s3_scan scan;
	bool url, owner;
	struct buf items, groups;
	/* versions */
	struct buf key; /* whose rows are being seen */
	bool latest, last_was_group;
	int64_t before_id, last_id;
	struct str last_version;
	/* uploads */
	struct str after_upload, last_upload;
};
/* prefix, delimiter, encoding-type and the number wanted. */
int s3_page_read(struct s3_call *c, const char *max_name, struct s3_page *p, struct error *err);
void s3_page_group(void *ctx, struct str group);
/* A key or prefix as text, percent-encoded when asked. */
void s3_page_name(const struct s3_page *p, struct buf *b, const char *element, struct str value);
/* Scans a snapshot of the call's bucket; false after answering a fault. */
bool s3_page_run(struct s3_call *c, struct s3_page *p);
void s3_page_release(struct s3_page *p);

#endif
