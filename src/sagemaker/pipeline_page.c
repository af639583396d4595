/* pipeline_page.c - paging tokens.
 *
 * DESIGN: lists are paged by key, not by offset: a token holds the sort key of the last row given, so rows that come or
 * go meanwhile shift nothing. It is base64 of "<list><order>:<number>:<text>", opaque to clients, and refused by
 * another list or order. */
#include "sagemaker/pipeline.h"

#include "base/id.h"

int pipeline_page_read(struct arena *a, const json_t *in, char kind, struct page *out, struct error *err)
{
	const char *order = json_get_text(in, "SortOrder"), *token = json_get_text(in, "NextToken");
	*out = (struct page){ .limit = json_get_int(in, "MaxResults", 100), .kind = kind };
	out->ascending = order && strcmp(order, "Ascending") == 0;
	if (!token)
		return 0;
	struct str text = str_from(token), piece;
	char *plain = arena_alloc(a, 3 * (text.len / 4) + 4);
	ptrdiff_t n = base64_decode(plain, text);
	struct str rest = str_of(plain, n < 0 ? 0 : (size_t)n);
	char want[2] = { kind, out->ascending ? 'a' : 'd' };
	if (n > 0 && str_split(&rest, ':', &piece) && str_eq(piece, str_of(want, 2)) && str_split(&rest, ':', &piece) &&
	    str_to_i64(piece, &out->number) && rest.ptr) {
		out->text = arena_strdup(a, rest);
		out->started = true;
		return 0;
	}
	return error_aws(err, "ValidationException", "The NextToken is not valid for this request.");
}

void pipeline_page_next(const struct page *p, struct arena *a, json_t *out, int64_t number, const char *text)
{
	const char *plain = arena_printf(a, "%c%c:%lld:%s", p->kind, p->ascending ? 'a' : 'd', (long long)number, text);
	size_t n = strlen(plain);
	char *token = arena_alloc(a, 4 * ((n + 2) / 3) + 1);
	base64_encode(token, plain, n);
	json_set_text(out, "NextToken", token);
}
