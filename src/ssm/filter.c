/* filter.c - see filter.h.
 *
 * DESIGN: filters are anded, the values of one are ored. Source: SSM API reference, ParameterStringFilter; the texts of
 * the faults are AWS's. Labels are looked up where versions are chosen (ssm.c). */
#include "ssm/filter.h"

#include <string.h>

static const char *option_of(const json_t *filter)
{
	const char *option = json_get_text(filter, "Option");
	return option ? option : strcmp(json_get_text(filter, "Key"), "Path") == 0 ? "OneLevel" : "Equals";
}

static bool is_tag(const char *key)
{
	return strncmp(key, "tag:", 4) == 0;
}

static int check_values(const char *key, const json_t *filter, struct error *err)
{
	static const char *const types[] = { "String", "StringList", "SecureString", NULL };
	static const char *const tiers[] = { "Standard", "Advanced", "Intelligent-Tiering", NULL };
	const char *const *known = strcmp(key, "Type") == 0 ? types : strcmp(key, "Tier") == 0 ? tiers : NULL;
	const json_t *values = json_get(filter, "Values");
	size_t i;
	json_t *value;
	if (!json_array_size(values) && !is_tag(key))
		return error_aws(err, "InvalidFilterValue",
				 "The following filter values are missing : null for filter key %s.", key);
	json_array_foreach (values, i, value) {
		size_t k = 0;
		while (known && known[k] && !str_eqz(json_str(value), known[k]))
			k++;
		if (known && !known[k])
			return error_aws(
				err, "InvalidFilterValue",
				"The following filter value is not valid: %s. Valid values include: [%s, %s, %s].",
				json_string_value(value), known[0], known[1], known[2]);
		if (strcmp(key, "Path") == 0 && !str_starts(json_str(value), STR("/")))
			return error_aws(err, "ValidationException",
					 "The parameter doesn't meet the parameter name requirements. The parameter "
					 "name must begin with a forward slash \"/\".");
	}
	return 0;
}

static int check_option(const char *key, const char *option, struct error *err)
{
	bool path = strcmp(key, "Path") == 0;
	if (path ? strcmp(option, "OneLevel") == 0 || strcmp(option, "Recursive") == 0
		 : strcmp(option, "Equals") == 0 || (strcmp(option, "BeginsWith") == 0 && strcmp(key, "Label") != 0) ||
			    (strcmp(option, "Contains") == 0 && strcmp(key, "Name") == 0))
		return 0;
	return error_aws(err, "InvalidFilterOption",
			 "The following filter option is not valid: %s. Valid options include: %s.", option,
			 path                        ? "[Recursive, OneLevel]"
			 : strcmp(key, "Label") == 0 ? "[Equals]"
						     : "[BeginsWith, Equals]");
}

static bool key_allowed(const char *key, bool by_path)
{
	static const char *const everywhere[] = { "Type", "KeyId" }, *const described[] = { "Name", "Path", "Tier",
											    "DataType" };
	for (size_t i = 0; i < 2; i++)
		if (strcmp(key, everywhere[i]) == 0)
			return true;
	for (size_t i = 0; i < 4; i++)
		if (strcmp(key, described[i]) == 0)
			return !by_path;
	return by_path ? strcmp(key, "Label") == 0 : is_tag(key);
}

int ssm_filters_check(const json_t *in, bool by_path, struct error *err)
{
	const json_t *filters = json_get(in, "ParameterFilters");
	size_t i;
	json_t *filter;
	if (json_array_size(filters) && json_array_size(json_get(in, "Filters")))
		return error_aws(err, "ValidationException",
				 "You can use either Filters or ParameterFilters in a single request.");
	json_array_foreach (filters, i, filter) {
		const char *key = json_get_text(filter, "Key");
		if (!key_allowed(key, by_path))
			return error_aws(
				err, "InvalidFilterKey",
				"The following filter key is not valid: %s. Valid filter keys include: %s.", key,
				by_path ? "[Type, KeyId, Label]" : "[Path, Name, Type, KeyId, Tier, DataType, tag:]");
		for (size_t k = 0; k < i; k++)
			if (strcmp(key, json_get_text(json_array_get(filters, k), "Key")) == 0)
				return error_aws(err, "InvalidFilterKey",
						 "The following filter is duplicated in the request: %s. A request can "
						 "contain only one occurrence of a specific filter.",
						 key);
		if (check_option(key, option_of(filter), err) < 0 || check_values(key, filter, err) < 0)
			return -1;
	}
	return 0;
}

