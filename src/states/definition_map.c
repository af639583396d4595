/* definition_map.c - checks of Map and Parallel states; see definition_impl.h. */
#include <ctype.h>

#include "base/json.h"
#include "states/definition_impl.h"

enum { MAX_LABEL = 40, MAX_BATCH_BYTES = 262144, MAX_READ = 100000000 };

const json_t *definition_processor(const json_t *map, const char **field)
{
	*field = json_object_get(map, "ItemProcessor") ? "ItemProcessor" : "Iterator";
	return json_object_get(map, *field);
}

/* ---- labels ---- */

/* One character as Python's repr() writes it within a text in double quotes: that is how the service's clients know
 * this error. */
static const char *shown(struct arena *a, struct str c)
{
	unsigned code = (unsigned char)c.ptr[0];
	if (c.len == 2)
		code = (code & 0x1f) << 6 | ((unsigned char)c.ptr[1] & 0x3f);
	if (code == '\\')
		return "\\\\";
	if (code == '\t' || code == '\n' || code == '\r')
		return code == '\t' ? "\\t" : code == '\n' ? "\\n" : "\\r";
	if (code < 32 || (code >= 127 && code < 160))
		return arena_printf(a, "\\x%02x", code);
	return arena_strdup(a, c);
}

/* The first character a label must not have; length 0 when there is none. */
static struct str bad_character(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];
		if (c < 128 && (c <= ' ' || c == 127 || strchr("?*<>{}[]:;,\\|^~$#%&`\"/", c)))
			return str_of(s.ptr + i, 1);
		if (c == 0xc2 && i + 1 < s.len && (unsigned char)s.ptr[i + 1] < 0xa0)
			return str_of(s.ptr + i, 2);
	}
	return STR_NULL;
}

void check_label(struct state_check *s)
{
	const json_t *v = json_object_get(s->doc, "Label");
	const char *at = check_at(s->c, s->at, "Label");
	size_t chars = 0;
	if (!check_string(s->c, v, at))
		return;
	struct str label = json_str(v), bad = bad_character(label);
	for (size_t i = 0; i < label.len; i++)
		chars += (label.ptr[i] & 0xc0) != 0x80;
	if (label.len == 0)
		check_report(s->c, "INVALID_LABEL_NAME", at, "Label cannot be empty");
	else if (chars > MAX_LABEL)
		check_report(s->c, "INVALID_LABEL_NAME", at, "Label cannot exceed 40 characters");
	else if (bad.len > 0)
		check_report(s->c, "INVALID_LABEL_NAME", at, "Label contains invalid character: '%s'",
			     shown(s->c->arena, bad));
	else if (map_set(&s->c->labels, label, (void *)at))
		check_report(s->c, "DUPLICATE_LABEL_NAME", at, "Duplicate Label name: %.*s", STR_ARG(label));
}

/* ---- reading and writing ---- */

static void check_csv(struct state_check *s, const json_t *config, const char *at)
{
	static const char *const header_places[] = { "FIRST_ROW", "GIVEN", NULL };
	static const char *const headers[] = { "CSVHeaders", NULL };
	static const char *const delimiters[] = { "COMMA", "PIPE", "SEMICOLON", "SPACE", "TAB", NULL };
	const json_t *place = json_object_get(config, "CSVHeaderLocation"),
		     *list = json_object_get(config, "CSVHeaders");
	json_t *header;
	size_t i;
	if (!place)
		check_report(s->c, SCHEMA, at, "The field 'CSVHeaderLocation' is required");
	check_enum(s->c, place, check_at(s->c, at, "CSVHeaderLocation"), header_places);
	if (str_eqz(json_str(place), "GIVEN"))
		check_required(s->c, config, at, headers);
	if (check_array(s->c, list, check_at(s->c, at, "CSVHeaders"), false))
		json_array_foreach (list, i, header)
			check_string(s->c, header, check_at_index(s->c, at, "CSVHeaders", i));
	check_enum(s->c, json_object_get(config, "CSVDelimiter"), check_at(s->c, at, "CSVDelimiter"), delimiters);
}

