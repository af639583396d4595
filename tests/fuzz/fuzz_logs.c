/* fuzz_logs.c - what the logs and jobs rooms read from outside: log files, filter patterns, metric patterns, manifests,
 * object keys.
 *
 * First byte: which. Then two parts, divided by the first NUL: the pattern and the text. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "logs/file.h"
#include "logs/filter.h"
#include "logs/text.h"
#include "sagemaker/metrics.h"
#include "sagemaker/stage.h"

/* Every line forwards, then backwards: the same starts. And a seek to each record's time must not go behind it. */
static void fuzz_file(struct str data)
{
	static int fd = -1;
	if (fd < 0)
		fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (ftruncate(fd, 0) < 0 || pwrite(fd, data.ptr, data.len, 0) != (ssize_t)data.len)
		return;
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	struct log_file f;
	struct str line;
	struct log_record r;
	int64_t off = 0, next, prev;
	size_t forward = 0, backward = 0;
	if (log_file_open(&f, path, 0, NULL) < 0)
		abort();
	while (log_file_line(&f, off, &line, &next, NULL) > 0) {
		if (log_record_parse(line, &r)) {
			struct arena a = ARENA_INIT;
			size_t size;
			json_t *text = log_text_json(log_record_text(&a, &r), &size);
			if (!text)
				abort();
			CLEANUP_BUF struct buf quoted = BUF_INIT;
			log_text_add(&quoted, log_record_text(&a, &r), &size);
			CLEANUP_JSON json_t *again =
				json_loadb(quoted.ptr, quoted.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
			if (!again || !json_equal(again, text) || size != json_string_length(text))
				abort();
			json_decref(text);
			arena_release(&a);
		}
		off = next;
		forward++;
	}
	if (off != f.end)
		abort();
	while (log_file_prev(&f, off, &prev, NULL) > 0) {
		if (prev >= off || log_file_is_start(&f, prev, NULL) != 1)
			abort();
		off = prev;
		backward++;
	}
	if (forward != backward)
		abort();
	int64_t first, last;
	if (log_file_range(&f, &first, &last, NULL) > 0 && log_file_seek(&f, last, &off, NULL) < 0)
		abort();
	log_file_close(&f);
}

static void fuzz_filter(struct str pattern, struct str text)
{
	struct arena a = ARENA_INIT;
	struct log_filter *f = log_filter_new(&a, pattern, NULL);
	if (f)
		log_filter_matches(f, text);
	arena_release(&a);
}

static void fuzz_metrics(struct str pattern, struct str text)
{
	json_t *regex = json_stringn(pattern.ptr, pattern.len);
	if (!regex)
		return;
	CLEANUP_JSON json_t *list = json_pack("[{s:s,s:o}]", "Name", "m", "Regex", regex);
	struct metrics *m = metrics_new(list, true, NULL);
	if (!m)
		return;
	metrics_line(m, 1, text);
	json_decref(metrics_final(m));
	metrics_free(m);
}

static int take(void *ctx, struct str prefix, struct str name)
{
	struct arena a = ARENA_INIT;
	struct str out;
	stage_file_name(&a, STR(""), name, &out, NULL);
	arena_release(&a);
	return 0;
}

static void fuzz_keys(struct str prefix, struct str key)
{
	struct arena a = ARENA_INIT;
	struct str out, part;
	char *whole = arena_printf(&a, "%.*s%.*s", STR_ARG(prefix), STR_ARG(key));
	if (stage_file_name(&a, str_head(prefix, strlen(whole)), str_from(whole), &out, NULL) == 0)
		for (struct str rest = out; str_split(&rest, '/', &part);)
			if (str_eqz(part, "..") || (part.len == 0 && rest.ptr))
				abort();
	stage_each_in_manifest(key, take, NULL, NULL);
	arena_release(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	struct str all = str_of(data + 1, size - 1);
	ptrdiff_t nul = str_find_char(all, 0);
	struct str left = nul < 0 ? STR("") : str_head(all, (size_t)nul),
		   right = nul < 0 ? all : str_skip(all, (size_t)nul + 1);
	switch (data[0] % 4) {
	case 0:
		fuzz_file(all);
		break;
	case 1:
		fuzz_filter(left, right);
		break;
	case 2:
		fuzz_metrics(left, right);
		break;
	default:
		fuzz_keys(left, right);
	}
	return 0;
}

/* stage.c is not linked: these are what stage_name.c needs of S3. */
bool s3_parse_uri(struct str uri, struct str *bucket, struct str *key)
{
	*bucket = *key = uri;
	return true;
}

int s3_each(struct db *db, struct str bucket, struct str prefix, int (*fn)(void *ctx, const struct s3_entry *e),
	    void *ctx, struct error *err)
{
	return 0;
}
