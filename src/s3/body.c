/* body.c - where the bytes of a request go, and their checksums.
 *
 * DESIGN: a body starts in memory and moves to a file when it is larger than what fits in a row; a part of an upload
 * may go straight to its place in the upload's file instead. To a file it goes in large aligned pieces, which cost the
 * kernel half of what the socket's pieces do. The http thread only writes; MD5 and checksum are computed
 * beside it (digest.h). What the client promised (Content-MD5, one x-amz-checksum-*, in a header or in the trailer) is
 * compared when all is there, before anything is named. A blob that is published and then not wanted goes to the
 * keeper. */
#include "s3/room.h"

#include <stdio.h>
#include <unistd.h>

#include "base/id.h"

enum { FLUSH_BYTES = 256 << 10 };

static int read_md5(struct s3_call *c, struct error *err)
{
	const struct str text = s3_call_header(c, "content-md5");
	if (!text.ptr)
		return 0;
	uint8_t raw[64];
	if (text.len > 40 || base64_decode(raw, text) != 16) {
		s3_call_detail(c, "Content-MD5", text);
		return s3_error(err, "InvalidDigest");
	}
	memcpy(c->body.md5, raw, 16);
	c->body.has_md5 = true;
	return 0;
}

/* A header or form field. Not a query argument: JavaScript's presigner moves the checksum of the empty body there,
 * which S3 ignores. */
static struct str own_header(struct s3_call *c, const char *name)
{
	return c->form ? s3_form_field(c->form, name) : wire_header(c->r, name);
}

static int read_trailer_name(struct s3_call *c, struct error *err)
{
	struct s3_body *b = &c->body;
	const struct str trailer = str_trim(own_header(c, "x-amz-trailer"));
	if (!trailer.len)
		return 0;
	for (int i = CHECKSUM_CRC32; i < CHECKSUM_COUNT; i++)
		if (str_eq_nocase(trailer, str_from(checksum_header((enum checksum_algo)i))))
			b->algo = (enum checksum_algo)i;
	if (b->algo == CHECKSUM_NONE)
		return s3_error_text(err, "InvalidRequest",
				     "The value specified in the x-amz-trailer header is not supported");
	b->in_trailer = true;
	return 0;
}

static int read_checksum(struct s3_call *c, struct error *err)
{
	struct s3_body *b = &c->body;
	if (read_trailer_name(c, err) < 0)
		return -1;
	for (int i = CHECKSUM_CRC32; i < CHECKSUM_COUNT; i++) {
		const struct str value = own_header(c, checksum_header((enum checksum_algo)i));
		if (!value.ptr)
			continue;
		if (b->algo != CHECKSUM_NONE)
			return s3_error_text(
				err, "InvalidRequest",
				"Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.");
		b->algo = (enum checksum_algo)i;
		b->expected = value;
		if (!checksum_text_valid(b->algo, value))
			return s3_error_text(err, "InvalidRequest", "Value for %s header is invalid.",
					     checksum_header(b->algo));
	}
	const struct str named = own_header(c, "x-amz-sdk-checksum-algorithm");
	if (named.ptr && wire_operation(c->r) && b->algo == CHECKSUM_NONE)
		b->algo = checksum_from_name(named); /* what the SDK would compute, nobody has to compute before */
	if (named.ptr && checksum_from_name(named) == CHECKSUM_NONE)
		return s3_error_text(err, "InvalidRequest",
				     "Checksum algorithm provided is unsupported. Please try again with any of the "
				     "valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]");
	if (named.ptr && b->algo != checksum_from_name(named))
		return b->algo == CHECKSUM_NONE
			       ? s3_error_text(err, "InvalidRequest",
					       "x-amz-sdk-checksum-algorithm specified, but no corresponding "
					       "x-amz-checksum-* or x-amz-trailer headers were found.")
			       : s3_error_text(err, "InvalidRequest",
					       "Value for x-amz-sdk-checksum-algorithm header is invalid.");
	return 0;
}

