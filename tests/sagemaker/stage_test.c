/* stage_test.c - names of files, manifests, and staging on the rig's objects. */
#include "job_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "sagemaker/stage.h"

static const char *name_of(const char *prefix, const char *key)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	static char text[600];
	struct arena a = ARENA_INIT;
	struct str out;
	if (stage_file_name(&a, str_from(prefix), str_from(key), &out, &err) < 0)
		snprintf(text, sizeof(text), "! %s", err.code);
	else
		snprintf(text, sizeof(text), "%.*s", STR_ARG(out));
	arena_release(&a);
	return text;
}

static void test_file_names(void **state)
{
	assert_string_equal(name_of("data/file.csv", "data/file.csv"), "file.csv");
	assert_string_equal(name_of("file.csv", "file.csv"), "file.csv");
	assert_string_equal(name_of("data", "data/a/b.csv"), "a/b.csv");
	assert_string_equal(name_of("data/", "data/a/b.csv"), "a/b.csv");
	assert_string_equal(name_of("data/tr", "data/train/a.csv"), "train/a.csv");
	assert_string_equal(name_of("data/train", "data/train-2/a.csv"), "train-2/a.csv");
	assert_string_equal(name_of("", "a/b"), "a/b");
	assert_string_equal(name_of("data", "data//a///b"), "a/b");
	assert_string_equal(name_of("data/", "data/"), "");
	assert_string_equal(name_of("data", "data/"), "");
	assert_string_equal(name_of("data", "data/dir/"), "dir/");
	assert_string_equal(name_of("data", "data/../../etc/passwd"), "! ClientError");
	assert_string_equal(name_of("data/..", "data/.."), "! ClientError");
	assert_string_equal(name_of("data", "data/./x"), "! ClientError");
	assert_string_equal(name_of("data", "data/..."), "...");
	char key[400] = "data/";
	memset(key + 5, 'x', 300);
	assert_string_equal(name_of("data", key), "! ClientError");
}

struct lines {
	char text[500];
};

static int take(void *ctx, struct str prefix, struct str name)
{
	struct lines *l = ctx;
	snprintf(l->text + strlen(l->text), sizeof(l->text) - strlen(l->text), "%.*s|%.*s;", STR_ARG(prefix),
		 STR_ARG(name));
	return 0;
}

static void test_manifest(void **state)
{
	struct lines l = { "" };
	assert_int_equal(stage_each_in_manifest(STR("[{\"prefix\":\"s3://b/p/\"},\"a\",\"b/c\"]"), take, &l, NULL), 0);
	assert_string_equal(l.text, "s3://b/p/|a;s3://b/p/|b/c;");
	static const char *const bad[] = { "",
					   "{}",
					   "[]",
					   "[\"a\"]",
					   "[{\"prefix\":1},\"a\"]",
					   "[{\"prefix\":\"s3://b\"},1]",
					   "[{\"prefix\":\"x\"}" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CLEANUP_ERROR struct error err = ERROR_INIT;
		assert_true(stage_each_in_manifest(str_from(bad[i]), take, &l, &err) < 0);
		assert_true(error_is(&err, "ClientError"));
	}
}

#define CHANNEL(type, uri, more)                                                                                       \
	"'InputDataConfig':[{'ChannelName':'c','DataSource':{'S3DataSource':{'S3DataType':'" type "','S3Uri':'" uri    \
	"'}}" more "}]"
#define TARGET "/opt/ml/input/data/c"

static const char *reason(const char *name)
{
	json_t *d = rig_training(name);
	assert_string_equal(json_get_text(d, "TrainingJobStatus"), "Failed");
	return json_get_text(d, "FailureReason");
}

static void test_manifest_channel(void **state)
{
	rig_put("s3://b/m/list.manifest", "[{\"prefix\":\"s3://b/pre/\"},\"x/1\",\"2\"]");
	rig_put("s3://b/pre/x/1", "one");
	rig_put("s3://b/pre/2", "two");
	rig_put("s3://b/pre/3", "three");
	rig_start_training("m1", CHANNEL("ManifestFile", "s3://b/m/list.manifest", ""));
	assert_string_equal(rig_staged(0, TARGET, "x/1"), "one");
	assert_string_equal(rig_staged(0, TARGET, "2"), "two");
	assert_null(rig_staged(0, TARGET, "3"));
	rig_put("s3://b/m/bad.manifest", "[{\"prefix\":\"s3://b/pre/\"},\"nope\"]");
	rig_start_training("m2", CHANNEL("ManifestFile", "s3://b/m/bad.manifest", ""));
	assert_string_equal(reason("m2"), "ClientError: Data download failed: The object \"s3://b/pre/nope\" named in "
					  "the manifest file does not exist.");
	rig_put("s3://b/m/out.manifest", "[{\"prefix\":\"s3://b/pre/\"},\"../../x\"]");
	rig_start_training("m3", CHANNEL("ManifestFile", "s3://b/m/out.manifest", ""));
	assert_non_null(strstr(reason("m3"), "cannot be a file name"));
}

