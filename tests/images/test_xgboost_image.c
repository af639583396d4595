/* test_xgboost_image.c - unit tests of the trainer's parsers and small parts.
 *
 * DESIGN: what can be shown without running a job: how values are read and printed, what a line of data looks like, how
 * folds are drawn. Whole jobs are tested by the Python files beside this one. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "channels.h"
#include "constraints.h"
#include "crossval.h"
#include "data.h"
#include "failure.h"
#include "hyperparameters.h"
#include "metrics.h"
#include "text.h"

static void test_pyfloat(void **state)
{
	static const struct {
		double v;
		const char *text;
	} CASES[] = {
		{ 7, "7.0" },
		{ 0.1, "0.1" },
		{ -0.0, "-0.0" },
		{ 1e15, "1000000000000000.0" },
		{ 1e16, "1e+16" },
		{ 0.0001, "0.0001" },
		{ 0.00001, "1e-05" },
		{ 1.0 / 3, "0.3333333333333333" },
		{ INFINITY, "inf" },
		{ NAN, "nan" },
		{ 123456.789, "123456.789" },
		{ 5e-324, "5e-324" },
	};
	for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
		CLEANUP_TEXT struct text t = TEXT_INIT;
		text_add_pyfloat(&t, CASES[i].v);
		assert_string_equal(text_cstr(&t), CASES[i].text);
	}
}

static void test_pyjson(void **state)
{
	json_t *v = json_loads("{\"a\": [1, 2.5, true, null], \"b\": \"it's \\\"x\\\"\\n\"}", 0, NULL);
	CLEANUP_TEXT struct text t = TEXT_INIT;
	text_add_pyjson(&t, v);
	assert_string_equal(text_cstr(&t), "{'a': [1, 2.5, True, None], 'b': 'it\\'s \"x\"\\n'}");
	json_decref(v);
}

static void check_constraint(bool nested, const char *in, const char *out, bool expect_in_range)
{
	CLEANUP_TEXT struct text t = TEXT_INIT;
	bool in_range;
	int r = nested ? constraints_read_nested(in, &t, &in_range) : constraints_read_tuple(in, &t, &in_range);
	assert_int_equal(r, out ? 0 : -1);
	if (out) {
		assert_string_equal(text_cstr(&t), out);
		assert_int_equal(in_range, expect_in_range);
	}
}

static void test_constraints(void **state)
{
	check_constraint(false, "(1,-1, 0)", "(1, -1, 0)", true);
	check_constraint(false, " [ 1 , ] ", "(1,)", true);
	check_constraint(false, "1, 0", "(1, 0)", true);
	check_constraint(false, "()", "()", true);
	check_constraint(false, "(1, 2)", "(1, 2)", false);
	static const char *const BAD[] = { "", "(", "(1", "(1,,2)", "(1 2)", "(1)x", "1.0", "((1,))", "(1]", "x", "-" };
	for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++)
		check_constraint(false, BAD[i], NULL, false);
	check_constraint(true, "[[1, 2], [3]]", "[[1, 2], [3]]", true);
	check_constraint(true, "((1,2),(3,),)", "[[1, 2], [3]]", true);
	check_constraint(true, "[]", "[]", true);
	check_constraint(true, "[[0]]", "[[0]]", false);
	static const char *const BAD_NESTED[] = { "", "[1]", "[[1]", "[[1]]]", "[[[1]]]", "[[1],,]", "[[1] [2]]" };
	for (size_t i = 0; i < sizeof BAD_NESTED / sizeof *BAD_NESTED; i++)
		check_constraint(true, BAD_NESTED[i], NULL, false);
}

static void test_lines(void **state)
{
	assert_int_equal(csv_delimiter("1,2;3\n"), ',');
	assert_int_equal(csv_delimiter("1\t2 3\n"), '\t');
	assert_int_equal(csv_delimiter("1 2 3\n"), ' ');
	assert_int_equal(csv_delimiter("1|2|3\n"), '|');
	assert_int_equal(csv_delimiter("-1.5e+3\n"), 0);
	assert_int_equal(csv_delimiter(""), 0);
	assert_int_equal(libsvm_feature_count("1 1:2 3:4.5\n"), 2);
	assert_int_equal(libsvm_feature_count("1:0.5 qid:3 1:2\n"), 1);
	assert_int_equal(libsvm_feature_count("-1\n"), 0);
	assert_int_equal(libsvm_feature_count("1 1:2 # note\n"), 1);
	assert_int_equal(libsvm_feature_count("M,1,2\n"), -1);
	assert_int_equal(libsvm_feature_count("1 2 3\n"), -1);
	assert_int_equal(libsvm_feature_count("1 1:2:3\n"), -1);
	assert_int_equal(libsvm_feature_count(""), 0);
}

static void test_content_types(void **state)
{
	struct failure fail = FAILURE_INIT;
	enum content_type type;
	assert_int_equal(content_type_parse(NULL, &type, &fail), 0);
	assert_int_equal(type, CONTENT_LIBSVM);
	assert_int_equal(content_type_parse("Text/CSV ; label_size=1;charset=utf8", &type, &fail), 0);
	assert_int_equal(type, CONTENT_CSV);
	assert_int_equal(content_type_parse("text/x-libsvm ;charset=utf8", &type, &fail), 0);
	assert_int_equal(type, CONTENT_LIBSVM);
	assert_int_equal(content_type_parse("text/csv;label_size=12", &type, &fail), -1);
	assert_int_equal(fail.kind, FAILURE_USER);
	failure_release(&fail);
}

static void test_hyperparameters(void **state)
{
	json_t *v = json_loads("{\"num_round\": \" 1_0 \", \"eta\": \"\\\"0.30\\\"\", \"learning_rate\": 0.25,"
			       "\"objective\": \"reg:linear\", \"max_depth\": 5}",
			       0, NULL);
	struct hyperparameters h = HYPERPARAMETERS_INIT;
	struct failure fail = FAILURE_INIT;
	assert_int_equal(hyperparameters_parse(v, &h, &fail), 0);
	assert_int_equal(hyperparameters_integer(&h, "num_round", 0), 10);
	assert_string_equal(hyperparameters_text(&h, "eta", ""), "0.25");
	assert_string_equal(hyperparameters_text(&h, "max_depth", ""), "5");
	assert_int_equal(h.count, 4);
	assert_false(hyperparameter_is_for_library(hyperparameters_find(&h, "num_round")));
	assert_true(hyperparameter_is_for_library(hyperparameters_find(&h, "eta")));
	hyperparameters_release(&h);
	json_decref(v);
	assert_true(metric_is_maximized("ndcg@5"));
	assert_false(metric_is_maximized("error@0.5"));
}

static void test_library_errors_are_cut(void **state)
{
	static const char *const RAW = "[10:20:30] ./src/objective/regression_obj.cu:107: label must be in [0,1] for "
				       "logistic regression\nStack trace:\n  [bt] (0) /usr/lib/x.so\n";
	CLEANUP_FREE char *clean = failure_clean_xgboost_text(RAW);
	assert_string_equal(clean, "label must be in [0,1] for logistic regression");
	CLEANUP_FREE char *nested =
		failure_clean_xgboost_text("Encountered parser error:\n[10:29:45] ./src/a.h:130: [10:29:45] "
					   "./b.h:1: no delimiter\n\nStack trace:\n  x");
	assert_string_equal(nested, "Encountered parser error:\nno delimiter");
	CLEANUP_FREE char *plain = failure_clean_xgboost_text("plain");
	assert_string_equal(plain, "plain");
	CLEANUP_FREE char *bracket = failure_clean_xgboost_text("[x] y");
	assert_string_equal(bracket, "[x] y");
}

static void test_folds(void **state)
{
	enum { ROWS = 103, FOLDS = 5 };
	float labels[ROWS];
	int fold_of[ROWS], per_fold[FOLDS] = { 0 }, ones[FOLDS] = { 0 };
	unsigned long long random = 3;
	struct failure fail = FAILURE_INIT;
	for (int i = 0; i < ROWS; i++)
		labels[i] = i % 4 == 0;
	assert_int_equal(crossval_draw(labels, ROWS, FOLDS, true, &random, fold_of, &fail), 0);
	for (int i = 0; i < ROWS; i++) {
		per_fold[fold_of[i]]++;
		ones[fold_of[i]] += labels[i] == 1;
	}
	for (int f = 0; f < FOLDS; f++) {
		assert_in_range(per_fold[f], 20, 21);
		assert_in_range(ones[f], 5, 6);
	}
	assert_int_equal(crossval_draw(labels, 3, FOLDS, false, &random, fold_of, &fail), -1);
	assert_string_equal(fail.message,
			    "XGB train call failed with exception:\n Cannot have number of splits n_splits=5 "
			    "greater than the number of samples: n_samples=3.");
	failure_release(&fail);
}

static void test_metric_edges(void **state)
{
	struct failure fail = FAILURE_INIT;
	double v;
	float margins[] = { -1, -1 }, zeros[] = { 0, 0 }, twos[] = { 0, 2 };
	struct predictions p = { margins, 2, 1 };
	assert_int_equal(metric_compute("f1_binary", &p, zeros, &v, &fail), 0);
	assert_true(v == 0);
	assert_int_equal(metric_compute("precision", &p, twos, &v, &fail), -1);
	failure_release(&fail);
	p.rows = 0;
	assert_int_equal(metric_compute("accuracy", &p, zeros, &v, &fail), 0);
	p = (struct predictions){ margins, 1, 1 };
	assert_int_equal(metric_compute("r2", &p, zeros, &v, &fail), 0);
	assert_true(isnan(v));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pyfloat),
		cmocka_unit_test(test_pyjson),
		cmocka_unit_test(test_constraints),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_content_types),
		cmocka_unit_test(test_hyperparameters),
		cmocka_unit_test(test_library_errors_are_cut),
		cmocka_unit_test(test_folds),
		cmocka_unit_test(test_metric_edges),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
