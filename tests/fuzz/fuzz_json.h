/* fuzz_json.h - a mutator for inputs that are JSON texts: changes the tree, not the bytes.
 *
 * DESIGN: bytes changed at random break the text nearly always. Here a node is replaced, dropped, doubled, moved or
 * renamed, or its text goes through libFuzzer's own mutations; words of the language under test are taken where a name
 * or a text stands. One time in four, and when the text is no JSON, the bytes are changed as ever. A target defines
 * LLVMFuzzerCustomMutator with it. */
#ifndef QUERN_TESTS_FUZZ_JSON_H
#define QUERN_TESTS_FUZZ_JSON_H

#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);

struct json_mutator {
	uint64_t random;
	const char *const *words;
	unsigned nwords;
	json_t *root;
};

static inline unsigned jm_pick(struct json_mutator *m, unsigned n)
{
	m->random = m->random * 6364136223846793005u + 1442695040888963407u;
	return n ? (unsigned)(m->random >> 33) % n : 0;
}

static inline const char *jm_word(struct json_mutator *m)
{
	return m->words[jm_pick(m, m->nwords)];
}

/* A node below the root, by chance; the root itself when there is no other. */
static inline json_t *jm_node(struct json_mutator *m, bool container)
{
	json_t *at = m->root;
	while (json_object_size(at) + json_array_size(at) > 0 && jm_pick(m, 4)) {
		json_t *below = NULL;
		if (json_is_array(at)) {
			below = json_array_get(at, jm_pick(m, (unsigned)json_array_size(at)));
		} else {
			void *it = json_object_iter(at);
			for (unsigned i = jm_pick(m, (unsigned)json_object_size(at)); i > 0; i--)
				it = json_object_iter_next(at, it);
			below = json_object_iter_value(it);
		}
		if (container && !json_is_object(below) && !json_is_array(below))
			break;
		at = below;
	}
	return at;
}

static inline json_t *jm_text(struct json_mutator *m, const json_t *from)
{
	uint8_t text[512];
	size_t n = json_string_length(from) < 256 ? json_string_length(from) : 256;
	memcpy(text, json_string_value(from), n);
	json_t *made = json_stringn((char *)text, LLVMFuzzerMutate(text, n, sizeof(text)));
	return made ? made : json_string(jm_word(m)); /* it was not UTF-8 */
}

static inline json_t *jm_value(struct json_mutator *m, json_t *old)
{
	static const double numbers[] = { 0, 1, -1, 2, 0.5, 60, 99999999, 2147483648.0, 9e15, -9e15, 1e300 };
	switch (jm_pick(m, 10)) {
	case 0:
		return json_null();
	case 1:
		return json_boolean(jm_pick(m, 2));
	case 2:
		return json_real(numbers[jm_pick(m, 11)]);
	case 3:
		return json_integer((json_int_t)numbers[jm_pick(m, 10)]);
	case 4:
		return jm_pick(m, 2) ? json_object() : json_array();
	case 5:
	case 6:
		return json_is_string(old) ? jm_text(m, old) : json_string(jm_word(m));
	case 7:
		return json_string(jm_word(m));
	default:
		return json_deep_copy(jm_node(m, false));
	}
}

static inline void jm_change_array(struct json_mutator *m, json_t *list)
{
	size_t n = json_array_size(list), at = jm_pick(m, (unsigned)n + 1);
	json_t *old = json_array_get(list, at);
	switch (jm_pick(m, 4)) {
	case 0:
		json_array_remove(list, at);
		break;
	case 1:
		json_array_insert_new(list, at, jm_value(m, old));
		break;
	case 2:
		json_array_append_new(list, json_deep_copy(old));
		break;
	default:
		if (old)
			json_array_set_new(list, at, jm_value(m, old));
	}
}

static inline void jm_change_object(struct json_mutator *m, json_t *object)
{
	void *it = json_object_iter(object);
	for (unsigned i = jm_pick(m, (unsigned)json_object_size(object)); it && i > 0; i--)
		it = json_object_iter_next(object, it);
	const char *key = it ? json_object_iter_key(it) : jm_word(m);
	json_t *old = it ? json_object_iter_value(it) : NULL;
	switch (jm_pick(m, 5)) {
	case 0:
		json_object_del(object, key);
		break;
	case 1:
		json_object_set_new(object, jm_word(m), jm_value(m, old));
		break;
	case 2:
		json_object_set_new(object, jm_word(m), json_deep_copy(old));
		break;
	default:
		json_object_set_new(object, key, jm_value(m, old));
	}
}

/* Changes the JSON that stands behind `prefix` bytes. */
static inline size_t fuzz_json_mutate(uint8_t *data, size_t size, size_t max, unsigned seed, size_t prefix,
				      const char *const *words, size_t nwords)
{
	struct json_mutator m = { .random = seed, .words = words, .nwords = (unsigned)nwords };
	if (size <= prefix || jm_pick(&m, 4) == 0 ||
	    !(m.root = json_loadb((char *)data + prefix, size - prefix, 0, NULL)))
		return LLVMFuzzerMutate(data, size, max);
	for (unsigned i = jm_pick(&m, 3) + 1; i > 0; i--) {
		json_t *at = jm_node(&m, true);
		if (json_is_array(at))
			jm_change_array(&m, at);
		else
			jm_change_object(&m, at);
	}
	char *text = json_dumps(m.root, JSON_COMPACT);
	size_t n = text ? strlen(text) : 0;
	json_decref(m.root);
	if (text && n + prefix <= max)
		memcpy(data + prefix, text, n);
	else
		n = size - prefix;
	free(text);
	return prefix + n;
}

#endif
