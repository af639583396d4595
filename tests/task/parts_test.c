/* parts_test.c - the pieces of the task room that need no container: specs, image names, paths, frames, log records. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/json.h"
#include "task/cgroup.h"
#include "task/filter.h"
#include "task/frame.h"
#include "task/image.h"
#include "task/logpump.h"
#include "task/machine.h"
#include "task/path.h"
#include "task/spec.h"
#include "task/task.h"
#include "task/cdi_yaml.h"

/* ---- control groups ---- */

static const char *setting(const struct cgroup_setting *list, size_t n, const char *file)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(list[i].file, file))
			return list[i].value;
	return "";
}

/* v2 has other files and another scale for shares; the two must say the same. */
static void cgroup_limits_in_both_trees(void **state)
{
	const struct cgroup_limits limits = { .cpus = 0.5,
					      .memory_bytes = 100 << 20,
					      .swap_bytes = 10 << 20,
					      .reservation_bytes = 64 << 20,
					      .cpu_shares = 1024,
					      .swappiness = 10 };
	const struct cgroup_limits none = { .swappiness = -1 };
	struct cgroup_setting list[CGROUP_SETTINGS];
	size_t n = cgroup_settings(CGROUP_UNIFIED, &limits, list);
	assert_string_equal(setting(list, n, "cpu.max"), "50000 100000");
	assert_string_equal(setting(list, n, "cpu.weight"), "39");
	assert_string_equal(setting(list, n, "memory.max"), "104857600");
	assert_string_equal(setting(list, n, "memory.swap.max"), "10485760");
	assert_string_equal(setting(list, n, "memory.low"), "67108864");
	assert_int_equal(n, 5);
	n = cgroup_settings(CGROUP_HYBRID, &limits, list);
	assert_string_equal(setting(list, n, "cpu/cpu.cfs_quota_us"), "50000");
	assert_string_equal(setting(list, n, "cpu/cpu.cfs_period_us"), "100000");
	assert_string_equal(setting(list, n, "cpu/cpu.shares"), "1024");
	assert_string_equal(setting(list, n, "memory/memory.limit_in_bytes"), "104857600");
	assert_string_equal(setting(list, n, "memory/memory.memsw.limit_in_bytes"), "115343360");
	assert_string_equal(setting(list, n, "memory/memory.soft_limit_in_bytes"), "67108864");
	assert_string_equal(setting(list, n, "memory/memory.swappiness"), "10");
	assert_int_equal(n, 7);
	assert_int_equal(cgroup_settings(CGROUP_UNIFIED, &none, list), 0);
	assert_int_equal(cgroup_settings(CGROUP_LEGACY, &none, list), 0);
}

/* ---- paths ---- */

static char root[64];

