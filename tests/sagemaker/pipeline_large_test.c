/* pipeline_large_test.c - 2000 steps: the cost of an execution grows with its steps, not with their square.
 *
 * DESIGN: time is measured for 500 and for 2000 steps of the same shape; four times the steps may cost at most ten
 * times the time. */
#include "pipeline_rig.h"

#include <stdio.h>

#include "base/buf.h"
#include "base/clock.h"
#include "pipeline_steps.h"

static double run(int n, bool chain)
{
	struct buf steps = BUF_INIT;
	char deps[64];
	rig_open();
	for (int i = 0; i < n; i++) {
		snprintf(deps, sizeof deps, i ? "'s%d'" : "", chain ? i - 1 : 0);
		buf_printf(&steps,
			   "%s{'Name':'s%d','Type':'Processing','DependsOn':[%s],'Arguments':{'ProcessingResources':{'"
			   "ClusterConfig':{"
			   "'InstanceType':'ml.m5.large','InstanceCount':1,'VolumeSizeInGB':1}},'AppSpecification':{'"
			   "ImageUri':'i'},"
			   "'RoleArn':'arn:aws:iam::123456789012:role/R'}}",
			   i ? "," : "", i, deps);
	}
	rig_pipeline("", steps.ptr);
	buf_release(&steps);
	int64_t begin = clock_monotonic_us();
	const char *arn = rig_start("");
	rig_finish();
	int64_t spent = clock_monotonic_us() - begin;
	assert_string_equal(rig_status(arn), "Succeeded");
	assert_int_equal(rig_jobs_created(), n);
	rig_close();
	return (double)spent / 1000;
}

static void grow(bool chain)
{
	double small = run(500, chain), large = run(2000, chain);
	print_message("%s: 500 steps %.0f ms, 2000 steps %.0f ms\n", chain ? "chain" : "fan", small, large);
	assert_true(large < 10 * small);
}

static void test_fan(void **state)
{
	(void)state;
	grow(false);
}

static void test_chain(void **state)
{
	(void)state;
	grow(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_fan), cmocka_unit_test(test_chain) };
	return cmocka_run_group_tests_name("pipeline_large", tests, NULL, NULL);
}
