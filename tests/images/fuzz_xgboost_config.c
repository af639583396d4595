/* fuzz_xgboost_config.c - fuzz target: what a request or a data file can make the trainer parse.
 *
 * DESIGN: the first byte picks the parser; the rest is its input: a text, or choices from a grammar of hyperparameters
 * and channels that hits the rules between them. A parse either succeeds or fills the failure; what was taken is taken
 * again, and as JSON within the string; nothing may crash, leak or run away. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "channels.h"
#include "data.h"
#include "failure.h"
#include "hyperparameters.h"
#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static json_t *as_json(const struct hyperparameters *h, bool encoded)
{
	json_t *out = json_object();
	for (size_t i = 0; i < h->count; i++) {
		json_t *text = json_string(h->values[i].text);
		char *inner = text ? json_dumps(text, JSON_ENCODE_ANY) : NULL;
		if (text)
			json_object_set_new(out, hyperparameter_name(&h->values[i]),
					    encoded ? json_string(inner) : json_incref(text));
		free(inner);
		json_decref(text);
	}
	return out;
}

/* What was taken, written as it is told to libxgboost, is taken again and stays as it is. */
static void hold(const struct hyperparameters *h, bool encoded)
{
	struct hyperparameters again = HYPERPARAMETERS_INIT;
	struct failure fail = FAILURE_INIT;
	json_t *v = as_json(h, encoded);
	if (hyperparameters_parse(v, &again, &fail) < 0 || again.count != h->count)
		abort();
	for (size_t i = 0; i < h->count; i++) {
		const char *name = hyperparameter_name(&h->values[i]);
		if (strcmp(hyperparameters_text(&again, name, ""), h->values[i].text) != 0 ||
		    hyperparameters_integer(&again, name, -7) != h->values[i].integer)
			abort();
		for (size_t k = 0; k < h->values[i].item_count; k++)
			metric_is_maximized(h->values[i].items[k]);
	}
	hyperparameters_release(&again);
	failure_release(&fail);
	json_decref(v);
}

static void parse(const json_t *v)
{
	struct hyperparameters h = HYPERPARAMETERS_INIT;
	struct failure fail = FAILURE_INIT;
	int rc = hyperparameters_parse(v, &h, &fail);
	if (rc < 0 ? !fail.message : fail.message || !hyperparameters_find(&h, "num_round"))
		abort();
	if (rc == 0) {
		hold(&h, false);
		hold(&h, true);
	}
	hyperparameters_release(&h);
	failure_release(&fail);
}

static void fuzz_hyperparameters(const char *s, size_t n)
{
	json_t *v = json_loadb(s, n, 0, NULL);
	if (json_is_object(v))
		parse(v);
	json_decref(v);
}

/* One hyperparameter's text, so that the fuzzer need not learn JSON. */
static void fuzz_value(const char *s)
{
	static const char *const NAMES[] = { "eta",
					     "max_depth",
					     "eval_metric",
					     "monotone_constraints",
					     "interaction_constraints",
					     "updater",
					     "_tuning_objective_metric" };
	const char *name = NAMES[(unsigned char)s[0] % (sizeof NAMES / sizeof *NAMES)];
	json_t *v = json_pack("{s:s, s:s, s:o}", "num_round", "1", "tree_method", "hist", name,
			      json_stringn_nocheck(s, strlen(s)));
	if (v)
		parse(v);
	json_decref(v);
}

static void fuzz_channels(const char *s, size_t n)
{
	struct channels c;
	struct failure fail = FAILURE_INIT;
	json_t *v = json_loadb(s, n, 0, NULL);
	if (json_is_object(v) && channels_check(v, &c, &fail) < 0 && !fail.message)
		abort();
	failure_release(&fail);
	json_decref(v);
}

/* ---- the grammar ---- */

struct choices {
	const uint8_t *at, *end;
};

static unsigned pick(struct choices *c, unsigned n)
{
	return c->at < c->end ? *c->at++ % n : 0;
}

#define ONE_OF(c, list) (list)[pick(c, sizeof(list) / sizeof *(list))]

static const char *const CHOSEN[] = { "booster",
				      "tree_method",
				      "updater",
				      "process_type",
				      "objective",
				      "eval_metric",
				      "num_class",
				      "monotone_constraints",
				      "interaction_constraints",
				      "grow_policy",
				      "predictor",
				      "sampling_method",
				      "dsplit",
				      "sample_type",
				      "normalize_type",
				      "_tuning_objective_metric",
				      "save_model_on_termination",
				      "aft_loss_distribution" };
static const char *const NUMBERS[] = { "csv_weights",       "early_stopping_rounds",
				       "verbosity",         "eta",
				       "learning_rate",     "gamma",
				       "min_split_loss",    "max_depth",
				       "subsample",         "lambda",
				       "reg_lambda",        "alpha",
				       "sketch_eps",        "scale_pos_weight",
				       "refresh_leaf",      "max_leaves",
				       "max_bin",           "rate_drop",
				       "one_drop",          "tweedie_variance_power",
				       "base_score",        "_kfold",
				       "_num_cv_round",     "seed",
				       "num_parallel_tree", "prob_buffer_row",
				       "nthread",           "none_such" };
