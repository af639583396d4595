/* form.c - see form.h. */
#include "s3/form.h"

static int malformed(struct error *err, const char *why)
{
	return error_http(err, 400, "MalformedPOSTRequest",
			  "The body of your POST request is not well-formed multipart/form-data. %s", why);
}

/* Value of parameter `name` in "form-data; name=\"a\"; filename=x"; false when absent. */
static bool parameter(struct str header, const char *name, struct buf *out)
{
	const struct str want = str_from(name);
	buf_clear(out);
	size_t i = 0;
	while (i < header.len && header.ptr[i] != ';')
		i++;
	while (i < header.len) {
		for (i++; i < header.len && (header.ptr[i] == ' ' || header.ptr[i] == '\t'); i++)
			continue;
		const size_t start = i;
		while (i < header.len && header.ptr[i] != '=' && header.ptr[i] != ';')
			i++;
		const bool mine = str_eq_nocase(str_trim(str_of(header.ptr + start, i - start)), want);
		if (i >= header.len || header.ptr[i] == ';')
			continue;
		i++;
		if (i < header.len && header.ptr[i] == '"') {
			for (i++; i < header.len && header.ptr[i] != '"'; i++) {
				if (header.ptr[i] == '\\' && i + 1 < header.len &&
				    (header.ptr[i + 1] == '"' || header.ptr[i + 1] == '\\'))
					i++;
				if (mine)
					buf_add_char(out, header.ptr[i]);
			}
			while (i < header.len && header.ptr[i] != ';')
				i++;
		} else {
			for (; i < header.len && header.ptr[i] != ';'; i++)
				if (mine)
					buf_add_char(out, header.ptr[i]);
		}
		if (mine)
			return true;
	}
	return false;
}

int form_init(struct form_parser *p, struct str content_type, const struct form_events *events, struct error *err)
{
	CLEANUP_BUF struct buf boundary = BUF_INIT;
	*p = (struct form_parser){ .events = *events };
	if (!parameter(content_type, "boundary", &boundary) || str_trim(buf_str(&boundary)).len == 0 ||
	    boundary.len > 200)
		return malformed(err, "The boundary is missing.");
	buf_addz(&p->delimiter, "\r\n--");
	buf_add_str(&p->delimiter, str_trim(buf_str(&boundary)));
	buf_addz(&p->pending, "\r\n"); /* the first boundary has no line break before it */
	return 0;
}

void form_release(struct form_parser *p)
{
	buf_release(&p->pending);
	buf_release(&p->delimiter);
	buf_release(&p->name);
	buf_release(&p->filename);
	buf_release(&p->type);
}

static void consume(struct form_parser *p, size_t n)
{
	memmove(p->pending.ptr, p->pending.ptr + n, p->pending.len - n);
	p->pending.len -= n;
}

/* ---- states: 1 went on, 0 needs more bytes, < 0 an error ---- */

static int find_delimiter(struct form_parser *p, ptrdiff_t *at)
{
	*at = str_find(buf_str(&p->pending), buf_str(&p->delimiter));
	return *at >= 0;
}

static int skip_preamble(struct form_parser *p)
{
	ptrdiff_t at;
	if (!find_delimiter(p, &at)) {
		if (p->pending.len >= p->delimiter.len)
			consume(p, p->pending.len - p->delimiter.len + 1);
		return 0;
	}
	consume(p, (size_t)at + p->delimiter.len);
	p->state = FORM_AFTER_DELIMITER;
	return 1;
}

static int after_delimiter(struct form_parser *p, struct error *err)
{
	size_t i = 0;
	if (p->pending.len >= 2 && memcmp(p->pending.ptr, "--", 2) == 0) {
		p->state = FORM_END;
		return 1;
	}
	while (i < p->pending.len && (p->pending.ptr[i] == ' ' || p->pending.ptr[i] == '\t'))
		i++;
	if (i > 100)
		return malformed(err, "A boundary line is too long.");
	if (p->pending.len < i + 2)
		return 0;
	if (memcmp(p->pending.ptr + i, "\r\n", 2) != 0)
		return malformed(err, "A boundary is not followed by a line break.");
	consume(p, i); /* the line break stays: it may be the empty line that ends the headers */
	p->state = FORM_HEADERS;
	return 1;
}