static void check_reader_config(struct state_check *s, const json_t *config, const char *at)
{
	static const char *const known[] = {
		"InputType",    "CSVHeaderLocation", "CSVHeaders",     "CSVDelimiter", "MaxItems", "MaxItemsPath",
		"ManifestType", "ItemsPointer",      "Transformation", "Comment",      NULL
	};
	static const char *const types[] = { "CSV", "JSON", "MANIFEST", "JSONL", "PARQUET", NULL };
	static const char *const manifests[] = { "S3_INVENTORY", "ATHENA_DATA", NULL };
	static const char *const transformations[] = { "NONE", "LOAD_AND_FLATTEN", NULL };
	static const char *const items[] = { "MaxItems", "MaxItemsPath", NULL };
	if (!check_object(s->c, config, at))
		return;
	struct str type = json_get_str(config, "InputType");
	bool manifest_of_csv = str_eqz(type, "MANIFEST") && json_object_get(config, "ManifestType");
	check_known(s->c, config, at, known);
	check_enum(s->c, json_object_get(config, "InputType"), check_at(s->c, at, "InputType"), types);
	check_enum(s->c, json_object_get(config, "ManifestType"), check_at(s->c, at, "ManifestType"), manifests);
	check_enum(s->c, json_object_get(config, "Transformation"), check_at(s->c, at, "Transformation"),
		   transformations);
	check_string(s->c, json_object_get(config, "ItemsPointer"), check_at(s->c, at, "ItemsPointer"));
	if (str_eqz(type, "CSV"))
		check_csv(s, config, at);
	else if (type.ptr && !manifest_of_csv && json_object_get(config, "CSVHeaderLocation"))
		check_report(s->c, SCHEMA, at, "Field 'CSVHeaderLocation' is not supported");
	check_one_of(s->c, config, at, items, false);
	check_number(s, json_object_get(config, "MaxItems"), check_at(s->c, at, "MaxItems"), true, 0, MAX_READ);
	if (json_object_get(config, "MaxItemsPath") && check_language(s, "MaxItemsPath", ONLY_JSONPATH, at))
		check_reference(s, json_object_get(config, "MaxItemsPath"), check_at(s->c, at, "MaxItemsPath"),
				REFERENCE_STATE);
}

/* Parameters or Arguments of a reader or writer, by the language. */
static void check_call(struct state_check *s, const json_t *v, const char *at)
{
	if (json_object_get(v, "Parameters") && check_language(s, "Parameters", ONLY_JSONPATH, at))
		check_template(s, json_object_get(v, "Parameters"), check_at(s->c, at, "Parameters"));
	if (json_object_get(v, "Arguments") && check_language(s, "Arguments", ONLY_JSONATA, at))
		check_jsonata(s, json_object_get(v, "Arguments"), check_at(s->c, at, "Arguments"));
}

static void check_allowed_resource(struct state_check *s, const json_t *v, const char *at, const char *const actions[])
{
	struct str resource = json_str(v);
	if (!check_string(s->c, v, at))
		return;
	for (int i = 0; actions[i]; i++)
		if (str_starts(resource, STR("arn:")) && str_ends(resource, str_from(actions[i])))
			return;
	if (str_find(resource, STR("${")) < 0)
		check_report(s->c, SCHEMA, at, "The field 'Resource' does not match any of the allowed values");
}

static void check_item_reader(struct state_check *s)
{
	static const char *const known[] = { "Resource", "Parameters", "Arguments", "ReaderConfig", "Comment", NULL },
				 *const required[] = { "Resource", NULL };
	static const char *const actions[] = { ":states:::s3:getObject", ":states:::s3:listObjectsV2", NULL };
	const json_t *v = json_object_get(s->doc, "ItemReader");
	const char *at = check_at(s->c, s->at, "ItemReader");
	if (!check_object(s->c, v, at))
		return;
	check_known(s->c, v, at, known);
	check_required(s->c, v, at, required);
	check_allowed_resource(s, json_object_get(v, "Resource"), check_at(s->c, at, "Resource"), actions);
	check_call(s, v, at);
	check_reader_config(s, json_object_get(v, "ReaderConfig"), check_at(s->c, at, "ReaderConfig"));
}

