/* fuzz_s3_text.c - the small texts of S3: XML documents with tags, the tagging header, ranges, hosts, stored checksums
 * and part lists. Byte 0 picks. */
#include <stdlib.h>

#include "s3/room.h"

static void tags_again(struct s3_call *c, struct str stored)
{
	/* what was accepted once must be readable again, and the same */
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct str again = STR("");
	if (s3_tags_parse_header(c, stored, &again, &err) < 0 || !str_eq(stored, again))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	struct arena a = ARENA_INIT;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct s3_call c = { .a = &a };
	struct str text = str_of(data + 1, size - 1), out = STR(""), sum;
	struct xml_node *root;
	int64_t from, length;
	switch (data[0] % 6) {
	case 0:
		if (s3_xml_parse(&a, text, &root, &err) == 0 &&
		    s3_tags_parse_xml(&c, root, S3_TAGS_MAX, &out, &err) == 0)
			tags_again(&c, out);
		break;
	case 1:
		if (s3_tags_parse_header(&c, text, &out, &err) == 0)
			tags_again(&c, out);
		break;
	case 2:
		if (s3_range_parse(text, 1000, &from, &length) > 0 && (from < 0 || length < 1 || from + length > 1000))
			abort();
		break;
	case 3:
		s3_host_bucket(text);
		break;
	case 4:
		s3_checksum_parse(text);
		break;
	default:
		for (struct str rest = s3_parts_list(text); s3_parts_next(&rest, &length, &sum);)
			continue;
	}
	arena_release(&a);
	return 0;
}