static int check_room(struct s3_call *c, int64_t length, struct error *err)
{
	const int64_t room = blob_room_bytes(c->s->blobs);
	return room <= 0 || room < length ? s3_error(err, "InsufficientStorage") : 0;
}

/* The body leaves memory. */
static int to_file(struct s3_call *c, struct error *err)
{
	struct s3_body *b = &c->body;
	if (blob_create(c->s->blobs, &b->writer, err) < 0)
		return -1;
	b->in_file = true;
	digest_follow(&b->digest, b->writer.fd, 0);
	return 0;
}

enum checksum_algo s3_body_algo(struct s3_call *c)
{
	return wire_operation(c->r) ? CHECKSUM_CRC32 : CHECKSUM_CRC64NVME;
}

int s3_body_open(struct s3_call *c, enum s3_body_kind kind, int64_t length, struct error *err)
{
	struct s3_body *b = &c->body;
	const bool data = kind == S3_BODY_DATA;
	b->memory_max = data ? S3_INLINE_MAX : S3_XML_MAX;
	b->limit_bytes = data ? S3_OBJECT_MAX : S3_XML_MAX;
	if (read_md5(c, err) < 0 || (!b->foreign_sums && read_checksum(c, err) < 0))
		return -1;
	if (length > b->limit_bytes) {
		s3_call_detail(c, "ProposedSize", str_from(arena_printf(c->a, "%lld", (long long)length)));
		s3_call_detail(c, "MaxSizeAllowed", str_from(arena_printf(c->a, "%lld", (long long)b->limit_bytes)));
		return s3_error(err, "EntityTooLarge");
	}
	if (data && check_room(c, length, err) < 0)
		return -1;
	b->open = true;
	if (b->algo == CHECKSUM_NONE)
		b->algo = b->algo_default;
	digest_init(&b->digest, c->s->hasher, b->algo);
	return data && !b->no_memory && length > (int64_t)b->memory_max ? to_file(c, err) : 0;
}

void s3_body_to_draft(struct s3_call *c, int fd, int64_t at)
{
	struct s3_body *b = &c->body;
	b->draft_fd = fd;
	b->draft_at = at;
	b->in_draft = true;
	digest_follow(&b->digest, fd, at);
}

int s3_body_to_file(struct s3_call *c, struct error *err)
{
	return to_file(c, err);
}

/* What is in memory goes to the file. */
static int flush(struct s3_body *b, struct error *err)
{
	const int64_t at = b->size_bytes - (int64_t)b->memory.len;
	if (!b->memory.len)
		return 0;
	if ((b->in_draft ? blob_pwrite(b->draft_fd, b->memory.ptr, b->memory.len, b->draft_at + at, err)
			 : blob_write(&b->writer, b->memory.ptr, b->memory.len, err)) < 0)
		return -1;
	buf_clear(&b->memory);
	digest_written(&b->digest, b->size_bytes);
	return 0;
}

int s3_body_add(struct s3_call *c, const void *p, size_t n, struct error *err)
{
	struct s3_body *b = &c->body;
	if (b->size_bytes + (int64_t)n > b->limit_bytes)
		return s3_error(err, "EntityTooLarge");
	if (!b->in_file && !b->in_draft && b->memory.len + n > b->memory_max && to_file(c, err) < 0)
		return -1;
	const bool to_disk = b->in_file || b->in_draft;
	while (n > 0) {
		const size_t room = to_disk ? FLUSH_BYTES - b->memory.len : n, k = n < room ? n : room;
		buf_add(&b->memory, p, k);
		b->size_bytes += (int64_t)k;
		p = (const char *)p + k;
		n -= k;
		if (to_disk && b->memory.len == FLUSH_BYTES && flush(b, err) < 0)
			return -1;
	}
	return 0;
}

/* ---- the end of a body ---- */

