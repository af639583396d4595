/* expr_path.c - paths into JSON and the references that start with them.
 *
 * DESIGN: hand-written scanners over {ptr,len}: a path is member names after dots, and [0], ['key'] or ["key"] in any
 * order. A key on a list selects by the name member of the list's elements, as the SDK's Properties do
 * (Outputs['train']). Nothing is guessed: a malformed path is refused as a whole. */
#include "sagemaker/expr.h"

/* Members that name the elements of the lists in Describe answers. */
static const char *const name_members[] = { "OutputName",       "InputName", "MetricName", "ChannelName", "Name",
					    "PropertyFileName", "GroupName", "Key",        NULL };

static bool part_add(struct arena *a, struct path *p, size_t *cap, struct path_part part)
{
	if (p->count == *cap) {
		size_t more = *cap ? *cap * 2 : 8;
		struct path_part *grown = ARENA_ARRAY(a, struct path_part, more);
		if (p->count)
			memcpy(grown, p->parts, p->count * sizeof *grown);
		p->parts = grown;
		*cap = more;
	}
	p->parts[p->count++] = part;
	return true;
}

/* "[...]" at the start of *s: takes it. */
static bool bracket_parse(struct arena *a, struct str *s, struct path_part *part)
{
	struct str in = str_skip(*s, 1);
	if (in.len && (in.ptr[0] == '\'' || in.ptr[0] == '"')) {
		struct str body = str_skip(in, 1);
		ptrdiff_t end = str_find_char(body, in.ptr[0]);
		if (end < 0 || (size_t)end + 1 >= body.len || body.ptr[end + 1] != ']')
			return false;
		part->key = arena_str(a, str_head(body, (size_t)end));
		*s = str_skip(body, (size_t)end + 2);
		return true;
	}
	ptrdiff_t end = str_find_char(in, ']');
	if (end < 1 || !str_to_i64(str_head(in, (size_t)end), &part->index) || part->index < 0)
		return false;
	part->key = STR_NULL;
	*s = str_skip(in, (size_t)end + 1);
	return true;
}

bool expr_path_parse(struct arena *a, struct str s, struct path *out)
{
	struct path p = { 0 };
	size_t cap = 0;
	if (s.len && s.ptr[0] == '$')
		s = str_skip(s, 1);
	bool dot = true; /* a name may start here */
	if (s.len && s.ptr[0] == '.') {
		s = str_skip(s, 1);
		if (!s.len)
			return false;
	}
	while (s.len) {
		struct path_part part = { STR_NULL, 0 };
		if (s.ptr[0] == '[') {
			if (!bracket_parse(a, &s, &part))
				return false;
		} else {
			size_t n = 0;
			if (!dot)
				return false;
			while (n < s.len && s.ptr[n] != '.' && s.ptr[n] != '[')
				n++;
			if (n == 0 || memchr(s.ptr, ']', n) || memchr(s.ptr, '*', n))
				return false;
			part.key = arena_str(a, str_head(s, n));
			s = str_skip(s, n);
		}
		part_add(a, &p, &cap, part);
		dot = s.len && s.ptr[0] == '.';
		if (dot) {
			s = str_skip(s, 1);
			if (!s.len || s.ptr[0] == '.')
				return false;
		}
	}
	*out = p;
	return true;
}

static json_t *list_find(json_t *list, struct str key)
{
	size_t i;
	json_t *item;
	json_array_foreach (list, i, item) {
		for (const char *const *m = name_members; *m; m++) {
			struct str name = json_str(json_object_get(item, *m));
			if (name.ptr && str_eq(name, key))
				return item;
		}
	}
	return NULL;
}

json_t *expr_path_get(json_t *root, const struct path *path, size_t from, bool by_name)
{
	json_t *v = root;
	for (size_t i = from; v && i < path->count; i++) {
		const struct path_part *p = &path->parts[i];
		if (!p->key.ptr)
			v = json_array_get(v, (size_t)p->index);
		else if (json_is_array(v))
			v = by_name ? list_find(v, p->key) : NULL;
		else
			v = json_object_getn(v, p->key.ptr, p->key.len);
	}
	return v;
}

static int bad_reference(struct str text, struct error *err)
{
	return error_aws(err, "ValidationException", "Unable to parse pipeline definition. Invalid reference '%.*s'.",
			 STR_ARG(str_head(text, 256)));
}

int expr_ref_parse(struct arena *a, struct str text, struct ref *out, struct error *err)
{
	static const struct {
		struct str prefix;
		enum ref_kind kind;
	} kinds[] = { { STR("Parameters."), REF_PARAMETER },
		      { STR("Execution."), REF_EXECUTION },
		      { STR("PipelineExperimentConfig."), REF_EXPERIMENT },
		      { STR("Steps."), REF_STEP } };
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (!str_starts(text, kinds[i].prefix))
			continue;
		struct str rest = str_skip(text, kinds[i].prefix.len);
		struct ref r = { .kind = kinds[i].kind, .name = rest, .text = text };
		if (r.kind == REF_STEP) {
			size_t n = 0;
			while (n < rest.len && rest.ptr[n] != '.' && rest.ptr[n] != '[')
				n++;
			r.name = str_head(rest, n);
			if (!expr_path_parse(a, str_skip(rest, n), &r.path) || r.path.count == 0)
				return bad_reference(text, err);
		}
		if (r.name.len == 0)
			return bad_reference(text, err);
		*out = r;
		return 0;
	}
	return bad_reference(text, err);
}
