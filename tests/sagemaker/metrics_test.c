/* metrics_test.c - values found in log lines, and the table of instance types. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "sagemaker/instance.h"
#include "sagemaker/metrics.h"

static struct metrics *make(const char *definitions, bool xgboost)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_JSON json_t *list = definitions ? json_parse(str_from(definitions), &err) : NULL;
	struct metrics *m = metrics_new(list, xgboost, &err);
	if (!m)
		fail_msg("%s", error_text(&err));
	return m;
}

static double value_of(struct metrics *m, const char *name)
{
	CLEANUP_JSON json_t *list = metrics_final(m);
	size_t i;
	json_t *v;
	json_array_foreach (list, i, v)
		if (!strcmp(json_get_text(v, "MetricName"), name))
			return json_get_real(v, "Value", -1);
	return -12345;
}

static void test_last_value_wins(void **state)
{
	struct metrics *m =
		make("[{\"Name\":\"acc\",\"Regex\":\"acc=([0-9\\\\.]+)\"},{\"Name\":\"never\",\"Regex\":\"zz(.*)\"}]",
		     false);
	metrics_line(m, 1000, STR("epoch 1 acc=0.5;"));
	metrics_line(m, 3000, STR("epoch 3 acc=0.75"));
	metrics_line(m, 2000, STR("another host, earlier: acc=0.6"));
	assert_true(value_of(m, "acc") == 0.75);
	CLEANUP_JSON json_t *list = metrics_final(m);
	assert_int_equal(json_array_size(list), 1);
	assert_true(json_get_real(json_array_get(list, 0), "Timestamp", 0) == 3.0);
	metrics_free(m);
}

static void test_python_like_patterns(void **state)
{
	struct metrics *m =
		make("[{\"Name\":\"lazy\",\"Regex\":\"loss: (.*?);\"},{\"Name\":\"word\",\"Regex\":\"auc: (\\\\S+)\"},"
		     "{\"Name\":\"neg\",\"Regex\":\"ll=(-?[0-9.e+-]+)\"}]",
		     false);
	metrics_line(m, 1, STR("loss: 0.25; other: 3;"));
	metrics_line(m, 1, STR("auc: 0.91, and on"));
	metrics_line(m, 1, STR("ll=-1.5e-3"));
	metrics_line(m, 2, STR("loss: nan; "));
	metrics_line(m, 2, STR("auc: inf"));
	assert_true(value_of(m, "lazy") == 0.25);
	assert_true(value_of(m, "word") == 0.91);
	assert_true(value_of(m, "neg") == -0.0015);
	metrics_free(m);
}

static void test_tab_as_011(void **state)
{
	struct metrics *m = make("[{\"Name\":\"v\",\"Regex\":\".*\\\\[[0-9]+\\\\].*#011validation-rmse:(\\\\S+)\"},"
				 "{\"Name\":\"t\",\"Regex\":\"\\\\ttrain-rmse:(\\\\S+)\"}]",
				 false);
	metrics_line(m, 1, STR("[0]\ttrain-rmse:8.08096\tvalidation-rmse:8.17695"));
	metrics_line(m, 2, STR("[1]#011train-rmse:7.1#011validation-rmse:7.2"));
	assert_true(value_of(m, "v") == 7.2);
	assert_true(value_of(m, "t") == 8.08096);
	metrics_free(m);
}

static void test_xgboost_lines(void **state)
{
	struct metrics *m = make(NULL, true);
	metrics_line(m, 1, STR("[0]\ttrain-rmse:8.08096\tvalidation-rmse:8.17695"));
	metrics_line(m, 2, STR("[2026-11-23:10:00:00:INFO] no metric [x]"));
	metrics_line(m, 3, STR("[10:00:00] [49]#011train-rmse:1.5#011validation-rmse:2.25#011train-aft-nloglik:3.5"));
	metrics_line(m, 4, STR("[50]\ttest-rmse:9\tvalidation-error@0.7:0.125"));
	metrics_line(m, 5, STR("[]\ttrain-rmse:99"));
	metrics_line(m, 5, STR("\ttrain-rmse:99"));
	metrics_line(m, 5, STR("[5]\ttrain-rmse:nan"));
	assert_true(value_of(m, "train:rmse") == 1.5);
	assert_true(value_of(m, "validation:rmse") == 2.25);
	assert_true(value_of(m, "train:aft-nloglik") == 3.5);
	assert_true(value_of(m, "validation:error@0.7") == 0.125);
	assert_true(value_of(m, "test:rmse") == -12345);
	metrics_free(m);
}

static void test_catastrophic_pattern_is_stopped(void **state)
{
	struct metrics *m =
		make("[{\"Name\":\"evil\",\"Regex\":\"(a+)+$\"},{\"Name\":\"good\",\"Regex\":\"v=([0-9]+)\"}]", false);
	char line[4096];
	memset(line, 'a', sizeof(line));
	line[sizeof(line) - 1] = 'b';
	for (int i = 0; i < 300; i++) /* unstopped, the first would not come to an end */
		metrics_line(m, i, str_of(line, sizeof(line)));
	metrics_line(m, 1, STR("v=7"));
	assert_true(value_of(m, "good") == 7);
	metrics_free(m);
}

static void test_bad_pattern_is_refused(void **state)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_JSON json_t *list = json_parse(STR("[{\"Name\":\"x\",\"Regex\":\"(open\"}]"), &err);
	assert_null(metrics_new(list, false, &err));
	assert_true(error_is(&err, "ValidationException"));
}

static void test_instances(void **state)
{
	for (size_t i = 1; i < instance_count; i++)
		assert_true(strcmp(instance_table[i - 1].name, instance_table[i].name) < 0);
	for (size_t i = 0; i < instance_count; i++) {
		assert_ptr_equal(instance_find(str_from(instance_table[i].name)), &instance_table[i]);
		assert_true(instance_table[i].vcpus > 0 && instance_table[i].memory_mib >= 512);
	}
	const struct instance_shape *m5 = instance_find(STR("ml.m5.xlarge"));
	assert_non_null(m5);
	assert_int_equal(m5->vcpus, 4);
	assert_int_equal(m5->memory_mib, 16384);
	assert_int_equal(m5->gpus, 0);
	assert_int_equal(instance_find(STR("ml.g4dn.12xlarge"))->gpus, 4);
	assert_null(instance_find(STR("ml.m5")));
	assert_null(instance_find(STR("")));
	assert_null(instance_find(STR("zz")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_last_value_wins),
		cmocka_unit_test(test_python_like_patterns),
		cmocka_unit_test(test_tab_as_011),
		cmocka_unit_test(test_xgboost_lines),
		cmocka_unit_test(test_catastrophic_pattern_is_stopped),
		cmocka_unit_test(test_bad_pattern_is_refused),
		cmocka_unit_test(test_instances),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
