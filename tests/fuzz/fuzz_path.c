/* Fuzz target: a JSONPath and a document, separated by a NUL byte; evaluated, and used for writing when it is a
 * reference. */
#include <stddef.h>

#include "base/json.h"
#include "states/asl.h"
#include "states/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = ARENA_INIT;
	struct str all = str_of(data, size), rest = all, text;
	const char *why = NULL;
	struct asl_json_error error;
	str_split(&rest, 0, &text);
	json_t *document =
		asl_read_json(&a, rest.ptr ? rest : STR("{\"a\":[1,{\"b\":\"c\"}],\"n\":null}"), false, &error);
	struct path *path = path_parse(&a, text, &why);
	if (path && document) {
		json_t *out = NULL, *put = path_is_reference(path) ? path_with(path, document, document) : NULL;
		if (path_eval(&a, path, document, &out, &why) == PATH_FOUND && !out)
			__builtin_trap();
		json_decref(out);
		json_decref(put);
	} else if (!path && !why) {
		__builtin_trap();
	}
	json_decref(document);
	arena_release(&a);
	return 0;
}
