/* check.c - what a function may be made of here, and whether a payload is JSON. */
#include <fcntl.h>
#include <unistd.h>

#include "lambda/room.h"

const char *lambda_runtime_kind(struct str runtime)
{
	if (str_starts(runtime, STR("python3.")))
		return "python";
	if (str_starts(runtime, STR("nodejs")) && runtime.len > 6 && runtime.ptr[6] >= '1' && runtime.ptr[6] <= '9')
		return "nodejs";
	if (str_eqz(runtime, "provided.al2") || str_eqz(runtime, "provided.al2023"))
		return "provided";
	return NULL;
}

static int check_runtime(json_t *in, struct error *err)
{
	struct str runtime = json_get_str(in, "Runtime");
	if (!runtime.len)
		return 0;
	const char *kind = lambda_runtime_kind(runtime);
	if (!kind)
		return lambda_invalid(err,
				      "Quern has no runtime %.*s: it runs python3.x, nodejs and provided.al2/al2023",
				      STR_ARG(runtime));
	if (str_eqz(str_from(kind), "nodejs") && access("/usr/bin/node", X_OK) < 0 &&
	    access("/usr/local/bin/node", X_OK) < 0)
		return lambda_invalid(
			err,
			"Runtime %.*s needs `node` in /usr/bin or /usr/local/bin of this machine (apt install nodejs)",
			STR_ARG(runtime));
	return 0;
}

static int check_variables(json_t *in, struct error *err)
{
	static const char *const reserved[] = {
		"_HANDLER",
		"_X_AMZN_TRACE_ID",
		"AWS_DEFAULT_REGION",
		"AWS_REGION",
		"AWS_EXECUTION_ENV",
		"AWS_LAMBDA_FUNCTION_NAME",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
		"AWS_LAMBDA_FUNCTION_VERSION",
		"AWS_LAMBDA_INITIALIZATION_TYPE",
		"AWS_LAMBDA_LOG_GROUP_NAME",
		"AWS_LAMBDA_LOG_STREAM_NAME",
		"AWS_ACCESS_KEY",
		"AWS_ACCESS_KEY_ID",
		"AWS_SECRET_ACCESS_KEY",
		"AWS_SESSION_TOKEN",
		"AWS_LAMBDA_RUNTIME_API",
		"LAMBDA_TASK_ROOT",
		"LAMBDA_RUNTIME_DIR",
	};
	CLEANUP_BUF struct buf used = BUF_INIT;
	json_t *variables = json_get_path(in, "Environment.Variables"), *value;
	const char *key;
	size_t total = 0;
	for (size_t i = 0; i < sizeof(reserved) / sizeof(*reserved); i++)
		if (json_object_get(variables, reserved[i]))
			buf_printf(&used, "%s%s", used.len ? ", " : "", reserved[i]);
	if (used.len)
		return lambda_invalid(err,
				      "Lambda was unable to configure your environment variables because the "
				      "environment variables you have provided "
				      "contains reserved keys that are currently not supported for modification. "
				      "Reserved keys used in this request: %s",
				      used.ptr);
	json_object_foreach (variables, key, value)
		total += strlen(key) + json_string_length(value);
	if (total > 4096)
		return lambda_invalid(err, "Lambda was unable to configure your environment variables because the "
					   "environment variables you have provided "
					   "exceeded the 4KB limit.");
	return 0;
}

static bool filled(json_t *value)
{
	return json_is_string(value)  ? json_string_length(value) > 0
	       : json_is_array(value) ? json_array_size(value) > 0
				      : json_object_size(value) > 0;
}

double lambda_cpus(int64_t memory_mb)
{
	double cpus = (double)memory_mb / 1769;
	return cpus < 0.5 ? 0.5 : cpus;
}

int lambda_check(json_t *in, struct error *err)
{
	static const char *const not_built[] = { "Layers",
						 "FileSystemConfigs",
						 "ImageConfig",
						 "DeadLetterConfig.TargetArn",
						 "VpcConfig.SubnetIds",
						 "VpcConfig.SecurityGroupIds",
						 "KMSKeyArn",
						 "CodeSigningConfigArn",
						 "CapacityProviderConfig",
						 "DurableConfig",
						 "TenancyConfig" };
#if defined(__aarch64__)
	const char *machine = "arm64";
#else
	const char *machine = "x86_64";
#endif
	for (size_t i = 0; i < sizeof(not_built) / sizeof(*not_built); i++)
		if (filled(json_get_path(in, not_built[i])))
			return lambda_invalid(err, "Quern does not support %s of a function yet", not_built[i]);
	if (json_get(in, "PackageType") && !str_eqz(json_get_str(in, "PackageType"), "Zip"))
		return lambda_invalid(err, "Quern runs functions from a zip; PackageType Image is not supported yet");
	if (str_eqz(json_get_str(json_get(in, "SnapStart"), "ApplyOn"), "PublishedVersions"))
		return lambda_invalid(err, "Quern does not support SnapStart");
	json_t *architecture = json_array_get(json_get(in, "Architectures"), 0);
	if (architecture && !str_eqz(json_str(architecture), machine))
		return lambda_invalid(err, "This machine runs %s functions, not %s", machine,
				      json_string_value(architecture));
	if (check_runtime(in, err) < 0)
		return -1;
	return check_variables(in, err);
}