static int make_root(void **state)
{
	strcpy(root, "/tmp/quern-parts-XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
	CLEANUP_FD int tmp = open("/tmp", O_RDONLY | O_DIRECTORY);
	return path_remove_tree(tmp, root + 5, NULL);
}

static void clean_paths(void **state)
{
	static const char *const good[] = { "/", "/a", "/a/b.c", "/...", "/a/..b" };
	static const char *const bad[] = { "", "a", "/a/", "//a", "/a//b", "/./a", "/a/..", "/../a" };
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		assert_true(path_is_clean(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(path_is_clean(bad[i]));
	assert_string_equal(path_below("/data", "/data/x/y"), "x/y");
	assert_string_equal(path_below("/data/", "/data/x"), "x");
	assert_string_equal(path_below("/data", "/data"), "");
	assert_null(path_below("/data", "/database"));
	assert_null(path_below("/data", "/data/../etc"));
	assert_string_equal(path_below("/", "/x"), "x");
}

static void symlinks_do_not_lead_out(void **state)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_FD int dir = open(root, O_RDONLY | O_DIRECTORY);
	assert_int_equal(symlinkat("/etc", dir, "abs"), 0);
	assert_int_equal(symlinkat("../../../../../etc", dir, "up"), 0);
	assert_true(path_open_beneath(dir, "abs/passwd", O_RDONLY, 0, &err) < 0);
	assert_true(path_open_beneath(dir, "../x", O_RDONLY, 0, NULL) < 0);
	assert_true(path_mkdirs_beneath(dir, "abs/new", 0755, (uid_t)-1, (gid_t)-1, NULL) < 0);
	/* In a root the same links stay inside. */
	assert_int_equal(path_open_in_root(dir, "up/passwd", O_RDONLY, 0), -ENOENT);
	assert_int_equal(mkdirat(dir, "etc", 0755), 0);
	CLEANUP_FD int made = path_mkdirs_in_root(dir, "/abs/new/deep", 0755, &err);
	assert_true(made >= 0);
	assert_int_equal(faccessat(dir, "etc/new/deep", F_OK, 0), 0);
	assert_int_not_equal(access("/etc/new", F_OK), 0);
}

static void trees_go_whole_and_links_stay_out(void **state)
{
	CLEANUP_FD int dir = open(root, O_RDONLY | O_DIRECTORY);
	CLEANUP_FD int made = path_mkdirs_beneath(dir, "tree/a/b/c", 0755, (uid_t)-1, (gid_t)-1, NULL);
	CLEANUP_FD int kept = path_mkdirs_beneath(dir, "kept", 0755, (uid_t)-1, (gid_t)-1, NULL);
	char target[80];
	snprintf(target, sizeof(target), "%s/kept", root);
	assert_int_equal(path_write_atomic(kept, "f", STR("x"), 0600, false, NULL), 0);
	assert_int_equal(symlinkat(target, dir, "tree/link"), 0);
	assert_int_equal(fchmodat(dir, "tree/a/b", 0, 0), 0);
	assert_int_equal(path_remove_tree(dir, "tree", NULL), 0);
	assert_int_equal(faccessat(dir, "tree", F_OK, 0), -1);
	assert_int_equal(faccessat(dir, "kept/f", F_OK, 0), 0);
	assert_int_equal(path_remove_tree(dir, "never-was", NULL), 0);
}

static void atomic_write_and_read(void **state)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_BUF struct buf text = BUF_INIT;
	CLEANUP_FD int dir = open(root, O_RDONLY | O_DIRECTORY);
	assert_int_equal(path_write_atomic(dir, "f", STR("one"), 0600, true, &err), 0);
	assert_int_equal(path_write_atomic(dir, "f", STR("two"), 0600, false, &err), 0);
	assert_int_equal(path_read(dir, "f", 3, &text, &err), 0);
	assert_string_equal(text.ptr, "two");
	assert_true(path_read(dir, "f", 2, &text, &err) < 0);
	assert_int_equal(path_read(dir, "none", 3, &text, NULL), -ENOENT);
	assert_int_equal(mkfifoat(dir, "fifo", 0600), 0);
	assert_true(path_read(dir, "fifo", 3, &text, NULL) < 0); /* and does not hang */
}

/* ---- images ---- */

static void image_names(void **state)
{
	static const struct {
		const char *uri, *repository, *tag;
	} cases[] = {
		{ "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1", "sagemaker-xgboost",
		  "1.7-1" },
		{ "sagemaker-xgboost", "sagemaker-xgboost", "latest" },
		{ "localhost:5000/team/app:v1", "team/app", "v1" },
		{ "localhost/app", "app", "latest" },
		{ "team/app", "team/app", "latest" },
		{ "public.ecr.aws/x/y@sha256:0123456789abcdef", "x/y", "latest" },
		{ "host:80/a:b@sha256:00", "a", "b" },
	};
	struct arena a = ARENA_INIT;
	const char *repository, *tag;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_int_equal(image_split(&a, cases[i].uri, &repository, &tag, NULL), 0);
		assert_string_equal(repository, cases[i].repository);
		assert_string_equal(tag, cases[i].tag);
	}
	static const char *const bad[] = { "", "a:", "a b", "host.x/", ":tag", "a;b", "a:\n" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_true(image_split(&a, bad[i], &repository, &tag, NULL) < 0);
	arena_release(&a);
}

/* ---- specs ---- */

/* Single quotes stand for double ones. */
static int parse(struct arena *a, const char *text, struct task_spec *out, struct error *err)
{
	char *copy = arena_strdup(a, str_from(text));
	for (char *p = copy; *p; p++)
		*p = *p == '\'' ? '"' : *p;
	json_t *json = json_parse(str_from(copy), err);
	assert_non_null(json);
	arena_defer(a, (void (*)(void *))json_decref, json);
	return spec_parse(a, json, "/data", out, err);
}

static void spec_read(void **state)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct arena a = ARENA_INIT;
	struct task_spec s;
	assert_int_equal(parse(&a,
			       "{'id':'t-1','network':'private','max_runtime_ms':5,'resources':{'cpus':1.5,'memory':7},"
			       "'containers':[{"
			       "'name':'algo-1','image':'i','command':['a','b'],'env':{'K':'V'},'essential':'on-"
			       "failure','cpu_quota':2,"
			       "'memory':8388608,'stop_signal':'SIGINT','log':'/data/logs/"
			       "x','capabilities':{'add':['net_admin'],'drop':['CAP_CHOWN']},"
			       "'mounts':[{'type':'scratch','name':'s','target':'/a/b'},{'type':'tmpfs','target':'/"
			       "t','size':4096},"
			       "{'type':'stage','source':'/data/stage/1','target':'/a','writable':false}],"
			       "'files':[{'path':'/f','text':'x','mode':256}]}],"
			       "'outputs':[{'name':'o','from':'s','path':'','form':'tar.gz','when':'always','container'"
			       ":'algo-1'}]}",
			       &s, &err),
			 0);
	const struct spec_container *c = &s.containers[0];
	assert_string_equal(c->mounts[0].target, "/t"); /* parents first */
	assert_string_equal(c->mounts[1].target, "/a");
	assert_string_equal(c->mounts[1].source, "stage/1");
	assert_string_equal(c->mounts[2].target, "/a/b");
	assert_string_equal(c->cap_add[0], "CAP_NET_ADMIN");
	assert_string_equal(c->log, "logs/x");
	assert_int_equal(c->stop_signal, SIGINT);
	assert_int_equal(c->essential, ESSENTIAL_ON_FAILURE);
	assert_int_equal(c->files[0].mode, 0400);
	assert_int_equal(s.network, NETWORK_PRIVATE);
	assert_true(s.outputs[0].tar && s.outputs[0].always);
	assert_int_equal(c->stop_timeout_ms, 30000);
	arena_release(&a);
}

