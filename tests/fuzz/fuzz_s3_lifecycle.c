/* fuzz_s3_lifecycle.c - lifecycle configurations. What is read and written must be read again as the same, and any
 * question of an object must have an answer. */
#include <stdlib.h>

#include "s3/lifecycle.h"

enum { DAY = 86400000 };

static void ask(const struct s3_lifecycle *l)
{
	const struct s3_object o = { .key = STR("logs/a"), .size_bytes = 200000, .modified_ms = 1 };
	const struct s3_rule *rule;
	int64_t at;
	s3_lifecycle_expiry(l, &o, DAY, &at, &rule);
	s3_lifecycle_abort(l, o.key, 1, DAY, &at, &rule);
	s3_lifecycle_noncurrent(l, &o, 2, 3, 400ll * DAY, DAY);
	s3_lifecycle_marker(l, &o, 400ll * DAY, DAY);
	s3_lifecycle_storage(l, &o, -1, 0, 400ll * DAY, DAY);
	s3_lifecycle_storage(l, &o, 2, 3, 400ll * DAY, DAY);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = ARENA_INIT;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_BUF struct buf first = BUF_INIT, second = BUF_INIT;
	struct s3_lifecycle l, again;
	if (s3_lifecycle_parse(&a, str_of(data, size), &l, &err) == 0) {
		ask(&l);
		s3_lifecycle_xml(&l, &first);
		if (s3_lifecycle_parse(&a, buf_str(&first), &again, &err) < 0)
			abort();
		s3_lifecycle_xml(&again, &second);
		if (!str_eq(buf_str(&first), buf_str(&second)))
			abort();
	}
	arena_release(&a);
	return 0;
}