static void test_gzip_channel(void **state)
{
	rig_put("s3://b/gz/plain.gz", "this is not gzip");
	rig_start_training("g1", CHANNEL("S3Prefix", "s3://b/gz/", ",'CompressionType':'Gzip'"));
	assert_string_equal(reason("g1"),
			    "ClientError: Data download failed: The object \"gz/plain.gz\" is not gzip data.");
	char packed[200];
	z_stream z = { 0 };
	assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = (Bytef *)"a,b,c\n";
	z.avail_in = 6;
	z.next_out = (Bytef *)packed;
	z.avail_out = sizeof(packed);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	rig_put_bytes("s3://b/gz/plain.gz", packed, z.total_out);
	rig_put_bytes("s3://b/gz/sub/other", packed, z.total_out);
	rig_start_training("g2", CHANNEL("S3Prefix", "s3://b/gz/", ",'CompressionType':'Gzip'"));
	assert_string_equal(rig_staged(0, TARGET, "plain"), "a,b,c\n");
	assert_string_equal(rig_staged(0, TARGET, "sub/other"), "a,b,c\n");
	rig_put_bytes("s3://b/gz/plain.gz", packed, z.total_out - 6);
	rig_start_training("g3", CHANNEL("S3Prefix", "s3://b/gz/", ",'CompressionType':'Gzip'"));
	assert_non_null(strstr(reason("g3"), "gz/plain.gz"));
	deflateEnd(&z);
}

static void test_names_that_collide(void **state)
{
	rig_put("s3://b/col/a", "file");
	rig_put("s3://b/col/a/b", "below a file");
	rig_start_training("c1", CHANNEL("S3Prefix", "s3://b/col/", ""));
	assert_non_null(strstr(reason("c1"), "both an object and the directory of another one"));
	rig_put("s3://b/twice/x//y", "1");
	rig_put("s3://b/twice/x/y", "2");
	rig_start_training("c2", CHANNEL("S3Prefix", "s3://b/twice/", ""));
	assert_non_null(strstr(reason("c2"), "Two objects have the file name of"));
	rig_put("s3://b/up/../../../etc/passwd", "evil");
	rig_start_training("c3", CHANNEL("S3Prefix", "s3://b/up/", ""));
	assert_non_null(strstr(reason("c3"), "cannot be a file name"));
}

static void test_markers_and_single_objects(void **state)
{
	struct stat st;
	rig_put("s3://b/dir/", "");
	rig_put("s3://b/dir/empty/", "");
	rig_put("s3://b/dir/deep/er/file", "x");
	rig_start_training("d1", CHANNEL("S3Prefix", "s3://b/dir/", ""));
	assert_string_equal(rig_staged(0, TARGET, "deep/er/file"), "x");
	assert_int_equal(stat(rig_text("%s/empty", json_get_text(rig_mount(0, TARGET), "source")), &st), 0);
	assert_true(S_ISDIR(st.st_mode));
	rig_start_training("d2", CHANNEL("S3Prefix", "s3://b/train/a.csv", ""));
	assert_string_equal(rig_staged(0, TARGET, "a.csv"), "1,2");
}

static void test_objects_that_vanish(void **state)
{
	rig_vanish(2);
	rig_start_training("v1", CHANNEL("S3Prefix", "s3://b/train", ""));
	assert_string_equal(rig_staged(0, TARGET, "a.csv"), "1,2");
	rig_vanish(1000);
	rig_start_training("v2", CHANNEL("S3Prefix", "s3://b/train", ""));
	assert_string_equal(reason("v2"), "InternalServerError: We encountered an internal error. Please try again.");
	rig_vanish(0);
}

/* A second staging of the same task leaves the directory as it is: containers may be using it. */
static void test_staging_twice(void **state)
{
	rig_start_training("w1", CHANNEL("S3Prefix", "s3://b/train", ""));
	const char *task = json_get_text(rig_spec(), "id"), *dir = json_get_text(rig_mount(0, TARGET), "source");
	struct stat before, after;
	assert_int_equal(stat(dir, &before), 0);
	CLEANUP_JSON json_t *plan = json_pack("{s:s,s:s,s:[]}", "role", "r", "region", "us-east-1", "sources");
	assert_int_equal(stage_task(NULL, NULL, NULL, rig_dir(), task, plan, NULL), 0);
	assert_int_equal(stat(dir, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	/* after a restart of the machine it is made again */
	const char *marker = rig_text("%s/stage/%s.ready", rig_dir(), task);
	FILE *f = fopen(marker, "w");
	fputs("another boot", f);
	fclose(f);
	rig_crash();
	stage_remove(rig_dir(), task);
	assert_int_not_equal(stat(dir, &after), 0);
	assert_int_not_equal(access(marker, F_OK), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_file_names),
		cmocka_unit_test(test_manifest),
		cmocka_unit_test_setup_teardown(test_manifest_channel, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_gzip_channel, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_names_that_collide, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_markers_and_single_objects, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_objects_that_vanish, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_staging_twice, rig_setup, rig_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