static void check_item_batcher(struct state_check *s)
{
	static const char *const known[] = { "BatchInput",
					     "MaxItemsPerBatch",
					     "MaxItemsPerBatchPath",
					     "MaxInputBytesPerBatch",
					     "MaxInputBytesPerBatchPath",
					     "Comment",
					     NULL };
	static const char *const items[] = { "MaxItemsPerBatch", "MaxItemsPerBatchPath", NULL }, *const bytes[] = {
		"MaxInputBytesPerBatch", "MaxInputBytesPerBatchPath", NULL
	};
	const json_t *v = json_object_get(s->doc, "ItemBatcher");
	const char *at = check_at(s->c, s->at, "ItemBatcher");
	if (!check_object(s->c, v, at))
		return;
	check_known(s->c, v, at, known);
	check_one_of(s->c, v, at, items, false);
	check_one_of(s->c, v, at, bytes, false);
	check_number(s, json_object_get(v, items[0]), check_at(s->c, at, items[0]), true, 0, MAX_SECONDS);
	check_number(s, json_object_get(v, bytes[0]), check_at(s->c, at, bytes[0]), true, 0, MAX_BATCH_BYTES);
	for (int i = 0; i < 2; i++) {
		const char *field = i ? bytes[1] : items[1];
		if (json_object_get(v, field) && check_language(s, field, ONLY_JSONPATH, at))
			check_reference(s, json_object_get(v, field), check_at(s->c, at, field), REFERENCE_STATE);
	}
	check_payload(s, json_object_get(v, "BatchInput"), check_at(s->c, at, "BatchInput"));
}

static void check_result_writer(struct state_check *s)
{
	static const char *const known[] = { "Resource", "Parameters", "Arguments", "WriterConfig", "Comment", NULL };
	static const char *const known_config[] = { "Transformation", "OutputType", "Comment", NULL },
				 *const actions[] = { ":states:::s3:putObject", NULL };
	static const char *const transformations[] = { "NONE", "COMPACT", "FLATTEN", NULL }, *const outputs[] = {
		"JSON", "JSONL", NULL
	};
	const json_t *v = json_object_get(s->doc, "ResultWriter"), *config = json_object_get(v, "WriterConfig");
	const char *at = check_at(s->c, s->at, "ResultWriter");
	if (!check_object(s->c, v, at))
		return;
	check_known(s->c, v, at, known);
	check_allowed_resource(s, json_object_get(v, "Resource"), check_at(s->c, at, "Resource"), actions);
	check_call(s, v, at);
	at = check_at(s->c, at, "WriterConfig");
	if (!check_object(s->c, config, at))
		return;
	check_known(s->c, config, at, known_config);
	check_enum(s->c, json_object_get(config, "Transformation"), check_at(s->c, at, "Transformation"),
		   transformations);
	check_enum(s->c, json_object_get(config, "OutputType"), check_at(s->c, at, "OutputType"), outputs);
}

/* ---- the processor ---- */

static void check_processor_config(struct state_check *s, const json_t *config, const char *at)
{
	static const char *const known[] = { "Mode", "ExecutionType", "Comment", NULL };
	static const char *const modes[] = { "INLINE", "DISTRIBUTED", NULL }, *const types[] = { "STANDARD", "EXPRESS",
												 NULL };
	static const char *const needed[] = { "ExecutionType", NULL }, *const remote[] = { "ItemReader", "ItemBatcher",
											   "ResultWriter", NULL };
	if (!check_object(s->c, config, at))
		return;
	struct str mode = json_get_str(config, "Mode");
	check_known(s->c, config, at, known);
	check_enum(s->c, json_object_get(config, "Mode"), check_at(s->c, at, "Mode"), modes);
	check_enum(s->c, json_object_get(config, "ExecutionType"), check_at(s->c, at, "ExecutionType"), types);
	if (!str_eqz(mode, "DISTRIBUTED")) {
		if (json_object_get(config, "ExecutionType"))
			check_report(s->c, SCHEMA, at, "Field 'ExecutionType' is not supported");
		for (int i = 0; remote[i] && mode.ptr; i++)
			if (json_object_get(s->doc, remote[i]))
				check_report(s->c, SCHEMA, s->at, "Field '%s' is not supported", remote[i]);
		return;
	}
	check_required(s->c, config, at, needed);
	if (s->c->express)
		check_report(
			s->c, SCHEMA, check_at(s->c, at, "Mode"),
			"The field 'Mode' with value 'DISTRIBUTED' is not supported inside 'EXPRESS' state machines");
}

