/* fuzz_s3_form.c - multipart/form-data. Byte 0 picks the piece size: cut anywhere, the same bytes must give the same
 * calls and the same verdict. */
#include <stdlib.h>

#include "base/buf.h"
#include "s3/form.h"

static int on_field(void *ctx, struct str name, struct str value, struct error *err)
{
	buf_printf(ctx, "[%.*s]", STR_ARG(name));
	buf_add_str(ctx, value);
	return 0;
}

static int on_file(void *ctx, struct str filename, struct str type, struct error *err)
{
	buf_printf(ctx, "{%.*s;%.*s}", STR_ARG(filename), STR_ARG(type));
	return 0;
}

static int on_data(void *ctx, const void *p, size_t n, struct error *err)
{
	buf_add(ctx, p, n);
	return 0;
}

static int run(const uint8_t *data, size_t size, size_t step, struct buf *log)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	const struct form_events events = { on_field, on_file, on_data, log };
	struct form_parser p;
	int rc = form_init(&p, STR("multipart/form-data; boundary=b"), &events, &err);
	for (size_t at = 0; rc == 0 && at < size; at += step)
		rc = form_feed(&p, data + at, step < size - at ? step : size - at, &err);
	if (rc == 0)
		rc = form_end(&p, &err);
	form_release(&p);
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	CLEANUP_BUF struct buf whole = BUF_INIT, pieces = BUF_INIT;
	const int a = run(data + 1, size - 1, size, &whole), b = run(data + 1, size - 1, 1 + data[0] % 64u, &pieces);
	if (a != b || (a == 0 && !str_eq(buf_str(&whole), buf_str(&pieces))))
		abort();
	return 0;
}