static void read_header(struct form_parser *p, struct str line, bool *is_named, bool *has_file_name)
{
	const ptrdiff_t colon = str_find_char(line, ':');
	if (colon < 0)
		return;
	const struct str name = str_trim(str_head(line, (size_t)colon)),
			 value = str_trim(str_skip(line, (size_t)colon + 1));
	if (str_eq_nocase(name, STR("content-disposition"))) {
		*is_named = parameter(value, "name", &p->name);
		*has_file_name = parameter(value, "filename", &p->filename);
	} else if (str_eq_nocase(name, STR("content-type"))) {
		buf_clear(&p->type);
		buf_add_str(&p->type, value);
	}
}

static int headers(struct form_parser *p, struct error *err)
{
	const ptrdiff_t end = str_find(buf_str(&p->pending), STR("\r\n\r\n"));
	if (end < 0)
		return p->pending.len > FORM_HEADER_BYTES ? malformed(err, "The headers of a field are too long.") : 0;
	struct str rest = str_head(buf_str(&p->pending), (size_t)end), line;
	bool is_named = false, has_file_name = false;
	buf_clear(&p->name);
	buf_clear(&p->filename);
	buf_clear(&p->type);
	while (rest.ptr && str_split(&rest, '\n', &line))
		read_header(p, line, &is_named, &has_file_name);
	if (!is_named)
		return malformed(err, "A field has no name.");
	consume(p, (size_t)end + 4);
	if (!str_eq_nocase(buf_str(&p->name), STR("file"))) {
		if (++p->fields > FORM_MAX_FIELDS)
			return malformed(err, "There are too many fields.");
		p->state = FORM_FIELD;
		return 1;
	}
	if (p->had_file)
		return error_http(err, 400, "InvalidArgument", "POST requires exactly one file upload per request.");
	p->had_file = true;
	p->state = FORM_FILE;
	return p->events.file_start(p->events.ctx, buf_str(&p->filename), buf_str(&p->type), err) < 0 ? -1 : 1;
}

static int field(struct form_parser *p, struct error *err)
{
	ptrdiff_t at;
	const bool whole = find_delimiter(p, &at);
	if (p->bytes + (whole ? (size_t)at : p->pending.len) > FORM_FIELD_BYTES)
		return error_http(err, 400, "MaxPostPreDataLengthExceededError",
				  "Your POST request fields preceding the upload file were too large.");
	if (!whole)
		return 0;
	p->bytes += (size_t)at;
	if (p->events.field(p->events.ctx, buf_str(&p->name), str_head(buf_str(&p->pending), (size_t)at), err) < 0)
		return -1;
	consume(p, (size_t)at + p->delimiter.len);
	p->state = FORM_AFTER_DELIMITER;
	return 1;
}

static int file(struct form_parser *p, struct error *err)
{
	ptrdiff_t at;
	const bool whole = find_delimiter(p, &at);
	const size_t n = whole                                ? (size_t)at
			 : p->pending.len >= p->delimiter.len ? p->pending.len - p->delimiter.len + 1
							      : 0;
	if (n > 0 && p->events.file_data(p->events.ctx, p->pending.ptr, n, err) < 0)
		return -1;
	consume(p, whole ? n + p->delimiter.len : n);
	if (!whole)
		return 0;
	p->state = FORM_AFTER_DELIMITER;
	return 1;
}

static int step(struct form_parser *p, struct error *err)
{
	switch (p->state) {
	case FORM_DELIMITER:
		return skip_preamble(p);
	case FORM_AFTER_DELIMITER:
		return after_delimiter(p, err);
	case FORM_HEADERS:
		return headers(p, err);
	case FORM_FIELD:
		return field(p, err);
	case FORM_FILE:
		return file(p, err);
	case FORM_END:
		buf_clear(&p->pending);
		return 0;
	}
	return 0;
}

int form_feed(struct form_parser *p, const void *data, size_t n, struct error *err)
{
	int rc;
	buf_add(&p->pending, data, n);
	while ((rc = step(p, err)) > 0)
		continue;
	return rc;
}

int form_end(struct form_parser *p, struct error *err)
{
	return p->state == FORM_END ? 0 : malformed(err, "The closing boundary is missing.");
}