static void spec_refused(void **state)
{
	static const struct {
		const char *spec, *text;
	} cases[] = {
		{ "[]", "must be an object" },
		{ "{'id':'T'}", "id must match" },
		{ "{'id':'t'}", "containers must hold at least one" },
		{ "{'id':'t','network':'bridge'}", "network must be" },
		{ "{'id':'t','containers':[{'name':'a','image':'i'},{'name':'a','image':'i'}]}",
		  "containers[1].name is used twice" },
		{ "{'id':'t','containers':[{'name':'../a','image':'i'}]}", "containers[0].name must match" },
		{ "{'id':'t','containers':[{'name':'a'}]}", "containers[0].image is missing" },
		{ "{'id':'t','containers':[{'name':'a','image':'i','command':'sh'}]}", "command must be an array" },
		{ "{'id':'t','containers':[{'name':'a','image':'i','env':{'A=B':'x'}}]}", "env holds a bad name" },
		{ "{'id':'t','containers':[{'name':'a','image':'i','memory':-1}]}", "memory must be a whole number" },
		{ "{'id':'t','containers':[{'name':'a','image':'i','cpu_quota':0}]}", "cpu_quota must be a number" },
		{ "{'id':'t','containers':[{'name':'a','image':'i','log':'/etc/x'}]}", "log must be a path below" },
		{ "{'id':'t','containers':[{'name':'a','image':'i','log':'/data/tasks/u/exec/x'}]}", "executor's own" },
		{ "{'id':'t','containers':[{'name':'a','image':'i','mounts':[{'type':'stage','source':'/data/../"
		  "etc','target':'/x'}]}]}",
		  "must be a path below" },
		{ "{'id':'t','containers':[{'name':'a','image':'i','mounts':[{'type':'tmpfs','target':'/"
		  "x'},{'type':'tmpfs','target':'/x'}]}]}",
		  "mounted twice" },
		{ "{'id':'t','containers':[{'name':'a','image':'i','mounts':[{'type':'tmpfs','target':'/'}]}]}",
		  "absolute path" },
		{ "{'id':'t','containers':[{'name':'a','image':'i'}],'outputs':[{'name':'o','from':'s','form':'files'}]"
		  "}",
		  "names no scratch" },
		{ "{'id':'t','containers':[{'name':'a','image':'i','ulimits':[{'name':'x','soft':1}]}]}",
		  "is not a limit" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		CLEANUP_ERROR struct error err = ERROR_INIT;
		struct arena a = ARENA_INIT;
		struct task_spec s;
		assert_int_equal(parse(&a, cases[i].spec, &s, &err), -1);
		if (!strstr(error_text(&err), cases[i].text))
			fail_msg("`%s` for %s", error_text(&err), cases[i].spec);
		assert_true(error_is(&err, "ValidationException"));
		arena_release(&a);
	}
}

/* ---- frames ---- */

static void frames(void **state)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_BUF struct buf out = BUF_INIT, in = BUF_INIT;
	CLEANUP_JSON json_t *message = json_pack("{s:i}", "n", 7);
	frame_add(&out, message, &err);
	frame_add(&out, message, &err);
	for (size_t i = 0; i < out.len; i++) { /* byte by byte */
		json_t *got = NULL;
		buf_add(&in, out.ptr + i, 1);
		int rc = frame_take(&in, 1 << 20, &got, &err);
		assert_int_equal(rc, i + 1 == out.len / 2 || i + 1 == out.len ? 1 : 0);
		if (rc)
			assert_int_equal(json_get_int(got, "n", 0), 7);
		json_decref(got);
	}
	buf_add(&in, "\x7f\xff\xff\xff", 4);
	json_t *got = NULL;
	assert_true(frame_take(&in, 1 << 20, &got, &err) < 0);
}

