/* booster.c - see booster.h. */
#include "booster.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "text.h"

#define TRAIN_CALL "XGB train call failed with exception"

int model_format_from_env(enum model_format *out, struct failure *fail)
{
	static const char *const NAMES[] = { "binary", "json", "ubj", "pickle" };
	const char *s = getenv("QUERN_XGBOOST_MODEL_FORMAT");
	*out = MODEL_BINARY;
	if (!s || !*s)
		return 0;
	for (unsigned i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
		if (strcmp(s, NAMES[i]) == 0) {
			*out = (enum model_format)i;
			return 0;
		}
	}
	return failure_platform(fail, "QUERN_XGBOOST_MODEL_FORMAT is `%s`, not binary, json, ubj or pickle", s);
}

/* The binary format is the contract, so the library's advice against it is dropped. */
static void log_library_message(const char *message)
{
	if (strstr(message, "deprecated binary model format"))
		return;
	fputs(message, stdout);
	putchar('\n');
	fflush(stdout);
}

void booster_log_to_stdout(void)
{
	XGBRegisterLogCallback(log_library_message);
}

/* ---- making one ---- */

static const char *threads_from_env(void)
{
	static const char *const NAMES[] = { "OMP_NUM_THREADS", "SM_NUM_CPUS" };
	for (unsigned i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
		const char *s = getenv(NAMES[i]);
		if (s && atoi(s) > 0)
			return s;
	}
	return NULL;
}

static int set_parameters(BoosterHandle b, const struct booster_setup *s)
{
	const struct hyperparameters *h = s->hyperparameters;
	const char *threads = threads_from_env();
	if (threads && !hyperparameters_find(h, "nthread") && XGBoosterSetParam(b, "nthread", threads) != 0)
		return -1;
	for (size_t i = 0; i < h->count; i++) {
		const struct hyperparameter *v = &h->values[i];
		if (hyperparameter_is_for_library(v) && XGBoosterSetParam(b, hyperparameter_name(v), v->text) != 0)
			return -1;
	}
	if (XGBoosterSetParam(b, "validate_parameters", "1") != 0)
		return -1;
	for (size_t i = 0; i < s->native_metric_count; i++)
		if (XGBoosterSetParam(b, "eval_metric", s->native_metrics[i]) != 0)
			return -1;
	return 0;
}

int booster_create(const struct booster_setup *s, BoosterHandle *out, struct failure *fail)
{
	DMatrixHandle matrices[] = { s->train->handle, s->validation ? s->validation->handle : NULL };
	BoosterHandle b;
	if (XGBoosterCreate(matrices, s->validation ? 2 : 1, &b) != 0)
		return failure_xgboost(fail, TRAIN_CALL);
	if ((s->resume_from && XGBoosterLoadModel(b, s->resume_from) != 0) || set_parameters(b, s) < 0) {
		failure_xgboost(fail, TRAIN_CALL);
		XGBoosterFree(b);
		return -1;
	}
	*out = b;
	return 0;
}

int booster_predict(BoosterHandle b, const struct matrix *m, bool margin, struct predictions *out, struct failure *fail)
{
	const bst_ulong *shape;
	bst_ulong dimensions;
	char config[160];
	snprintf(config, sizeof config,
		 "{\"type\": %d, \"training\": false, \"iteration_begin\": 0, \"iteration_end\": 0, "
		 "\"strict_shape\": false}",
		 margin ? 1 : 0);
	if (XGBoosterPredictFromDMatrix(b, m->handle, config, &shape, &dimensions, &out->values) != 0)
		return failure_xgboost(fail, TRAIN_CALL);
	out->rows = dimensions > 0 ? shape[0] : 0;
	out->columns = 1;
	for (bst_ulong i = 1; i < dimensions; i++)
		out->columns *= shape[i];
	return 0;
}

/* ---- files ---- */

int directory_make(const char *path, struct failure *fail)
{
	CLEANUP_FREE char *copy = mem_dup(path);
	for (char *p = copy + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = 0;
		mkdir(copy, 0777);
		*p = '/';
	}
	if (mkdir(copy, 0777) < 0 && errno != EEXIST)
		return failure_platform(fail, "create directory `%s`: %s", path, strerror(errno));
	return 0;
}

static void write_length(FILE *out, char opcode, uint64_t n, int bytes)
{
	putc(opcode, out);
	for (int i = 0; i < bytes; i++)
		putc((int)(n >> (8 * i) & 0xff), out);
}

static void write_key(FILE *out, const char *key)
{
	write_length(out, 'X', strlen(key), 4);
	fputs(key, out);
}

static uint32_t best_attribute(BoosterHandle b, const char *name)
{
	const char *value;
	int found = 0;
	if (XGBoosterGetAttr(b, name, &value, &found) != 0 || !found)
		return 0;
	return (uint32_t)strtoul(value, NULL, 10);
}

/* Pickle protocol 4 of an xgboost.core.Booster whose state is its handle, as bytes, and the two numbers that the Python
 * package keeps beside it:
 *   Booster.__new__(Booster), then __setstate__({'handle': bytearray(b'...'), 'best_iteration': n, ...}) */
static void write_pickle(FILE *out, BoosterHandle b, const char *bytes, uint64_t n)
{
	fputs("\x80\x04"
	      "cxgboost.core\nBooster\n"
	      ")\x81}(",
	      out);
	write_key(out, "handle");
	fputs("cbuiltins\nbytearray\n", out);
	write_length(out, (char)0x8e, n, 8);
	fwrite(bytes, 1, n, out);
	fputs("\x85R", out);
	write_key(out, "best_iteration");
	write_length(out, 'J', best_attribute(b, "best_iteration"), 4);
	write_key(out, "best_ntree_limit");
	write_length(out, 'J', best_attribute(b, "best_ntree_limit"), 4);
	fputs("ub.", out);
}

static int save_pickle(BoosterHandle b, const char *path, struct failure *fail)
{
	bst_ulong n;
	const char *bytes;
	if (XGBoosterSerializeToBuffer(b, &n, &bytes) != 0)
		return failure_xgboost(fail, "XGBoost can't serialize the model");
	FILE *out = fopen(path, "wb");
	if (!out)
		return failure_platform(fail, "open `%s` for writing: %s", path, strerror(errno));
	write_pickle(out, b, bytes, n);
	bool bad = ferror(out) != 0;
	if (fclose(out) != 0 || bad)
		return failure_platform(fail, "write `%s`: %s", path, strerror(errno));
	return 0;
}

int booster_save(BoosterHandle b, const char *dir, const char *name, enum model_format format, struct failure *fail)
{
	/* The library picks the format by the file's ending. */
	static const char *const ENDINGS[] = { "sagemaker-ignore", "json", "ubj", "sagemaker-ignore" };
	CLEANUP_TEXT struct text place = TEXT_INIT, beside = TEXT_INIT;
	text_printf(&place, "%s/%s", dir, name);
	text_printf(&beside, "%s/.%s.new.%s", dir, name, ENDINGS[format]);
	if (directory_make(dir, fail) < 0)
		return -1;
	if (format == MODEL_PICKLE) {
		if (save_pickle(b, text_cstr(&beside), fail) < 0)
			return -1;
	} else if (XGBoosterSaveModel(b, text_cstr(&beside)) != 0) {
		return failure_xgboost(fail, "XGBoost can't save the model");
	}
	if (rename(text_cstr(&beside), text_cstr(&place)) < 0)
		return failure_platform(fail, "rename `%s` to `%s`: %s", text_cstr(&beside), text_cstr(&place),
					strerror(errno));
	return 0;
}
