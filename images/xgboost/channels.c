/* channels.c - see channels.h. */
#include "channels.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "text.h"

static const struct {
	const char *name;
	enum content_type type;
} CONTENT_TYPES[] = {
	{ "csv", CONTENT_CSV },
	{ "libsvm", CONTENT_LIBSVM },
	{ "parquet", CONTENT_PARQUET },
	{ "recordio-protobuf", CONTENT_RECORDIO },
	{ "text/csv", CONTENT_CSV },
	{ "text/libsvm", CONTENT_LIBSVM },
	{ "text/x-libsvm", CONTENT_LIBSVM },
	{ "application/x-parquet", CONTENT_PARQUET },
	{ "application/x-recordio-protobuf", CONTENT_RECORDIO },
};
#define CONTENT_TYPE_COUNT (sizeof CONTENT_TYPES / sizeof *CONTENT_TYPES)

/* The part of `s` before its first ';', without blanks around. */
static size_t media_type(const char **s)
{
	while (isspace((unsigned char)**s))
		(*s)++;
	size_t n = strcspn(*s, ";");
	while (n && isspace((unsigned char)(*s)[n - 1]))
		n--;
	return n;
}

static int find_content_type(const char *s, enum content_type *out)
{
	size_t n = media_type(&s);
	for (size_t i = 0; i < CONTENT_TYPE_COUNT; i++) {
		if (strlen(CONTENT_TYPES[i].name) == n && strncasecmp(CONTENT_TYPES[i].name, s, n) == 0) {
			*out = CONTENT_TYPES[i].type;
			return 0;
		}
	}
	return -1;
}

/* The only parameter that matters: label_size of CSV has to be 1 when it is given. */
static bool label_size_is_one(const char *s)
{
	for (const char *p = strchr(s, ';'); p; p = strchr(p, ';')) {
		p++;
		while (isspace((unsigned char)*p))
			p++;
		if (strncasecmp(p, "label_size", 10) != 0)
			continue;
		p += 10;
		while (isspace((unsigned char)*p) || *p == '=' || *p == '"')
			p++;
		return p[0] == '1' && !isdigit((unsigned char)p[1]);
	}
	return true;
}

int content_type_parse(const char *s, enum content_type *out, struct failure *fail)
{
	*out = CONTENT_LIBSVM;
	if (!s)
		return 0;
	if (find_content_type(s, out) < 0) {
		CLEANUP_TEXT struct text known = TEXT_INIT;
		for (size_t i = 0; i < CONTENT_TYPE_COUNT; i++)
			text_printf(&known, "%s%s", i ? ", " : "", CONTENT_TYPES[i].name);
		return failure_user(fail, "%s is not an accepted ContentType: %s.", s, text_cstr(&known));
	}
	if (*out == CONTENT_CSV && !label_size_is_one(s))
		return failure_user(
			fail,
			"%s is not an accepted csv ContentType. Optional parameter label_size must be equal "
			"to 1",
			s);
	return 0;
}

static const char *member(const json_t *channel, const char *name, const char *otherwise)
{
	const char *s = json_string_value(json_object_get(channel, name));
	return s ? s : otherwise;
}

static int unsupported_channel(const char *name, const json_t *channel, struct failure *fail)
{
	CLEANUP_TEXT struct text shown = TEXT_INIT;
	text_add_pyjson(&shown, channel);
	return failure_user(fail, "Channel configuration for '%s' channel is not supported: %s", name,
			    text_cstr(&shown));
}

static int check_pipe(const char *name, const json_t *channel, enum content_type type, struct failure *fail)
{
	static const char *const NAMES[] = {
		[CONTENT_CSV] = "CSV", [CONTENT_PARQUET] = "Parquet", [CONTENT_RECORDIO] = "RecordIO-Protobuf"
	};
	if (type == CONTENT_LIBSVM)
		return unsupported_channel(name, channel, fail);
	return failure_user(fail,
			    "Pipe mode for %s is no longer supported. Please use Fast File mode (default) instead. Set "
			    "input_mode='File' in your SageMaker Estimator or TrainingInput.",
			    NAMES[type]);
}

static int check_data_channel(const char *name, const json_t *channel, enum content_type *type, struct failure *fail)
{
	if (content_type_parse(member(channel, "ContentType", NULL), type, fail) < 0)
		return -1;
	const char *mode = member(channel, "TrainingInputMode", "File");
	const char *distribution = member(channel, "S3DistributionType", "FullyReplicated");
	if (strcmp(distribution, "FullyReplicated") != 0 && strcmp(distribution, "ShardedByS3Key") != 0)
		return unsupported_channel(name, channel, fail);
	if (strcmp(mode, "Pipe") == 0)
		return check_pipe(name, channel, *type, fail);
	if (strcmp(mode, "File") != 0 && strcmp(mode, "FastFile") != 0)
		return unsupported_channel(name, channel, fail);
	if (*type == CONTENT_PARQUET || *type == CONTENT_RECORDIO)
		return failure_algorithm(fail,
					 "ContentType %s of channel '%s' is not supported by this image; use text/csv "
					 "or text/libsvm",
					 member(channel, "ContentType", ""), name);
	return 0;
}

int channels_check(const json_t *config, struct channels *out, struct failure *fail)
{
	*out = (struct channels){ 0 };
	if (!json_object_get(config, "train"))
		return failure_user(fail, "Missing required channel: train");
	const char *name;
	json_t *channel;
	json_object_foreach ((json_t *)config, name, channel) {
		enum content_type type;
		bool train = strcmp(name, "train") == 0;
		bool validation = strcmp(name, "validation") == 0;
		if (strcmp(name, "code") == 0)
			continue;
		if (!train && !validation)
			return failure_user(fail, "Extraneous channel found: %s", name);
		if (check_data_channel(name, channel, &type, fail) < 0)
			return -1;
		if (train)
			out->content_type = type;
		out->has_validation = out->has_validation || validation;
	}
	return 0;
}