/* ---- logs ---- */

static char *pump(const char *data, size_t n)
{
	int ends[2];
	struct logpump p;
	CLEANUP_FD int dir = open(root, O_RDONLY | O_DIRECTORY);
	int file = openat(dir, "log", O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	int again = dup(file);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	logpump_open(&p, ends[0], file);
	for (size_t at = 0; at < n;) {
		size_t part = n - at < 7000 ? n - at : 7000;
		assert_int_equal(write(ends[1], data + at, part), part);
		at += part;
		assert_int_equal(logpump_run(&p), 0);
	}
	close(ends[1]);
	assert_int_equal(logpump_run(&p), -1);
	logpump_close(&p);
	off_t size = lseek(again, 0, SEEK_END);
	char *text = mem_calloc(1, (size_t)size + 1);
	assert_int_equal(pread(again, text, (size_t)size, 0), size);
	close(again);
	return text;
}

static void log_records(void **state)
{
	CLEANUP_FREE char *text = pump("one\n\ntwo\r\nlast", 14);
	CLEANUP_BUF struct buf plain = BUF_INIT;
	struct str rest = str_from(text), line;
	while (rest.len && str_split(&rest, '\n', &line)) {
		ptrdiff_t space = str_find_char(line, ' ');
		int64_t ms;
		assert_true(space == 13 && str_to_i64(str_head(line, 13), &ms));
		buf_add_str(&plain, str_skip(line, 14));
		buf_add_char(&plain, '|');
	}
	assert_string_equal(plain.ptr, "one||two\r|last|");
}

static void long_line(void **state)
{
	size_t n = LOGPUMP_RECORD_MAX * 2 + 10;
	CLEANUP_FREE char *data = mem_alloc(n);
	memset(data, 'x', n);
	CLEANUP_FREE char *text = pump(data, n);
	struct str rest = str_from(text), line;
	const size_t sizes[] = { LOGPUMP_RECORD_MAX, LOGPUMP_RECORD_MAX, 10 };
	for (size_t i = 0; i < 3; i++) {
		assert_true(str_split(&rest, '\n', &line));
		assert_int_equal(line.len, 14 + sizes[i]);
	}
	assert_int_equal(rest.len, 0);
}

/* ---- seccomp ---- */

static void filter_builds(void **state)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_BUF struct buf bpf = BUF_INIT;
	CLEANUP_JSON json_t *profile = seccomp_oci_profile();
	assert_int_equal(seccomp_bpf_base64(&bpf, &err), 0);
	assert_true(bpf.len > 1000 && bpf.len < 60000);
	assert_string_equal(json_get_text(profile, "defaultAction"), "SCMP_ACT_ERRNO");
	json_t *names = json_get(json_array_get(json_get(profile, "syscalls"), 0), "names"), *name;
	assert_true(json_array_size(names) > 250);
	size_t i;
	json_array_foreach (names, i, name)
		assert_string_not_equal(json_string_value(name), "mount");
}

/* ---- doctor ---- */