static int compare(struct s3_call *c, struct error *err)
{
	struct s3_body *b = &c->body;
	if (b->has_md5 && memcmp(b->md5, b->sums.md5, 16) != 0) {
		char given[33], found[32]; /* the one in hex, the other in base64, as AWS has it */
		hex_encode(given, b->md5, 16);
		base64_encode(found, b->sums.md5, 16);
		s3_call_detail(c, "ExpectedDigest", str_from(given));
		s3_call_detail(c, "CalculatedDigest", str_from(found));
		return s3_error(err, "BadDigest");
	}
	struct str expected = b->expected;
	if (b->in_trailer) {
		expected = str_trim(wire_trailer(c->r, checksum_header(b->algo)));
		if (!expected.len)
			return s3_error_text(err, "InvalidRequest", "The %s trailer that was announced did not come.",
					     checksum_header(b->algo));
		if (!checksum_text_valid(b->algo, expected))
			return s3_error_text(err, "InvalidRequest", "Value for %s trailing header is invalid.",
					     checksum_header(b->algo));
	}
	if (expected.len && !str_eqz(expected, b->sums.sum))
		return s3_error_text(err, "BadDigest", "The %s you specified did not match the calculated checksum.",
				     checksum_name(b->algo));
	return 0;
}

int s3_body_store(struct s3_call *c, struct error *err)
{
	struct s3_body *b = &c->body;
	if (b->in_file || b->in_draft) {
		if (flush(b, err) < 0)
			return -1;
	} else if (b->memory.len) {
		digest_bytes(&b->digest, b->memory.ptr, b->memory.len);
	}
	if (digest_final(&b->digest, &b->sums, err) < 0 || compare(c, err) < 0)
		return -1;
	if (b->in_draft)
		return blob_sync(c->s->blobs, b->draft_fd, err);
	if (!b->in_file)
		return 0;
	memcpy(b->blob, b->writer.id, sizeof(b->blob));
	if (blob_publish(&b->writer, err) == 0)
		return 0;
	b->blob[0] = 0;
	return -1;
}

void s3_body_adopt(struct s3_call *c, const char *id)
{
	c->body.open = true;
	memcpy(c->body.blob, id, sizeof(c->body.blob));
}

void s3_body_keep(struct s3_call *c)
{
	c->body.blob[0] = 0;
}

void s3_body_release(struct s3_call *c)
{
	struct s3_body *b = &c->body;
	if (!b->open)
		return;
	b->open = false;
	digest_release(&b->digest);
	s3_keeper_abort(c->s, &b->writer);
	if (b->in_draft)
		close(b->draft_fd);
	if (b->blob[0])
		s3_keeper_remove(c->s, b->blob);
	buf_release(&b->memory);
}

/* ---- checksums as they are stored and shown ---- */

struct str s3_body_checksum(struct s3_call *c)
{
	struct s3_body *b = &c->body;
	if (b->algo == CHECKSUM_NONE)
		return STR("");
	return str_from(arena_printf(c->a, "%s %s FULL_OBJECT", checksum_name(b->algo), b->sums.sum));
}

struct s3_checksum s3_checksum_parse(struct str stored)
{
	struct s3_checksum sum = { 0 };
	struct str rest = stored, name, type;
	if (!stored.len || !str_split(&rest, ' ', &name) || !str_split(&rest, ' ', &sum.value))
		return (struct s3_checksum){ 0 };
	sum.algo = checksum_from_name(name);
	sum.composite = str_split(&rest, ' ', &type) && str_eqz(type, "COMPOSITE");
	return sum;
}

void s3_checksum_headers(struct s3_call *c, struct str stored)
{
	const struct s3_checksum sum = s3_checksum_parse(stored);
	if (sum.algo == CHECKSUM_NONE)
		return;
	s3_call_sethdr(c, checksum_header(sum.algo), sum.value);
	wire_set_header(c->r, "x-amz-checksum-type", sum.composite ? "COMPOSITE" : "FULL_OBJECT");
}

void s3_checksum_xml(struct buf *b, struct str stored, bool with_type)
{
	const struct s3_checksum sum = s3_checksum_parse(stored);
	if (sum.algo == CHECKSUM_NONE)
		return;
	xml_text(b, checksum_element(sum.algo), sum.value);
	if (with_type)
		xml_text(b, "ChecksumType", sum.composite ? STR("COMPOSITE") : STR("FULL_OBJECT"));
}