/* ---- JSON ---- */

struct scan {
	const char *p, *end, *why;
	int depth;
};

static void space(struct scan *s)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
		s->p++;
}

static bool fail(struct scan *s, const char *why)
{
	s->why = s->p >= s->end ? "Unexpected end-of-input" : why;
	return false;
}

static bool word(struct scan *s, const char *text)
{
	size_t n = strlen(text);
	if ((size_t)(s->end - s->p) < n || memcmp(s->p, text, n) != 0)
		return fail(s, "Unrecognized token");
	s->p += n;
	return true;
}

static bool digits(struct scan *s)
{
	const char *from = s->p;
	while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
		s->p++;
	return s->p > from || fail(s, "Unexpected character in a number");
}

static bool number(struct scan *s)
{
	if (*s->p == '-')
		s->p++;
	if (s->p < s->end && *s->p == '0')
		s->p++;
	else if (!digits(s))
		return false;
	if (s->p < s->end && *s->p == '.') {
		s->p++;
		if (!digits(s))
			return false;
	}
	if (s->p < s->end && (*s->p == 'e' || *s->p == 'E')) {
		s->p++;
		if (s->p < s->end && (*s->p == '+' || *s->p == '-'))
			s->p++;
		return digits(s);
	}
	return true;
}

static bool string(struct scan *s)
{
	for (s->p++; s->p < s->end; s->p++) {
		unsigned char c = (unsigned char)*s->p;
		if (c == '"') {
			s->p++;
			return true;
		}
		if (c < 0x20)
			return fail(s, "Illegal unquoted character in a string");
		if (c == '\\' && (++s->p >= s->end || !*s->p || !strchr("\"\\/bfnrtu", *s->p)))
			return fail(s, "Unrecognized character escape");
		for (int i = 0; c == '\\' && *s->p == 'u' && i < 4; i++)
			if (s->p + i + 1 >= s->end || hex_digit(s->p[i + 1]) < 0)
				return fail(s,
					    "Unexpected character: expected a hex-digit for character escape sequence");
	}
	return fail(s, "");
}

static bool value(struct scan *s);

static bool container(struct scan *s, char close)
{
	bool first = true;
	if (++s->depth > 1000)
		return fail(s, "The document is nested too deeply");
	for (s->p++;; first = false) {
		space(s);
		if (s->p >= s->end)
			return fail(s, "");
		if (*s->p == close && first)
			break;
		if (close == '}') {
			if (*s->p != '"')
				return fail(s, "Unexpected character: was expecting double-quote to start field name");
			if (!string(s))
				return false;
			space(s);
			if (s->p >= s->end || *s->p != ':')
				return fail(s, "Unexpected character: was expecting a colon");
			s->p++;
		}
		if (!value(s))
			return false;
		space(s);
		if (s->p < s->end && *s->p == close)
			break;
		if (s->p >= s->end || *s->p != ',')
			return fail(s, "Unexpected character: was expecting comma to separate entries");
		s->p++;
	}
	s->p++;
	s->depth--;
	return true;
}

static bool value(struct scan *s)
{
	space(s);
	if (s->p >= s->end)
		return fail(s, "");
	switch (*s->p) {
	case '{':
		return container(s, '}');
	case '[':
		return container(s, ']');
	case '"':
		return string(s);
	case 't':
		return word(s, "true");
	case 'f':
		return word(s, "false");
	case 'n':
		return word(s, "null");
	default:
		return *s->p == '-' || (*s->p >= '0' && *s->p <= '9') ? number(s) : fail(s, "Unrecognized token");
	}
}

bool lambda_json_valid(struct str text, const char **why)
{
	struct scan s = { .p = text.ptr, .end = text.ptr + text.len };
	if (!str_is_utf8(text)) {
		*why = "Invalid UTF-8";
		return false;
	}
	bool good = value(&s);
	space(&s);
	if (good && s.p < s.end) {
		good = false;
		s.why = "Unexpected character after the value";
	}
	*why = s.why;
	return good;
}