static void check_processor(struct state_check *s)
{
	static const char *const fields[] = { "ItemProcessor", "Iterator", NULL };
	static const char *const known[] = { "ProcessorConfig", "StartAt", "States", "Comment", NULL };
	const char *field;
	struct check *c = s->c, before = *c;
	const json_t *processor = definition_processor(s->doc, &field),
		     *config = json_object_get(processor, "ProcessorConfig");
	const char *at = check_at(c, s->at, field);
	check_one_of(c, s->doc, s->at, fields, true);
	if (!check_object(c, processor, at))
		return;
	check_known(c, processor, at, known);
	check_processor_config(s, config, check_at(c, at, "ProcessorConfig"));
	if (str_eqz(json_get_str(config, "Mode"), "DISTRIBUTED")) {
		c->in_distributed = true;
		c->express = c->express || str_eqz(json_get_str(config, "ExecutionType"), "EXPRESS");
		c->variables = NULL;
	}
	check_scope(c, processor, at);
	c->in_distributed = before.in_distributed;
	c->express = before.express;
	c->variables = before.variables;
}

void check_map(struct state_check *s)
{
	static const char *const pairs[][3] = { { "MaxConcurrency", "MaxConcurrencyPath", NULL },
						{ "ToleratedFailureCount", "ToleratedFailureCountPath", NULL },
						{ "ToleratedFailurePercentage", "ToleratedFailurePercentagePath",
						  NULL },
						{ "ItemSelector", "Parameters", NULL } };
	struct check *c = s->c;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++)
		check_one_of(c, s->doc, s->at, pairs[i], false);
	check_number(s, json_object_get(s->doc, "MaxConcurrency"), check_at(c, s->at, "MaxConcurrency"), true, 0,
		     MAX_SECONDS);
	check_number(s, json_object_get(s->doc, "ToleratedFailureCount"), check_at(c, s->at, "ToleratedFailureCount"),
		     true, 0, MAX_SECONDS);
	check_number(s, json_object_get(s->doc, "ToleratedFailurePercentage"),
		     check_at(c, s->at, "ToleratedFailurePercentage"), false, 0, 100);
	check_payload(s, json_object_get(s->doc, "ItemSelector"), check_at(c, s->at, "ItemSelector"));
	const json_t *items = json_object_get(s->doc, "Items");
	if (items && s->jsonata) {
		if (json_is_string(items) ? !asl_expression_of(items).ptr
					  : !json_is_array(items) && !json_is_object(items))
			check_report(c, SCHEMA, check_at(c, s->at, "Items"), "Expected value of type [ARRAY]");
		check_jsonata(s, items, check_at(c, s->at, "Items"));
	}
	check_label(s);
	check_item_reader(s);
	check_item_batcher(s);
	check_result_writer(s);
	check_processor(s);
}

void check_parallel(struct state_check *s)
{
	static const char *const required[] = { "Branches", NULL }, *const known[] = { "StartAt", "States", "Comment",
										       NULL };
	const json_t *branches = json_object_get(s->doc, "Branches");
	json_t *branch;
	size_t i;
	check_required(s->c, s->doc, s->at, required);
	if (!check_array(s->c, branches, check_at(s->c, s->at, "Branches"), false))
		return;
	json_array_foreach (branches, i, branch) {
		const char *at = check_at_index(s->c, s->at, "Branches", i);
		if (!check_object(s->c, branch, at))
			continue;
		check_known(s->c, branch, at, known);
		check_scope(s->c, branch, at);
	}
}
