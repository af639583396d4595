/* values.c - fields of a state that are numbers or times, in their three spellings; timestamps; see asl.h.
 *
 * DESIGN: the texts are the service's, one wording for each field family. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/json.h"
#include "states/asl_impl.h"

/* ---- timestamps ---- */

static int digits(struct str s, size_t at, size_t n)
{
	int value = 0;
	if (at + n > s.len)
		return -1;
	for (size_t i = at; i < at + n; i++) {
		if (!isdigit((unsigned char)s.ptr[i]))
			return -1;
		value = value * 10 + (s.ptr[i] - '0');
	}
	return value;
}

static bool is_date(int year, int month, int day)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	return year >= 0 && month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1] + (leap && month == 2);
}

/* Days since 1970-01-01 of the proleptic Gregorian calendar. */
static int64_t days_of(int64_t year, int month, int day)
{
	year -= month <= 2;
	int64_t era = (year >= 0 ? year : year - 399) / 400, of_era = year - era * 400;
	int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* "Z" or "+01:00" at `at`, which must end the text. */
static bool parse_zone(struct str s, size_t at, int *offset_seconds)
{
	*offset_seconds = 0;
	if (at + 1 == s.len && s.ptr[at] == 'Z')
		return true;
	int hours = digits(s, at + 1, 2), minutes = digits(s, at + 4, 2);
	if (at + 6 != s.len || (s.ptr[at] != '+' && s.ptr[at] != '-') || s.ptr[at + 3] != ':' || hours < 0 ||
	    hours > 18 || minutes < 0 || minutes > 59)
		return false;
	*offset_seconds = (hours * 3600 + minutes * 60) * (s.ptr[at] == '-' ? -1 : 1);
	return true;
}

bool asl_timestamp_exact(struct str s, int64_t *seconds, int *nanoseconds)
{
	int year = digits(s, 0, 4), month = digits(s, 5, 2), day = digits(s, 8, 2);
	int hour = digits(s, 11, 2), minute = digits(s, 14, 2), second = digits(s, 17, 2), offset;
	size_t at = 19;
	if (s.len < 20 || s.ptr[4] != '-' || s.ptr[7] != '-' || s.ptr[10] != 'T' || s.ptr[13] != ':' ||
	    s.ptr[16] != ':')
		return false;
	if (!is_date(year, month, day) || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 ||
	    second > 59)
		return false;
	*nanoseconds = 0;
	if (s.ptr[at] == '.') {
		int scale = 100000000;
		size_t start = ++at;
		for (; at < s.len && isdigit((unsigned char)s.ptr[at]); at++, scale /= 10)
			*nanoseconds += (s.ptr[at] - '0') * scale;
		if (at == start || at - start > 9)
			return false;
	}
	if (!parse_zone(s, at, &offset))
		return false;
	*seconds = days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset;
	return true;
}

bool asl_timestamp(struct str text, int64_t *ms)
{
	int64_t seconds;
	int nanoseconds;
	if (!asl_timestamp_exact(text, &seconds, &nanoseconds))
		return false;
	*ms = seconds * 1000 + nanoseconds / 1000000;
	return true;
}

/* ---- numbers ---- */

/* A value as fault texts show it: text without quotes. */
static struct str shown(struct arena *a, const json_t *v)
{
	return json_is_string(v) ? json_str(v) : asl_text(a, v);
}

/* The number a value, or the text of a number, stands for. */
static bool number_of(const json_t *v, bool integer, double *out)
{
	int64_t whole;
	if (json_is_string(v)) {
		if (!integer)
			return str_to_double(json_str(v), out);
		if (!str_to_i64(json_str(v), &whole))
			return false;
		*out = (double)whole;
		return true;
	}
	*out = json_number_value(v);
	return json_is_integer(v) || (!integer && json_is_real(v));
}

static int number_at_path(struct asl_env *env, const json_t *doc, const char *field, bool integer, double *out,
			  struct asl_fault *f)
{
	CLEANUP_JSON json_t *value = NULL;
	int rc = asl_path_field(env, doc, field, true, &value, f);
	if (rc != ASL_OK)
		return rc;
	if (number_of(value, integer, out))
		return ASL_OK;
	return asl_fault_set(f, "States.Runtime", "The %s field refers to value \"%.*s\" which is not a valid %s: %s",
			     field, STR_ARG(shown(env->arena, value)), integer ? "integer" : "float",
			     json_get_text(doc, field));
}

int asl_number(struct asl_env *env, const json_t *doc, const char *field, bool jsonata, bool integer, bool *present,
	       double *out, struct asl_fault *f)
{
	CLEANUP_JSON json_t *value = NULL;
	const char *path = arena_printf(env->arena, "%sPath", field);
	json_t *literal = json_object_get(doc, field);
	*present = true;
	if (literal) {
		int rc = jsonata ? asl_jsonata_typed(env, literal, field, "number", &value, f) : ASL_OK;
		if (rc != ASL_OK)
			return rc;
		*out = json_number_value(value ? value : literal);
		if (!integer || *out == floor(*out))
			return ASL_OK;
		return asl_fault_set(f, jsonata ? "States.QueryEvaluationError" : "States.Runtime",
				     "The %s field must be an integer but was: %.*s", field,
				     STR_ARG(asl_text(env->arena, value ? value : literal)));
	}
	if (!jsonata && json_object_get(doc, path))
		return number_at_path(env, doc, path, integer, out, f);
	*present = false;
	return ASL_OK;
}

/* ---- Wait ---- */

/* The longest wait: 2^31-1 seconds. */
static int wait_from(int64_t now_ms, int64_t until_ms, int64_t *out, struct asl_fault *f)
{
	if (until_ms > now_ms && (until_ms - now_ms) / 1000 > INT32_MAX)
		return asl_fault_set(f, "States.Runtime", "Wait state delay is too long.");
	*out = until_ms;
	return ASL_OK;
}

static int wait_seconds(double seconds, int64_t now_ms, int64_t *out, struct asl_fault *f)
{
	if (seconds > INT32_MAX)
		return asl_fault_set(f, "States.Runtime", "Wait state delay is too long.");
	*out = now_ms + (int64_t)(seconds * 1000);
	return ASL_OK;
}

static int seconds_path(struct asl_env *env, const json_t *doc, int64_t now_ms, int64_t *out, struct asl_fault *f)
{
	CLEANUP_JSON json_t *value = NULL;
	const char *path = json_get_text(doc, "SecondsPath");
	struct asl_fault missing = ASL_FAULT_INIT;
	int64_t whole;
	int rc = asl_path_field(env, doc, "SecondsPath", true, &value, &missing);
	asl_fault_release(&missing);
	bool text = json_is_string(value) && str_to_i64(json_str(value), &whole);
	if (rc != ASL_OK || !(json_is_number(value) || text))
		return asl_fault_set(f, "States.Runtime",
				     "The SecondsPath parameter does not reference an input value: %s", path);
	if (json_is_real(value))
		return asl_fault_set(f, "States.Runtime",
				     "The SecondsPath parameter cannot be parsed as a long value: %s == %.*s", path,
				     STR_ARG(asl_text(env->arena, value)));
	if (!text)
		whole = json_integer_value(value);
	if (whole < 0)
		return asl_fault_set(f, "States.Runtime",
				     "The SecondsPath parameter references a negative value: %s == %lld", path,
				     (long long)whole);
	return wait_seconds((double)whole, now_ms, out, f);
}

static int timestamp_path(struct asl_env *env, const json_t *doc, int64_t now_ms, int64_t *out, struct asl_fault *f)
{
	CLEANUP_JSON json_t *value = NULL;
	const char *path = json_get_text(doc, "TimestampPath");
	struct asl_fault missing = ASL_FAULT_INIT;
	int64_t until;
	int rc = asl_path_field(env, doc, "TimestampPath", true, &value, &missing);
	asl_fault_release(&missing);
	if (rc != ASL_OK)
		return asl_fault_set(f, "States.Runtime",
				     "The TimestampPath parameter does not reference an input value: %s", path);
	if (!json_is_string(value) || !asl_timestamp(json_str(value), &until))
		return asl_fault_set(f, "States.Runtime",
				     "The TimestampPath parameter does not reference a valid ISO-8601 extended offset "
				     "date-time format string: %s == %.*s",
				     path, STR_ARG(shown(env->arena, value)));
	return wait_from(now_ms, until, out, f);
}

static int located(struct asl_fault *f, const char *field)
{
	f->location = mem_strdup(field);
	return ASL_FAULT;
}

static int timestamp_field(struct asl_env *env, const json_t *doc, bool jsonata, int64_t now_ms, int64_t *out,
			   struct asl_fault *f)
{
	CLEANUP_JSON json_t *value = NULL;
	int64_t until;
	json_t *literal = json_object_get(doc, "Timestamp");
	int rc = jsonata ? asl_jsonata_typed(env, literal, "Timestamp", "string", &value, f) : ASL_OK;
	if (rc != ASL_OK)
		return rc;
	struct str text = json_str(value ? value : literal);
	if (asl_timestamp(text, &until))
		return wait_from(now_ms, until, out, f);
	asl_fault_set(
		f, "States.QueryEvaluationError",
		"The Timestamp field cannot be parsed as an ISO-8601 extended offset date-time format string: %.*s",
		STR_ARG(text));
	return located(f, "Timestamp");
}

static int seconds_field(struct asl_env *env, const json_t *doc, bool jsonata, int64_t now_ms, int64_t *out,
			 struct asl_fault *f)
{
	CLEANUP_JSON json_t *value = NULL;
	json_t *literal = json_object_get(doc, "Seconds");
	int rc = jsonata ? asl_jsonata_typed(env, literal, "Seconds", "number", &value, f) : ASL_OK;
	if (rc != ASL_OK)
		return rc;
	double seconds = json_number_value(value ? value : literal);
	struct str text = asl_text(env->arena, value ? value : literal);
	if (seconds != floor(seconds)) {
		asl_fault_set(f, "States.QueryEvaluationError",
			      "The Seconds parameter cannot be parsed as a long value: %.*s", STR_ARG(text));
		return located(f, "Seconds");
	}
	if (seconds < 0) {
		asl_fault_set(f, "States.QueryEvaluationError",
			      "The Seconds parameter references a negative value: %.*s", STR_ARG(text));
		return located(f, "Seconds");
	}
	return wait_seconds(seconds, now_ms, out, f);
}

int asl_wait_until(struct asl_env *env, const json_t *doc, bool jsonata, int64_t now_ms, int64_t *until_ms,
		   struct asl_fault *f)
{
	if (json_object_get(doc, "SecondsPath"))
		return seconds_path(env, doc, now_ms, until_ms, f);
	if (json_object_get(doc, "TimestampPath"))
		return timestamp_path(env, doc, now_ms, until_ms, f);
	if (json_object_get(doc, "Timestamp"))
		return timestamp_field(env, doc, jsonata, now_ms, until_ms, f);
	return seconds_field(env, doc, jsonata, now_ms, until_ms, f);
}