static const char *const WORDS[] = { "gbtree",
				     "gblinear",
				     "dart",
				     "auto",
				     "exact",
				     "approx",
				     "hist",
				     "gpu_hist",
				     "grow_colmaker",
				     "distcol,prune",
				     "grow_histmaker,grow_colmaker",
				     "shotgun",
				     "coord_descent",
				     "refresh",
				     "sync,refresh,prune",
				     "update",
				     "default",
				     "reg:squarederror",
				     "multi:softprob",
				     "multi:softmax",
				     "binary:logistic",
				     "rank:ndcg",
				     "survival:aft",
				     "auc",
				     "auc,error",
				     "error@0.7",
				     "ndcg@x",
				     "map@3,auc",
				     "rmse@1",
				     "aft-nloglik",
				     "accuracy,,f1",
				     "<function f at 0x1>",
				     "validation:auc",
				     "validation:none",
				     "(1,-1,0)",
				     "[1, 2]",
				     "(1,",
				     "[[1,2],[3]]",
				     "((1),(2,))",
				     "[[0]]",
				     "true",
				     "false",
				     "row",
				     "uniform",
				     "logistic",
				     "3",
				     "" };
static const char *const FIGURES[] = { "0",
				       "1",
				       "2",
				       "-1",
				       "0.5",
				       "1e-9",
				       "1e999",
				       "nan",
				       "-inf",
				       "1.0",
				       " 7 ",
				       "1_000",
				       "1__0",
				       "0x1p3",
				       "2147483647",
				       "-2147483648",
				       "9223372036854775807",
				       "9223372036854775808",
				       "+5",
				       "",
				       "5 5",
				       "\"3\"" };

static json_t *shaped(struct choices *c, const char *text)
{
	double number = strtod(text, NULL);
	switch (pick(c, 8)) {
	case 0:
		return json_sprintf("\"%s\"", text);
	case 1:
		return json_integer((json_int_t)pick(c, 4) - 1);
	case 2: /* NaN and infinity have no JSON */
		return number - number == 0 ? json_real(number) : json_null();
	case 3:
		return pick(c, 2) ? json_true() : json_pack("[s,i]", text, 1);
	default:
		return json_string(text);
	}
}

static void fuzz_grammar(struct choices c)
{
	json_t *v = json_object();
	if (pick(&c, 16) != 15)
		json_object_set_new(v, "num_round", json_string("3"));
	for (unsigned left = 1 + pick(&c, 12); left-- && c.at < c.end;) {
		const char *name = pick(&c, 3) ? ONE_OF(&c, CHOSEN) : ONE_OF(&c, NUMBERS);
		const char *value = pick(&c, 4) ? ONE_OF(&c, WORDS) : ONE_OF(&c, FIGURES);
		json_object_set_new(v, name, shaped(&c, value));
	}
	parse(v);
	json_decref(v);
}

static void fuzz_channel_grammar(struct choices c)
{
	static const char *const NAMES[] = { "train", "validation", "code", "test" };
	static const char *const TYPES[] = { "text/csv",
					     "csv",
					     "text/csv; label_size=1",
					     "text/csv;label_size=2",
					     "libsvm",
					     " text/x-libsvm ;x=1",
					     "application/x-parquet",
					     "application/x-recordio-protobuf",
					     "text/html",
					     "" };
	static const char *const MODES[] = { "File", "FastFile", "Pipe", "None", "FullyReplicated", "ShardedByS3Key" };
	static const char *const KEYS[] = { "TrainingInputMode", "S3DistributionType", "RecordWrapperType" };
	struct channels out;
	struct failure fail = FAILURE_INIT;
	json_t *v = json_object();
	for (unsigned left = 1 + pick(&c, 5); left--;) {
		json_t *one = json_object();
		json_object_set_new(v, ONE_OF(&c, NAMES), one);
		if (pick(&c, 4))
			json_object_set_new(one, "ContentType", shaped(&c, ONE_OF(&c, TYPES)));
		for (unsigned more = pick(&c, 3); more--;)
			json_object_set_new(one, ONE_OF(&c, KEYS), shaped(&c, ONE_OF(&c, MODES)));
	}
	int rc = channels_check(v, &out, &fail);
	if (rc < 0 ? !fail.message : fail.message || out.has_validation != !!json_object_get(v, "validation"))
		abort();
	failure_release(&fail);
	json_decref(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	CLEANUP_FREE char *s = mem_need(strndup((const char *)data + 1, size - 1));
	enum content_type type;
	struct failure fail = FAILURE_INIT;
	switch (data[0] % 7) {
	case 0:
		fuzz_hyperparameters((const char *)data + 1, size - 1);
		break;
	case 1:
		fuzz_value(s);
		break;
	case 2:
		fuzz_channels((const char *)data + 1, size - 1);
		break;
	case 3:
		csv_delimiter(s);
		libsvm_feature_count(s);
		break;
	case 4:
		fuzz_grammar((struct choices){ data + 1, data + size });
		break;
	case 5:
		fuzz_channel_grammar((struct choices){ data + 1, data + size });
		break;
	default:
		content_type_parse(s, &type, &fail);
	}
	failure_release(&fail);
	return 0;
}
