/* failure.c - see failure.h. */
#include "failure.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xgboost/c_api.h>

#include "text.h"

/* What AWS counts as the customer's mistake: its image looks for these parts in the library's error. They are shorter
 * here where the library's versions differ in punctuation. */
static const char *const CUSTOMER_ERRORS[] = {
	"label must be in [0,1] for logistic regression",    "label must be in [0, num_class)",
	"Target is multiclass but average='binary'",         "feature_names mismatch",
	"Check failed: preds.size() == info.labels_.size()", "AUC: the dataset only contains pos or neg samples",
	"base_score must be in (0,1) for logistic loss",     "PoissonRegression: label must be nonnegative",
	"TweedieRegression: label must be nonnegative",      "Parameter reg_lambda should be greater equal to 0",
};

static void log_line(const char *level, const char *fmt, va_list ap)
{
	char stamp[40];
	time_t now = time(NULL);
	struct tm tm;
	gmtime_r(&now, &tm);
	strftime(stamp, sizeof stamp, "%Y-%m-%d:%H:%M:%S", &tm);
	printf("[%s:%s] ", stamp, level);
	vprintf(fmt, ap);
	putchar('\n');
	fflush(stdout);
}

#define LOG_FUNCTION(name, level)                                                                                      \
	void name(const char *fmt, ...)                                                                                \
	{                                                                                                              \
		va_list ap;                                                                                            \
		va_start(ap, fmt);                                                                                     \
		log_line(level, fmt, ap);                                                                              \
		va_end(ap);                                                                                            \
	}
LOG_FUNCTION(log_info, "INFO")
LOG_FUNCTION(log_warning, "WARNING")
LOG_FUNCTION(log_error, "ERROR")

static int set_failure(struct failure *f, enum failure_kind kind, const char *fmt, va_list ap)
{
	if (f->kind != FAILURE_NONE)
		return -1;
	f->kind = kind;
	if (vasprintf(&f->message, fmt, ap) < 0)
		mem_need(NULL);
	return -1;
}

#define FAILURE_FUNCTION(name, kind)                                                                                   \
	int name(struct failure *f, const char *fmt, ...)                                                              \
	{                                                                                                              \
		va_list ap;                                                                                            \
		va_start(ap, fmt);                                                                                     \
		int r = set_failure(f, kind, fmt, ap);                                                                 \
		va_end(ap);                                                                                            \
		return r;                                                                                              \
	}
FAILURE_FUNCTION(failure_user, FAILURE_USER)
FAILURE_FUNCTION(failure_algorithm, FAILURE_ALGORITHM)
FAILURE_FUNCTION(failure_platform, FAILURE_PLATFORM)

void failure_release(struct failure *f)
{
	free(f->message);
	*f = FAILURE_INIT;
}

/* The library writes `[12:00:00] ./src/file.cc:10: what happened`; position and stack mean nothing to a user. */
static const char *skip_position(const char *s)
{
	if (*s != '[')
		return s;
	const char *close = strchr(s, ']');
	if (!close || close - s != 9 || close[1] != ' ')
		return s;
	const char *line_end = strchrnul(close, '\n');
	for (const char *p = close + 2; p < line_end && *p != ' '; p++)
		if (*p == ':' && p[1] == ' ')
			return p + 2;
	return close + 2;
}

char *failure_clean_xgboost_text(const char *raw)
{
	struct text out = TEXT_INIT;
	const char *end = strstr(raw, "Stack trace:");
	if (!end)
		end = raw + strlen(raw);
	for (const char *line = raw; line < end; line++) {
		/* An error within an error has a position of its own. */
		for (const char *rest; (rest = skip_position(line)) != line && rest <= end;)
			line = rest;
		size_t n = strcspn(line, "\n");
		if (line + n > end)
			n = (size_t)(end - line);
		text_add_bytes(&out, line, n);
		text_add(&out, "\n");
		line += n;
	}
	while (out.len && strchr(" \n\r\t", out.ptr[out.len - 1]))
		out.ptr[--out.len] = 0;
	return text_take(&out);
}

int failure_xgboost(struct failure *f, const char *prefix)
{
	CLEANUP_FREE char *text = failure_clean_xgboost_text(XGBGetLastError());
	for (size_t i = 0; i < sizeof CUSTOMER_ERRORS / sizeof *CUSTOMER_ERRORS; i++)
		if (strstr(text, CUSTOMER_ERRORS[i]))
			return failure_user(f, "%s", text);
	return failure_algorithm(f, "%s:\n %s", prefix, text);
}

const char *failure_name(enum failure_kind kind)
{
	switch (kind) {
	case FAILURE_USER:
		return "UserError";
	case FAILURE_PLATFORM:
		return "PlatformError";
	default:
		return "AlgorithmError";
	}
}

static FILE *create_output(const char *output_dir, const char *name, bool only_new)
{
	CLEANUP_TEXT struct text path = TEXT_INIT;
	text_printf(&path, "%s/%s", output_dir, name);
	mkdir(output_dir, 0777);
	FILE *out = fopen(text_cstr(&path), only_new ? "wx" : "w");
	if (!out && errno != EEXIST)
		log_error("open `%s` for writing: %s", text_cstr(&path), strerror(errno));
	return out;
}

/* What the handler needs is made before: it may do little more than open and write. */
static char *crash_path;

static void report_crash(int signo)
{
	static const char TEXT[] =
		"AlgorithmError: the trainer crashed; memory may have been short, or a hyperparameter "
		"or a row of data is one that libxgboost can't take\n";
	int fd = open(crash_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd >= 0) {
		if (write(fd, TEXT, sizeof TEXT - 1) < 0 || close(fd) < 0)
			_exit(1);
	}
	if (write(STDOUT_FILENO, TEXT, sizeof TEXT - 1) < 0)
		_exit(1);
	_exit(1);
}

void failure_watch_crashes(const char *output_dir)
{
	static const int SIGNALS[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
	static char stack[65536];
	CLEANUP_TEXT struct text path = TEXT_INIT;
	text_printf(&path, "%s/failure", output_dir);
	free(crash_path);
	crash_path = text_take(&path);
	stack_t alternative = { .ss_sp = stack, .ss_size = sizeof stack };
	sigaltstack(&alternative, NULL);
	for (size_t i = 0; i < sizeof SIGNALS / sizeof *SIGNALS; i++) {
		struct sigaction action = { .sa_handler = report_crash, .sa_flags = SA_ONSTACK };
		sigaction(SIGNALS[i], &action, NULL);
	}
}

void failure_report(const struct failure *f, const char *output_dir)
{
	FILE *out = create_output(output_dir, "failure", true);
	if (out) {
		fprintf(out, "%s: %s\n", failure_name(f->kind), f->message);
		fclose(out);
	}
	log_error("Reporting training FAILURE");
	log_error("%s: %s", failure_name(f->kind), f->message);
}

void failure_report_success(const char *output_dir)
{
	log_info("Reporting training SUCCESS");
	FILE *out = create_output(output_dir, "success", false);
	if (out)
		fclose(out);
}
