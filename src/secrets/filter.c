/* filter.c - see filter.h.
 *
 * DESIGN: filters are anded, the values of one are ored; a value that begins with '!' is passed by what it does not
 * find. Names, tags: by their beginning; descriptions: every word of the value begins a word, in
 * either case; "all": any word of the value begins a
 * word of any attribute, in either case. Secrets here have no primary region and no owning service. Source: Secrets
 * Manager API reference (Filter) and its user guide ("Find secrets"). */
#include "secrets/filter.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

struct subject {
	const char *name, *description;
	const json_t *tags;
};

enum kind { LOWER, UPPER, DIGIT, OTHER };

static enum kind kind_of(char c)
{
	unsigned char u = (unsigned char)c;
	return islower(u) || u >= 0x80 ? LOWER : isupper(u) ? UPPER : isdigit(u) ? DIGIT : OTHER;
}

/* The next word: words end at punctuation, between letters and digits, and where a capital follows a small letter. */
static bool next_word(struct str *rest, struct str *word)
{
	while (rest->len && kind_of(rest->ptr[0]) == OTHER)
		*rest = str_skip(*rest, 1);
	size_t n = rest->len ? 1 : 0;
	while (n < rest->len) {
		enum kind before = kind_of(rest->ptr[n - 1]), here = kind_of(rest->ptr[n]);
		if (here != before && !(before == UPPER && here == LOWER))
			break;
		n++;
	}
	*word = str_head(*rest, n);
	*rest = str_skip(*rest, n);
	return n > 0;
}

static bool begins(struct str text, struct str prefix, bool any_case)
{
	if (text.len < prefix.len)
		return false;
	return any_case ? strncasecmp(text.ptr, prefix.ptr, prefix.len) == 0 : str_starts(text, prefix);
}

static bool has_word(struct str text, struct str wanted)
{
	struct str word;
	while (next_word(&text, &word))
		if (begins(word, wanted, true))
			return true;
	return false;
}

static bool in_tags(const json_t *tags, const char *member, struct str value, bool words)
{
	size_t i;
	json_t *tag;
	json_array_foreach (tags, i, tag) {
		struct str have = json_get_str(tag, member);
		if (words ? has_word(have, value) : begins(have, value, false))
			return true;
	}
	return false;
}

static bool anywhere(const struct subject *s, struct str value)
{
	struct str word;
	while (next_word(&value, &word))
		if (has_word(str_from(s->name), word) || has_word(str_from(s->description), word) ||
		    in_tags(s->tags, "Key", word, true) || in_tags(s->tags, "Value", word, true))
			return true;
	return false;
}

/* Every word of the value begins a word of the text. */
static bool has_words(struct str text, struct str value)
{
	struct str word;
	while (next_word(&value, &word))
		if (!has_word(text, word))
			return false;
	return true;
}

static bool finds(const char *key, const struct subject *s, struct str value)
{
	if (strcmp(key, "name") == 0)
		return begins(str_from(s->name), value, false);
	if (strcmp(key, "description") == 0)
		return has_words(str_from(s->description), value);
	if (strcmp(key, "tag-key") == 0)
		return in_tags(s->tags, "Key", value, false);
	if (strcmp(key, "tag-value") == 0)
		return in_tags(s->tags, "Value", value, false);
	return strcmp(key, "all") == 0 && anywhere(s, value);
}

bool secrets_filters_pass(const json_t *filters, const char *name, const char *description, const json_t *tags)
{
	const struct subject s = { name, description ? description : "", tags };
	size_t i, k;
	json_t *filter, *one;
	json_array_foreach (filters, i, filter) {
		bool passed = false;
		json_array_foreach (json_get(filter, "Values"), k, one) {
			struct str value = json_str(one);
			bool not = str_starts(value, STR("!"));
			passed = passed ||
				 finds(json_get_text(filter, "Key"), &s, not ? str_skip(value, 1) : value) != not ;
		}
		if (!passed)
			return false;
	}
	return true;
}
