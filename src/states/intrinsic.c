/* intrinsic.c - see intrinsic.h.
 *
 * DESIGN: a recursive parser that evaluates as it goes, or only checks; a value that is not known while checking is
 * NULL. Each function is a row of a table: name, number of arguments, code. Source: AWS developer guide, "Intrinsic
 * functions". */
#include "states/intrinsic.h"

#include <ctype.h>
#include <math.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/id.h"
#include "base/json.h"
#include "base/map.h"
#include "states/asl_impl.h"

enum {
	MAX_DEPTH = 10,
	MAX_ARGUMENTS = 64,
	MAX_HASH_INPUT = 10000,
	MAX_CODED = 10000,
	MAX_RANGE = 1000,
	MAX_MADE = 1 << 20
};

struct call {
	struct asl_env *env;
	struct str text;
	size_t at;
	const char *field;
	bool check_only;
	struct asl_fault *fault;
};

static int refuse(struct call *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int refuse(struct call *c, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	char *why = arena_vprintf(c->env->arena, fmt, ap);
	va_end(ap);
	return asl_fault_set(c->fault, "States.IntrinsicFailure", "%s", why);
}

bool intrinsic_is_call(struct str text)
{
	return str_starts(text, STR("States.")) && str_find_char(text, '(') > 0;
}

/* ---- the functions: arguments are borrowed; *out owned ---- */

typedef int (*intrinsic_fn)(struct call *c, json_t **args, size_t n, json_t **out);

/* A value as States.Format writes it: text without quotes, objects and arrays in Java's form ("{a=1, b=[2, 3]}"). */
static void add_plain(struct buf *b, const json_t *v)
{
	const char *key, *between = "";
	json_t *member;
	size_t i;
	if (json_is_string(v)) {
		buf_add_str(b, json_str(v));
	} else if (json_is_object(v)) {
		buf_add_char(b, '{');
		json_object_foreach ((json_t *)v, key, member) {
			buf_printf(b, "%s%s=", between, key);
			add_plain(b, member);
			between = ", ";
		}
		buf_add_char(b, '}');
	} else if (json_is_array(v)) {
		buf_add_char(b, '[');
		json_array_foreach (v, i, member) {
			buf_addz(b, i ? ", " : "");
			add_plain(b, member);
		}
		buf_add_char(b, ']');
	} else {
		CLEANUP_FREE char *text = asl_text_dup(v);
		buf_addz(b, text);
	}
}

static size_t code_points(struct str s)
{
	size_t n = 0;
	for (size_t i = 0; i < s.len; i++)
		n += (s.ptr[i] & 0xc0) != 0x80;
	return n;
}

/* As Java's Math.round; false beyond the 64-bit integers. */
static bool round_number(const json_t *v, json_int_t *out)
{
	if (json_is_integer(v)) {
		*out = json_integer_value(v);
		return true;
	}
	double d = floor(json_number_value(v) + 0.5);
	if (!json_is_real(v) || !(fabs(d) < 9.2e18))
		return false;
	*out = (json_int_t)d;
	return true;
}

static int fn_format(struct call *c, json_t **args, size_t n, json_t **out)
{
	CLEANUP_BUF struct buf b = BUF_INIT;
	size_t used = 1;
	struct str t = json_str(args[0]);
	if (!json_is_string(args[0]))
		return refuse(c, "The first argument of States.Format must be a string");
	for (size_t i = 0; i < t.len; i++) {
		if (t.ptr[i] == '\\' && i + 1 < t.len &&
		    (t.ptr[i + 1] == '{' || t.ptr[i + 1] == '}' || t.ptr[i + 1] == '\\' || t.ptr[i + 1] == '\'')) {
			buf_add_char(&b, t.ptr[++i]);
		} else if (t.ptr[i] == '{' && i + 1 < t.len && t.ptr[i + 1] == '}') {
			if (used >= n)
				return refuse(c, "The number of arguments of States.Format does not match the "
						 "occurrences of {}");
			if (b.len > MAX_MADE || !asl_fits(args[used], MAX_MADE))
				return refuse(c, "States.Format makes at most %d bytes", MAX_MADE);
			add_plain(&b, args[used++]);
			i++;
		} else {
			buf_add_char(&b, t.ptr[i]);
		}
	}
	if (used != n)
		return refuse(c, "The number of arguments of States.Format does not match the occurrences of {}");
	*out = json_stringn(buf_str(&b).ptr, b.len);
	return ASL_OK;
}

static int fn_string_to_json(struct call *c, json_t **args, size_t n, json_t **out)
{
	struct asl_json_error why;
	if (!json_is_string(args[0]))
		return refuse(c, "States.StringToJson takes a string");
	*out = asl_read_json(c->env->arena, json_str(args[0]), false, &why);
	return *out ? ASL_OK : refuse(c, "The argument of States.StringToJson is not valid JSON: %s", why.message);
}

static int fn_json_to_string(struct call *c, json_t **args, size_t n, json_t **out)
{
	if (!asl_fits(args[0], MAX_MADE))
		return refuse(c, "States.JsonToString makes at most %d bytes", MAX_MADE);
	struct str text = asl_text(c->env->arena, args[0]);
	*out = json_stringn(text.ptr, text.len);
	return ASL_OK;
}

static int fn_array(struct call *c, json_t **args, size_t n, json_t **out)
{
	*out = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append(*out, args[i]);
	return ASL_OK;
}

static int fn_array_partition(struct call *c, json_t **args, size_t n, json_t **out)
{
	json_int_t size = 0;
	json_t *item, *part = NULL;
	size_t i;
	if (!json_is_array(args[0]) || !round_number(args[1], &size) || size < 1)
		return refuse(c, "States.ArrayPartition takes an array and a positive integer");
	*out = json_array();
	json_array_foreach (args[0], i, item) {
		if ((json_int_t)i % size == 0)
			json_array_append_new(*out, part = json_array());
		json_array_append(part, item);
	}
	return ASL_OK;
}

/* Deep equality where 1 and 1.0 are the same. */
static bool same(const json_t *a, const json_t *b)
{
	return json_is_number(a) && json_is_number(b) ? json_number_value(a) == json_number_value(b) : json_equal(a, b);
}

static int fn_array_contains(struct call *c, json_t **args, size_t n, json_t **out)
{
	json_t *item;
	size_t i;
	bool found = false;
	if (!json_is_array(args[0]))
		return refuse(c, "The first argument of States.ArrayContains must be an array");
	if (!asl_fits(args[0], MAX_MADE) || !asl_fits(args[1], MAX_MADE))
		return refuse(c, "States.ArrayContains looks at most at %d bytes", MAX_MADE);
	json_array_foreach (args[0], i, item)
		found = found || same(item, args[1]);
	*out = json_boolean(found);
	return ASL_OK;
}

static int fn_array_range(struct call *c, json_t **args, size_t n, json_t **out)
{
	json_int_t v[3];
	for (int i = 0; i < 3; i++) {
		if (!round_number(args[i], &v[i]) || v[i] > INT64_MAX / 2 || v[i] < INT64_MIN / 2)
			return refuse(c, "States.ArrayRange takes three numbers");
	}
	if (v[2] == 0)
		return refuse(c, "The increment of States.ArrayRange must not be zero");
	*out = json_array();
	for (json_int_t at = v[0]; v[2] > 0 ? at <= v[1] : at >= v[1]; at += v[2]) {
		if (json_array_size(*out) >= MAX_RANGE) {
			json_decref(*out);
			*out = NULL;
			return refuse(c, "States.ArrayRange makes at most %d items", MAX_RANGE);
		}
		json_array_append_new(*out, json_integer(at));
	}
	return ASL_OK;
}

static int fn_array_get_item(struct call *c, json_t **args, size_t n, json_t **out)
{
	json_int_t index = json_is_integer(args[1]) ? json_integer_value(args[1]) : -1;
	json_t *item = index >= 0 ? json_array_get(args[0], (size_t)index) : NULL;
	if (!item)
		return refuse(c, "States.ArrayGetItem takes an array and an index within it");
	*out = json_incref(item);
	return ASL_OK;
}

static int fn_array_length(struct call *c, json_t **args, size_t n, json_t **out)
{
	if (!json_is_array(args[0]))
		return refuse(c, "States.ArrayLength takes an array");
	*out = json_integer((json_int_t)json_array_size(args[0]));
	return ASL_OK;
}

/* A text that values which are the same have in common. */
static char *same_text(const json_t *v)
{
	char number[40];
	if (!json_is_number(v))
		return json_dumps(v, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
	snprintf(number, sizeof(number), "%.17g", json_number_value(v));
	return mem_strdup(number);
}

static int fn_array_unique(struct call *c, json_t **args, size_t n, json_t **out)
{
	json_t *item;
	size_t i;
	struct map seen = MAP_INIT;
	if (!json_is_array(args[0]))
		return refuse(c, "States.ArrayUnique takes an array");
	if (!asl_fits(args[0], MAX_MADE))
		return refuse(c, "States.ArrayUnique looks at most at %d bytes", MAX_MADE);
	*out = json_array();
	json_array_foreach (args[0], i, item) {
		CLEANUP_FREE char *text = same_text(item);
		if (!map_set(&seen, str_from(text), item))
			json_array_append(*out, item);
	}
	map_release(&seen);
	return ASL_OK;
}

static int fn_base64_encode(struct call *c, json_t **args, size_t n, json_t **out)
{
	struct str s = json_str(args[0]);
	if (!json_is_string(args[0]) || code_points(s) > MAX_CODED)
		return refuse(c, "States.Base64Encode takes a string of at most %d characters", MAX_CODED);
	char *text = arena_alloc(c->env->arena, 4 * ((s.len + 2) / 3) + 1);
	base64_encode(text, s.ptr, s.len);
	*out = json_string(text);
	return ASL_OK;
}

static int fn_base64_decode(struct call *c, json_t **args, size_t n, json_t **out)
{
	struct str s = json_str(args[0]);
	char *raw = arena_alloc(c->env->arena, s.len + 4);
	ptrdiff_t size = json_is_string(args[0]) && s.len <= MAX_CODED ? base64_decode(raw, s) : -1;
	*out = size >= 0 ? json_stringn(raw, (size_t)size) : NULL;
	return *out ? ASL_OK : refuse(c, "States.Base64Decode takes Base64 text of at most %d characters", MAX_CODED);
}

static int fn_hash(struct call *c, json_t **args, size_t n, json_t **out)
{
	static const char *const names[][2] = { { "MD5", "MD5" },
						{ "SHA-1", "SHA1" },
						{ "SHA-256", "SHA256" },
						{ "SHA-384", "SHA384" },
						{ "SHA-512", "SHA512" } };
	unsigned char digest[EVP_MAX_MD_SIZE];
	char hex[2 * EVP_MAX_MD_SIZE + 1];
	unsigned size = 0;
	CLEANUP_BUF struct buf data = BUF_INIT;
	if (!asl_fits(args[0], MAX_MADE))
		return refuse(c, "States.Hash takes at most %d characters", MAX_HASH_INPUT);
	if (json_is_string(args[0]))
		buf_add_str(&data, json_str(args[0]));
	else
		buf_add_str(&data, asl_text(c->env->arena, args[0]));
	if (code_points(buf_str(&data)) > MAX_HASH_INPUT)
		return refuse(c, "States.Hash takes at most %d characters", MAX_HASH_INPUT);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (str_eqz(json_str(args[1]), names[i][0]))
			EVP_Digest(buf_str(&data).ptr, data.len, digest, &size, EVP_get_digestbyname(names[i][1]),
				   NULL);
	if (size == 0)
		return refuse(c, "States.Hash knows MD5, SHA-1, SHA-256, SHA-384 and SHA-512");
	hex_encode(hex, digest, size);
	*out = json_string(hex);
	return ASL_OK;
}

static int fn_json_merge(struct call *c, json_t **args, size_t n, json_t **out)
{
	if (!json_is_object(args[0]) || !json_is_object(args[1]) || !json_is_boolean(args[2]))
		return refuse(c, "States.JsonMerge takes two objects and a boolean");
	if (json_is_true(args[2]))
		return refuse(
			c, "States.JsonMerge supports only the shallow merging mode: the third argument must be false");
	*out = json_copy(args[0]);
	json_object_update(*out, args[1]);
	return ASL_OK;
}

static int fn_math_random(struct call *c, json_t **args, size_t n, json_t **out)
{
	json_int_t from, to, seed;
	if (!round_number(args[0], &from) || !round_number(args[1], &to))
		return refuse(c, "States.MathRandom takes numbers");
	if (to <= from)
		return refuse(c, "The second argument of States.MathRandom must be greater than the first");
	uint64_t word = c->env->random ? c->env->random(c->env->random_ctx) : 0;
	if (n == 3) { /* a seed makes the value repeatable: splitmix64 of it */
		if (!round_number(args[2], &seed))
			return refuse(c, "The seed of States.MathRandom must be a number");
		word = (uint64_t)seed + 0x9e3779b97f4a7c15u;
		word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
		word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
		word ^= word >> 31;
	}
	uint64_t drawn = (uint64_t)from + word % ((uint64_t)to - (uint64_t)from);
	*out = json_integer((int64_t)drawn);
	return ASL_OK;
}

static int fn_math_add(struct call *c, json_t **args, size_t n, json_t **out)
{
	json_int_t a, b, sum;
	if (!round_number(args[0], &a) || !round_number(args[1], &b))
		return refuse(c, "States.MathAdd takes numbers");
	if (__builtin_add_overflow(a, b, &sum))
		return refuse(c, "The sum of States.MathAdd is too large");
	*out = json_integer(sum);
	return ASL_OK;
}

/* Each character of the second argument is a delimiter; empty pieces are dropped. */
static int fn_string_split(struct call *c, json_t **args, size_t n, json_t **out)
{
	struct str s = json_str(args[0]), delimiters = json_str(args[1]);
	size_t start = 0;
	if (!json_is_string(args[0]) || !json_is_string(args[1]))
		return refuse(c, "States.StringSplit takes two strings");
	*out = json_array();
	for (size_t i = 0; i <= s.len; i++) {
		if (i < s.len && str_find_char(delimiters, s.ptr[i]) < 0)
			continue;
		if (i > start)
			json_array_append_new(*out, json_stringn(s.ptr + start, i - start));
		start = i + 1;
	}
	return ASL_OK;
}

static int fn_uuid(struct call *c, json_t **args, size_t n, json_t **out)
{
	char text[37];
	id_uuid(text, c->env->random, c->env->random_ctx);
	*out = json_string(text);
	return ASL_OK;
}

/* Types of the arguments, the last for all further ones: s text, n number, a array, o object, b boolean, * any. */
static const struct function {
	const char *name;
	size_t least, most;
	const char *types;
	intrinsic_fn fn;
} functions[] = {
	{ "States.Format", 1, MAX_ARGUMENTS, "s*", fn_format },
	{ "States.StringToJson", 1, 1, "s", fn_string_to_json },
	{ "States.JsonToString", 1, 1, "*", fn_json_to_string },
	{ "States.Array", 0, MAX_ARGUMENTS, "*", fn_array },
	{ "States.ArrayPartition", 2, 2, "an", fn_array_partition },
	{ "States.ArrayContains", 2, 2, "a*", fn_array_contains },
	{ "States.ArrayRange", 3, 3, "nnn", fn_array_range },
	{ "States.ArrayGetItem", 2, 2, "an", fn_array_get_item },
	{ "States.ArrayLength", 1, 1, "a", fn_array_length },
	{ "States.ArrayUnique", 1, 1, "a", fn_array_unique },
	{ "States.Base64Encode", 1, 1, "s", fn_base64_encode },
	{ "States.Base64Decode", 1, 1, "s", fn_base64_decode },
	{ "States.Hash", 2, 2, "*s", fn_hash },
	{ "States.JsonMerge", 3, 3, "oob", fn_json_merge },
	{ "States.MathRandom", 2, 3, "nnn", fn_math_random },
	{ "States.MathAdd", 2, 2, "nn", fn_math_add },
	{ "States.StringSplit", 2, 2, "ss", fn_string_split },
	{ "States.UUID", 0, 0, "", fn_uuid },
};

/* ---- the parser ---- */

static int peek(const struct call *c)
{
	return c->at < c->text.len ? (unsigned char)c->text.ptr[c->at] : -1;
}

static void skip_space(struct call *c)
{
	while (peek(c) == ' ' || peek(c) == '\t' || peek(c) == '\n')
		c->at++;
}

/* 'text' with \' \\ \{ \} kept for States.Format, except \' which becomes '. */
static int parse_string(struct call *c, json_t **out)
{
	CLEANUP_BUF struct buf b = BUF_INIT;
	c->at++;
	while (peek(c) >= 0 && peek(c) != '\'') {
		if (peek(c) == '\\' && c->at + 1 < c->text.len) {
			char next = c->text.ptr[c->at + 1];
			if (next != '\'')
				buf_add_char(&b, '\\');
			buf_add_char(&b, next);
			c->at += 2;
			continue;
		}
		buf_add_char(&b, c->text.ptr[c->at++]);
	}
	if (peek(c) != '\'')
		return refuse(c, "unclosed string in `%.*s`", STR_ARG(c->text));
	c->at++;
	*out = json_stringn(buf_str(&b).ptr, b.len);
	return *out ? ASL_OK : refuse(c, "a string is not UTF-8");
}

/* A path or variable ends at the comma or parenthesis outside its brackets and quotes. */
static int parse_path(struct call *c, json_t **out)
{
	size_t start = c->at;
	int brackets = 0;
	for (char quote = 0; peek(c) >= 0; c->at++) {
		char ch = (char)peek(c);
		if (quote)
			quote = ch == quote ? 0 : quote;
		else if (brackets && (ch == '\'' || ch == '"'))
			quote = ch;
		else if (ch == '[' || ch == '(')
			brackets++;
		else if (brackets && (ch == ']' || ch == ')'))
			brackets--;
		else if (!brackets && (ch == ',' || ch == ')'))
			break;
	}
	struct str path = str_trim(str_of(c->text.ptr + start, c->at - start));
	if (c->check_only) {
		const struct asl_path_ref *ref = asl_path_ref(c->env->arena, path);
		*out = NULL; /* a value that is not known yet */
		return ref->path ? ASL_OK : refuse(c, "`%.*s` is no path: %s", STR_ARG(path), ref->why);
	}
	return asl_path(c->env, path, c->field, out, c->fault);
}

static int parse_call(struct call *c, int depth, json_t **out);

static int parse_argument(struct call *c, int depth, json_t **out)
{
	skip_space(c);
	int ch = peek(c);
	if (ch == '\'')
		return parse_string(c, out);
	if (ch == '$')
		return parse_path(c, out);
	if (str_starts(str_skip(c->text, c->at), STR("States.")))
		return parse_call(c, depth + 1, out);
	size_t start = c->at;
	while (peek(c) >= 0 && peek(c) != ',' && peek(c) != ')' && !isspace(peek(c)))
		c->at++;
	struct str word = str_of(c->text.ptr + start, c->at - start);
	*out = word.len ? asl_read_json(c->env->arena, word, false, NULL) : NULL;
	if (*out && !json_is_object(*out) && !json_is_array(*out) && !json_is_string(*out))
		return ASL_OK;
	json_decref(*out);
	*out = NULL;
	return refuse(c, "`%.*s` is no argument", STR_ARG(word));
}

struct arguments {
	json_t *list[MAX_ARGUMENTS]; /* owned; NULL: not known while checking */
	size_t count;
};

static void arguments_release(struct arguments *a)
{
	for (size_t i = 0; i < a->count; i++)
		json_decref(a->list[i]);
}

static int parse_arguments(struct call *c, int depth, struct arguments *args)
{
	skip_space(c);
	if (peek(c) == ')') {
		c->at++;
		return ASL_OK;
	}
	for (;;) {
		if (args->count >= MAX_ARGUMENTS)
			return refuse(c, "a call has at most %d arguments", MAX_ARGUMENTS);
		int rc = parse_argument(c, depth, &args->list[args->count]);
		if (rc != ASL_OK)
			return rc;
		args->count++;
		skip_space(c);
		int ch = peek(c);
		c->at++;
		if (ch == ')')
			return ASL_OK;
		if (ch != ',')
			return refuse(c, "malformed call `%.*s`", STR_ARG(c->text));
	}
}

static bool fits(char type, const json_t *v)
{
	switch (type) {
	case 's':
		return json_is_string(v);
	case 'n':
		return json_is_number(v);
	case 'a':
		return json_is_array(v);
	case 'o':
		return json_is_object(v);
	case 'b':
		return json_is_boolean(v);
	default:
		return true;
	}
}

static int check_types(struct call *c, const struct function *fn, const struct arguments *args)
{
	size_t types = strlen(fn->types);
	for (size_t i = 0; i < args->count; i++)
		if (args->list[i] && !fits(fn->types[i < types ? i : types - 1], args->list[i]))
			return refuse(c, "argument %zu of %s has the wrong type", i + 1, fn->name);
	return ASL_OK;
}

static int parse_call(struct call *c, int depth, json_t **out)
{
	__attribute__((cleanup(arguments_release))) struct arguments args = { .count = 0 };
	size_t start = c->at;
	while (peek(c) >= 0 && peek(c) != '(')
		c->at++;
	struct str name = str_trim(str_of(c->text.ptr + start, c->at - start));
	c->at++;
	if (depth > MAX_DEPTH)
		return refuse(c, "intrinsic functions nest at most %d deep", MAX_DEPTH);
	int rc = parse_arguments(c, depth, &args);
	if (rc != ASL_OK)
		return rc;
	for (size_t i = 0; i < sizeof(functions) / sizeof(*functions); i++) {
		if (!str_eqz(name, functions[i].name))
			continue;
		if (args.count < functions[i].least || args.count > functions[i].most)
			return refuse(c, "%s has %zu arguments", functions[i].name, args.count);
		if (c->check_only) {
			*out = NULL;
			return check_types(c, &functions[i], &args);
		}
		return functions[i].fn(c, args.list, args.count, out);
	}
	return refuse(c, "there is no intrinsic function %.*s", STR_ARG(name));
}

static int run(struct call *c, json_t **out)
{
	int rc = parse_call(c, 1, out);
	skip_space(c);
	if (rc == ASL_OK && c->at < c->text.len) {
		json_decref(*out);
		*out = NULL;
		return refuse(c, "malformed call `%.*s`", STR_ARG(c->text));
	}
	return rc;
}

int intrinsic_eval(struct asl_env *env, struct str text, const char *field, json_t **out, struct asl_fault *f)
{
	struct call c = { .env = env, .text = str_trim(text), .field = field, .fault = f };
	return run(&c, out);
}

const char *intrinsic_check(struct arena *a, struct str text)
{
	struct asl_env env = { .arena = a };
	struct asl_fault fault = ASL_FAULT_INIT;
	struct call c = { .env = &env, .text = str_trim(text), .field = "", .check_only = true, .fault = &fault };
	json_t *out = NULL;
	int rc = run(&c, &out);
	json_decref(out);
	const char *why = rc == ASL_OK ? NULL : arena_strdup(a, str_from(fault.cause));
	asl_fault_release(&fault);
	return why;
}