/* ---- matching ---- */

static struct str no_slash(struct str name)
{
	return str_starts(name, STR("/")) ? str_skip(name, 1) : name;
}

bool ssm_path_holds(struct str path, bool recursive, struct str name)
{
	struct str top = no_slash(path), rest = no_slash(name);
	if (str_ends(top, STR("/")))
		top = str_head(top, top.len - 1);
	if (top.len && (!str_starts(rest, top) || rest.len == top.len || rest.ptr[top.len] != '/'))
		return false;
	rest = top.len ? str_skip(rest, top.len + 1) : rest;
	return recursive || str_find_char(rest, '/') < 0;
}

static bool text_matches(struct str have, const char *option, const json_t *values)
{
	size_t i;
	json_t *value;
	json_array_foreach (values, i, value) {
		struct str want = json_str(value);
		if (strcmp(option, "Contains") == 0     ? str_find(have, want) >= 0
		    : strcmp(option, "BeginsWith") == 0 ? str_starts(have, want)
							: str_eq(have, want))
			return true;
	}
	return false;
}

/* Names are compared without a leading '/': "x" and "/x" find the same. */
static bool name_matches(struct str name, const char *option, const json_t *values)
{
	CLEANUP_JSON json_t *plain = json_array();
	size_t i;
	json_t *value;
	if (strcmp(option, "Contains") == 0)
		return text_matches(name, option, values);
	json_array_foreach (values, i, value) {
		struct str s = no_slash(json_str(value));
		json_array_append_new(plain, json_stringn(s.ptr, s.len));
	}
	return text_matches(no_slash(name), option, plain);
}

static bool tag_matches(const json_t *tags, const char *key, const char *option, const json_t *values)
{
	size_t i;
	json_t *tag;
	json_array_foreach (tags, i, tag)
		if (str_eqz(json_get_str(tag, "Key"), key))
			return !json_array_size(values) || text_matches(json_get_str(tag, "Value"), option, values);
	return false;
}

static bool path_matches(struct str name, bool recursive, const json_t *values)
{
	size_t i;
	json_t *value;
	json_array_foreach (values, i, value)
		if (ssm_path_holds(json_str(value), recursive, name))
			return true;
	return false;
}

static bool matches(const char *key, const char *option, const json_t *values, const struct ssm_facts *f)
{
	if (is_tag(key))
		return tag_matches(f->tags, key + 4, option, values);
	if (strcmp(key, "Label") == 0)
		return true;
	if (strcmp(key, "Path") == 0)
		return path_matches(f->name, strcmp(option, "Recursive") == 0, values);
	if (strcmp(key, "Name") == 0)
		return name_matches(f->name, option, values);
	struct str have = strcmp(key, "Type") == 0       ? f->type
			  : strcmp(key, "KeyId") == 0    ? f->key_id
			  : strcmp(key, "Tier") == 0     ? f->tier
			  : strcmp(key, "DataType") == 0 ? f->data_type
							 : STR_NULL;
	return have.ptr && text_matches(have, option, values);
}

bool ssm_filters_pass(const json_t *in, const struct ssm_facts *facts)
{
	size_t i;
	json_t *filter;
	json_array_foreach (json_get(in, "ParameterFilters"), i, filter)
		if (!matches(json_get_text(filter, "Key"), option_of(filter), json_get(filter, "Values"), facts))
			return false;
	/* the older ones: a name is found by its beginning */
	json_array_foreach (json_get(in, "Filters"), i, filter) {
		const char *key = json_get_text(filter, "Key");
		if (!matches(key, strcmp(key, "Name") == 0 ? "BeginsWith" : "Equals", json_get(filter, "Values"),
			     facts))
			return false;
	}
	return true;
}