static void doctor_says_what_to_do(void **state)
{
	CLEANUP_JSON json_t *list = task_doctor("/tmp", NULL);
	json_t *one;
	size_t i;
	bool runtime = false;
	assert_true(json_array_size(list) >= 8);
	json_array_foreach (list, i, one) {
		assert_non_null(json_get_text(one, "detail"));
		assert_true(json_is_boolean(json_get(one, "ok")));
		runtime |= !strcmp(json_get_text(one, "check"), "runtime");
		if (json_get_bool(one, "ok", false))
			assert_null(json_get_text(one, "fix"));
	}
	assert_true(runtime);
	/* before the first start there is no data directory: its disk is judged all the same */
	CLEANUP_JSON json_t *fresh = task_doctor("/tmp/quern-not-there/data", NULL);
	json_array_foreach (fresh, i, one)
		if (!strcmp(json_get_text(one, "check"), "disk"))
			assert_true(str_ends(str_from(json_get_text(one, "detail")), STR("free in /tmp")));
}

static void sealed_copy(void **state)
{
	CLEANUP_FD int fd = machine_seal_program("/bin/sh", NULL);
	assert_true(fd >= 0 && machine_is_sealed(fd));
	assert_true(write(fd, "x", 1) < 0);
	assert_false(machine_is_sealed(0));
	assert_true(machine_seal_program("/nonexistent", NULL) < 0);
	assert_false(machine_program_knows("/bin/sh", "no such text in here, surely"));
}

static void yaml_values(void **state)
{
	static const char text[] =
		"---\ncdiVersion: 0.5.0\nkind: \"nvidia.com/gpu\"\ndevices:\n- name: \"0\"\n  containerEdits:\n"
		"    deviceNodes:\n    - {path: /dev/nvidia0, major: 195, fileMode: 0666, hex: 0x1F, o: -0o17}\n"
		"- name: all\n  empty:\n  yes: true\n  half: 0.5\n  long: >-\n    one\n    two\n  big: "
		"99999999999999999999\n";
	CLEANUP_JSON json_t *got = cdi_yaml_parse(str_from(text), NULL);
	CLEANUP_JSON json_t *want =
		json_parse(STR("{\"cdiVersion\":\"0.5.0\",\"kind\":\"nvidia.com/"
			       "gpu\",\"devices\":[{\"name\":\"0\",\"containerEdits\":{"
			       "\"deviceNodes\":[{\"path\":\"/dev/"
			       "nvidia0\",\"major\":195,\"fileMode\":438,\"hex\":31,\"o\":-15}]}},"
			       "{\"name\":\"all\",\"empty\":null,\"yes\":true,\"half\":\"0.5\",\"long\":\"one two\","
			       "\"big\":\"99999999999999999999\"}]}"),
			   NULL);
	assert_non_null(want);
	assert_true(json_equal(got, want));
}

static void yaml_refused(void **state)
{
	static const char *const bad[][2] = {
		{ "a: &x 1", "line 1 column 4" },  { "a: *x", "alias" },        { "a: !!int 1", "tags" },
		{ "a: [1, 2", "line " },           { "a: 1\na: 2", "already" }, { "? [a]\n: 1", "not a text" },
		{ "a: 1\n---\nb: 2", "document" }, { "", "no document" },       { "a:\n\t- b", "line 2" },
		{ "a: \"\\xff\xff\"", "line 1" },
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		CLEANUP_ERROR struct error err = ERROR_INIT;
		assert_null(cdi_yaml_parse(str_from(bad[i][0]), &err));
		if (!strstr(error_text(&err), bad[i][1]))
			fail_msg("%s: %s", bad[i][0], error_text(&err));
	}
	CLEANUP_ERROR struct error err = ERROR_INIT;
	char deep[200];
	memset(deep, '[', sizeof(deep));
	assert_null(cdi_yaml_parse(str_of(deep, sizeof(deep)), &err));
	assert_non_null(strstr(error_text(&err), "deep"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cgroup_limits_in_both_trees),
		cmocka_unit_test(clean_paths),
		cmocka_unit_test_setup_teardown(symlinks_do_not_lead_out, make_root, remove_root),
		cmocka_unit_test_setup_teardown(trees_go_whole_and_links_stay_out, make_root, remove_root),
		cmocka_unit_test_setup_teardown(atomic_write_and_read, make_root, remove_root),
		cmocka_unit_test(image_names),
		cmocka_unit_test(spec_read),
		cmocka_unit_test(spec_refused),
		cmocka_unit_test(frames),
		cmocka_unit_test_setup_teardown(log_records, make_root, remove_root),
		cmocka_unit_test_setup_teardown(long_line, make_root, remove_root),
		cmocka_unit_test(filter_builds),
		cmocka_unit_test(doctor_says_what_to_do),
		cmocka_unit_test(sealed_copy),
		cmocka_unit_test(yaml_values),
		cmocka_unit_test(yaml_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
