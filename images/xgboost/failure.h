/* failure.h - how a training job says what went wrong, and its log lines.
 *
 * DESIGN: three kinds of failure, as in the AWS image: the user can mend it, the algorithm is at fault, or the
 * platform is. A fallible function returns a negative int and fills `struct failure`, which is untouched on
 * success. The report goes to /opt/ml/output/failure with the one-line cause first, because SageMaker shows the
 * first 1024 characters of that file as FailureReason. Log lines go to standard output, in order with the metric
 * lines, each flushed. */
#ifndef QUERN_IMAGE_FAILURE_H
#define QUERN_IMAGE_FAILURE_H

enum failure_kind { FAILURE_NONE, FAILURE_USER, FAILURE_ALGORITHM, FAILURE_PLATFORM };

struct failure {
	enum failure_kind kind;
	char *message; /* owned; NULL when kind is FAILURE_NONE */
};
#define FAILURE_INIT ((struct failure){ 0 })

void failure_release(struct failure *f);
/* Each fills `f` and returns -1. A failure that is already set stays: the first cause counts. */
int failure_user(struct failure *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int failure_algorithm(struct failure *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int failure_platform(struct failure *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Takes the last error of libxgboost, without its stack trace and source position. Errors that AWS counts as the
 * customer's become a user failure; the others an algorithm failure with `prefix` in front. Returns -1. */
int failure_xgboost(struct failure *f, const char *prefix);
/* The part of a libxgboost error that a user can read. Returns an owned string. */
char *failure_clean_xgboost_text(const char *raw);

/* "UserError", "AlgorithmError" or "PlatformError". */
const char *failure_name(enum failure_kind kind);
/* Writes `<output_dir>/failure` unless one is there already, and logs it. */
void failure_report(const struct failure *f, const char *output_dir);
/* From now on a crash leaves a failure file in `output_dir` too, and ends the process with 1. */
void failure_watch_crashes(const char *output_dir);
/* Writes the empty file `<output_dir>/success`. */
void failure_report_success(const char *output_dir);

/* Prints `[2026-01-31:23:59:59:INFO] message`. */
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
