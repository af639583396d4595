/* upload.h - multipart uploads. Inside the s3 room.
 *
 * DESIGN: an upload has one file of its own (a draft blob) from the start. The first part that arrives with a known
 * length sets the stride; a part of at most that length is written at (number-1)*stride of the file. Whatever doesn't
 * fit (longer, length unknown, the number is being written or is there already) goes to a file of its own. When the
 * listed parts lie one behind the other in the draft, completing copies nothing. A part's bytes are on disk before its
 * row says where they are; rows never change place. */
#ifndef QUERN_S3_UPLOAD_H
#define QUERN_S3_UPLOAD_H

#include "s3/room.h"

struct s3_upload {
	struct str id, key, checksum /* "CRC32 COMPOSITE", empty */, storage, headers, tags, blob;
	int64_t bucket, created_ms, stride, changes;
	bool conflict; /* the object of its key was deleted since it began */
};

struct s3_part_row {
	int number;
	int64_t size_bytes, modified_ms, position;
	struct str etag, checksum, blob;
};

/* An upload that parts are being written to, or that is being completed; in s3.uploads while refs > 0. */
struct s3_live_upload {
	struct str id; /* owned */
	int refs;
	int64_t stride;
	bool sealed;  /* being completed: the draft takes no more parts */
	int *claimed; /* part numbers being written into the draft */
	int nclaimed, cap;
};

/* Of a call that writes a part. */
struct s3_upload_part {
	struct s3_upload upload;
	int number;
	struct s3_live_upload *live;
	bool in_draft;
	int64_t stride;
	struct s3_source source; /* UploadPartCopy */
	int64_t from, length;
};

/* The upload `uploadId` of this bucket and key; err NoSuchUpload. */
int s3_upload_find(struct s3_call *c, struct db *db, struct s3_upload *out, struct error *err);
/* All parts by number, in the call's arena. */
int s3_upload_parts(struct s3_call *c, struct db *db, struct str id, struct s3_part_row **parts, size_t *n,
		    struct error *err);
/* Rows of upload and parts go, and the blobs that nothing names any more. */
int s3_upload_drop(struct turn *t, struct str id, struct str draft, struct error *err);
/* "CRC32 COMPOSITE" */
void s3_upload_checksum(struct str stored, enum checksum_algo *algo, bool *composite);
void s3_upload_checksum_xml(struct buf *b, struct str stored);

/* The live upload, made when absent, with one more reference; caller holds uploads_lock. */
struct s3_live_upload *s3_live_get(struct s3 *s, struct str id);
void s3_live_put(struct s3 *s, struct s3_live_upload *live);

#endif
