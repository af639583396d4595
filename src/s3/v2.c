/* v2.c - presigned URLs of signature version 2: what was signed. Source: "Signing and authenticating REST requests",
 * Amazon S3 user guide.
 *
 * DESIGN: boto3's default client makes such URLs, with the headers it signed (content-type, content-md5, x-amz-*) among
 * the query arguments. A header of the request counts before an argument of the same name. */
#include "s3/room.h"

#include <stdlib.h>

enum { PAIRS_MAX = 100 };

struct pairs {
	struct arena *a;
	struct v2_pair {
		struct str name, value;
	} list[PAIRS_MAX];
	int n;
};

static int by_name(const void *a, const void *b)
{
	return str_cmp(((const struct v2_pair *)a)->name, ((const struct v2_pair *)b)->name);
}

static void add_pair(struct pairs *p, struct str name, struct str value)
{
	for (int i = 0; i < p->n; i++)
		if (str_eq(p->list[i].name, name))
			return;
	if (p->n < PAIRS_MAX)
		p->list[p->n++] = (struct v2_pair){ name, value };
}

static void add_amz(void *ctx, struct str name, struct str value)
{
	struct pairs *p = ctx;
	char *lower = arena_strdup(p->a, name);
	for (char *z = lower; *z; z++)
		*z = (char)(*z >= 'A' && *z <= 'Z' ? *z + 32 : *z);
	if (str_starts(str_from(lower), STR("x-amz-")))
		add_pair(p, str_from(lower), str_trim(value));
}

static void add_resource(void *ctx, struct str name, struct str value)
{
	static const char *const signed_names[] = {
		"accelerate",
		"acl",
		"analytics",
		"cors",
		"defaultObjectAcl",
		"delete",
		"inventory",
		"lifecycle",
		"location",
		"logging",
		"metrics",
		"notification",
		"object-lock",
		"partNumber",
		"policy",
		"replication",
		"requestPayment",
		"response-cache-control",
		"response-content-disposition",
		"response-content-encoding",
		"response-content-language",
		"response-content-type",
		"response-expires",
		"restore",
		"select",
		"select-type",
		"storageClass",
		"tagging",
		"torrent",
		"uploadId",
		"uploads",
		"versionId",
		"versioning",
		"versions",
		"website",
	};
	for (size_t i = 0; i < sizeof(signed_names) / sizeof(*signed_names); i++)
		if (str_eqz(name, signed_names[i]))
			add_pair(ctx, name, value);
}

static struct str header_or_arg(struct s3_call *c, const char *name)
{
	const struct str value = wire_header(c->r, name);
	return value.ptr ? value : s3_call_arg(c, name, NULL);
}

static void put_text(struct s3_call *c, struct buf *b, struct str expires)
{
	struct pairs amz = { .a = c->a }, resource = { .a = c->a };
	buf_printf(b, "%.*s\n%.*s\n%.*s\n%.*s\n", STR_ARG(c->method), STR_ARG(header_or_arg(c, "content-md5")),
		   STR_ARG(header_or_arg(c, "content-type")), STR_ARG(expires));
	wire_each_header(c->r, add_amz, &amz);
	wire_each_query(c->r, add_amz, &amz);
	qsort(amz.list, (size_t)amz.n, sizeof(amz.list[0]), by_name);
	for (int i = 0; i < amz.n; i++)
		buf_printf(b, "%.*s:%.*s\n", STR_ARG(amz.list[i].name), STR_ARG(amz.list[i].value));
	if (c->virtual_host)
		buf_printf(b, "/%.*s", STR_ARG(c->bucket_name));
	buf_add_str(b, wire_raw_path(c->r));
	wire_each_query(c->r, add_resource, &resource);
	qsort(resource.list, (size_t)resource.n, sizeof(resource.list[0]), by_name);
	for (int i = 0; i < resource.n; i++) {
		buf_printf(b, "%c%.*s", i ? '&' : '?', STR_ARG(resource.list[i].name));
		if (resource.list[i].value.len)
			buf_printf(b, "=%.*s", STR_ARG(resource.list[i].value));
	}
}

int s3_v2_check(struct s3_call *c, struct error *err)
{
	const struct str key = s3_call_arg(c, "AWSAccessKeyId", NULL), signature = s3_call_arg(c, "Signature", NULL);
	const struct str expires = s3_call_arg(c, "Expires", NULL);
	int64_t at;
	CLEANUP_BUF struct buf text = BUF_INIT;
	if (!key.len || !signature.len || !str_to_i64(expires, &at))
		return s3_error_text(
			err, "AccessDenied",
			"Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters");
	if (at < engine_now_ms(c->s->engine) / 1000) {
		s3_call_detail(c, "Expires", expires);
		return s3_error_text(err, "AccessDenied", "Request has expired");
	}
	put_text(c, &text, expires);
	return wire_check_v2(c->r, key, s3_call_arg(c, "x-amz-security-token", NULL), buf_str(&text), signature, err);
}
