/* iam_test.c - keys, sessions and the operations of iam and sts, on a real store and engine, without HTTP. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "iam/iam.h"
#include "wire/model.h"

#define ACCOUNT "123456789012"

struct fixture {
	char dir[64];
	struct arena arena;
	struct store *store;
	struct engine *engine;
	struct iam *iam;
	int64_t now;
	struct principal who;
	struct error err;
};

static int64_t now_ms(void *ctx)
{
	return ((struct fixture *)ctx)->now;
}

static const char *path_in(struct fixture *f, const char *name)
{
	return arena_printf(&f->arena, "%s/%s", f->dir, name);
}

static void start_iam(struct fixture *f)
{
	struct iam_options o = {
		.engine = f->engine, .account = ACCOUNT, .region = "us-east-1", .keys_path = path_in(f, "credentials")
	};
	if (iam_new(&o, &f->iam, &f->err) < 0)
		fail_msg("%s", error_text(&f->err));
}

static int setup(void **state)
{
	struct fixture *f = mem_calloc(1, sizeof(*f));
	*state = f;
	snprintf(f->dir, sizeof(f->dir), "/tmp/iam-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->now = 1800000000000;
	struct store_migration all[8];
	size_t n = 0;
	for (const struct store_migration *m = engine_migrations; m->room; m++)
		all[n++] = *m;
	for (const struct store_migration *m = iam_migrations; m->room; m++)
		all[n++] = *m;
	all[n] = (struct store_migration){ 0 };
	assert_int_equal(store_open(path_in(f, "store"), all, &f->store, &f->err), 0);
	struct engine_options o = { .store = f->store, .now_ms = now_ms, .ctx = f };
	assert_int_equal(engine_new(&o, &f->engine, &f->err), 0);
	start_iam(f);
	assert_int_equal(engine_start(f->engine, &f->err), 0);
	f->who = (struct principal){ .access_key = "AKIAX",
				     .account = ACCOUNT,
				     .arn = "arn:aws:sts::" ACCOUNT ":assumed-role/QuernExecutionRole/quern",
				     .user_id = "AROAQUERNEXECROLE0001:quern",
				     .unrestricted = true };
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	engine_stop(f->engine);
	iam_free(f->iam);
	engine_free(f->engine);
	store_close(f->store);
	char command[128];
	snprintf(command, sizeof(command), "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
	arena_release(&f->arena);
	error_release(&f->err);
	free(f);
	return 0;
}

/* ---- one operation, as the wire layer calls it: validated, then on the core thread or a snapshot; its answer must
 * encode ---- */

struct one {
	struct fixture *f;
	struct call call;
	const struct wire_op *op;
	json_t *in, *out;
};

static int run_command(struct turn *t, void *arg, struct error *err)
{
	struct one *o = arg;
	return o->op->command(&o->call, t, o->in, &o->out, err);
}

static json_t *perform(struct fixture *f, const struct wire_service *service, const char *name, json_t *in)
{
	const struct model_service *s = model_find(service->model);
	const struct model_op *op = model_op_find(s, str_from(name));
	struct one o = { .f = f, .in = in };
	assert_non_null(op);
	error_release(&f->err);
	f->err = ERROR_INIT;
	o.call = (struct call){ .arena = &f->arena,
				.who = &f->who,
				.region = "us-east-1",
				.account = ACCOUNT,
				.operation = name,
				.request_id = "r",
				.engine = f->engine,
				.service_ctx = service->ctx };
	for (o.op = service->ops; o.op->name && strcmp(o.op->name, name) != 0;)
		o.op++;
	assert_non_null(o.op->name);
	int rc = model_validate(&f->arena, s, op, in, &f->err);
	if (rc == 0 && o.op->command) {
		rc = engine_call(f->engine, run_command, &o, &f->err);
	} else if (rc == 0) {
		struct db *db = store_read_begin(f->store, &f->err);
		rc = o.op->query(&o.call, db, in, &o.out, &f->err);
		store_read_end(f->store, db);
	}
	json_decref(in);
	if (rc < 0) {
		json_decref(o.out);
		return NULL;
	}
	struct codec_response rs;
	if (codec_encode(&f->arena, s, op, o.out, "r", &rs, &f->err) < 0)
		fail_msg("%s", error_text(&f->err));
	return o.out ? o.out : json_object();
}

static json_t *good(struct fixture *f, const struct wire_service *service, const char *name, json_t *in)
{
	json_t *out = perform(f, service, name, in);
	if (!out)
		fail_msg("%s: %s: %s", name, f->err.code, error_text(&f->err));
	return out;
}

static void done(struct fixture *f, const char *name, json_t *in)
{
	json_decref(good(f, iam_service(f->iam), name, in));
}

static void refused(struct fixture *f, const struct wire_service *service, const char *name, json_t *in,
		    const char *code, const char *text)
{
	json_t *out = perform(f, service, name, in);
	assert_null(out);
	assert_string_equal(f->err.code, code);
	assert_string_equal(error_text(&f->err), text);
}

static bool find(struct fixture *f, const char *key, const char *token, struct principal *who, struct str *secret)
{
	struct db *db = store_read_begin(f->store, &f->err);
	error_release(&f->err);
	f->err = ERROR_INIT;
	bool found = iam_find_key(f->iam, &f->arena, db, str_from(key), token ? str_from(token) : STR_NULL, f->now, who,
				  secret, &f->err);
	store_read_end(f->store, db);
	return found;
}

#define TRUST "{\"Version\":\"2012-10-17\",\"Statement\":[]}"
#define DENY "{\"Statement\":{\"Effect\":\"Deny\",\"Action\":\"*\",\"Resource\":\"*\"}}"

/* ---- tests ---- */

static void read_root(struct fixture *f, char key[64], char secret[64])
{
	FILE *file = fopen(path_in(f, "credentials"), "re");
	assert_non_null(file);
	assert_int_equal(
		fscanf(file, "[default]\naws_access_key_id = %63s\naws_secret_access_key = %63s\n", key, secret), 2);
	fclose(file);
}

static void test_root(void **state)
{
	struct fixture *f = *state;
	char key[64], secret[64], again[64], same[64];
	struct stat st;
	struct principal who;
	struct str found;
	assert_int_equal(stat(path_in(f, "credentials"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	read_root(f, key, secret);
	assert_int_equal(strlen(key), 20);
	assert_int_equal(strlen(secret), 40);
	assert_true(find(f, key, NULL, &who, &found));
	assert_true(str_eqz(found, secret));
	assert_string_equal(who.arn, "arn:aws:sts::" ACCOUNT ":assumed-role/QuernExecutionRole/quern");
	assert_string_equal(who.account, ACCOUNT);
	assert_string_equal(iam_default_role(f->iam), "arn:aws:iam::" ACCOUNT ":role/service-role/QuernExecutionRole");
	assert_false(find(f, key, "sometoken", &who, &found));
	assert_false(find(f, "AKIANOSUCHKEY1234567", NULL, &who, &found));
	assert_false(find(f, "", NULL, &who, &found));
	/* The same pair after a restart, and a file that others may read becomes private. */
	assert_int_equal(chmod(path_in(f, "credentials"), 0644), 0);
	iam_free(f->iam);
	start_iam(f);
	read_root(f, again, same);
	assert_string_equal(key, again);
	assert_string_equal(secret, same);
	assert_int_equal(stat(path_in(f, "credentials"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_root_file_broken(void **state)
{
	struct fixture *f = *state;
	struct iam *other = NULL;
	int fd = open(path_in(f, "bad"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, "[other]\naws_access_key_id = x\n", 30), 30);
	close(fd);
	struct iam_options o = { .engine = f->engine, .account = ACCOUNT, .keys_path = path_in(f, "bad") };
	assert_true(iam_new(&o, &other, &f->err) < 0);
	assert_non_null(strstr(error_text(&f->err), "bad` has no aws_access_key_id"));
	error_release(&f->err);
	f->err = ERROR_INIT;
	o.keys_path = path_in(f, "none/credentials");
	assert_true(iam_new(&o, &other, &f->err) < 0);
}

static void test_roles(void **state)
{
	struct fixture *f = *state;
	const struct wire_service *s = iam_service(f->iam);
	json_t *out = good(f, s, "GetRole", json_pack("{s:s}", "RoleName", "QuernExecutionRole"));
	assert_string_equal(json_string_value(json_get_path(out, "Role.Arn")), iam_default_role(f->iam));
	assert_true(json_real_value(json_get_path(out, "Role.CreateDate")) > 1.7e9);
	json_decref(out);
	refused(f, s, "GetRole", json_pack("{s:s}", "RoleName", "Nobody"), "NoSuchEntity",
		"The role with name Nobody cannot be found.");
	out = good(f, s, "CreateRole",
		   json_pack("{s:s, s:s, s:s, s:[{s:s, s:s}]}", "RoleName", "Worker", "AssumeRolePolicyDocument", TRUST,
			     "Path", "/a/b/", "Tags", "Key", "k", "Value", "v"));
	assert_string_equal(json_string_value(json_get_path(out, "Role.Arn")),
			    "arn:aws:iam::" ACCOUNT ":role/a/b/Worker");
	assert_string_equal(json_string_value(json_get_path(out, "Role.AssumeRolePolicyDocument")),
			    "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%5D%7D");
	assert_int_equal(strlen(json_string_value(json_get_path(out, "Role.RoleId"))), 21);
	json_decref(out);
	refused(f, s, "CreateRole", json_pack("{s:s, s:s}", "RoleName", "worker", "AssumeRolePolicyDocument", TRUST),
		"EntityAlreadyExists", "Role with name worker already exists.");
	refused(f, s, "CreateRole", json_pack("{s:s, s:s}", "RoleName", "x", "AssumeRolePolicyDocument", "{"),
		"MalformedPolicyDocument", "This policy contains invalid Json");
	done(f, "TagRole",
	     json_pack("{s:s, s:[{s:s, s:s}]}", "RoleName", "Worker", "Tags", "Key", "two", "Value", "2"));
	done(f, "UntagRole", json_pack("{s:s, s:[s]}", "RoleName", "Worker", "TagKeys", "k"));
	out = good(f, s, "ListRoleTags", json_pack("{s:s}", "RoleName", "Worker"));
	assert_int_equal(json_array_size(json_get(out, "Tags")), 1);
	json_decref(out);
	done(f, "UpdateRole",
	     json_pack("{s:s, s:s, s:i}", "RoleName", "Worker", "Description", "d", "MaxSessionDuration", 7200));
	out = good(f, s, "GetRole", json_pack("{s:s}", "RoleName", "Worker"));
	assert_string_equal(json_string_value(json_get_path(out, "Role.Description")), "d");
	assert_int_equal(json_integer_value(json_get_path(out, "Role.MaxSessionDuration")), 7200);
	json_decref(out);
	refused(f, s, "DeleteRole", json_pack("{s:s}", "RoleName", "QuernExecutionRole"), "UnmodifiableEntity",
		"The role QuernExecutionRole belongs to Quern: its own keys are a session of it. It cannot be "
		"deleted.");
	done(f, "DeleteRole", json_pack("{s:s}", "RoleName", "Worker"));
	refused(f, s, "DeleteRole", json_pack("{s:s}", "RoleName", "Worker"), "NoSuchEntity",
		"The role with name Worker cannot be found.");
}

static void test_pages(void **state)
{
	struct fixture *f = *state;
	for (int n = 0; n < 7; n++)
		done(f, "CreateRole",
		     json_pack("{s:s, s:s, s:s}", "RoleName", arena_printf(&f->arena, "R%d", n),
			       "AssumeRolePolicyDocument", TRUST, "Path", n % 2 ? "/odd/" : "/even/"));
	int seen = 0, pages = 0;
	const char *marker = NULL;
	do {
		json_t *in = json_pack("{s:i}", "MaxItems", 3);
		json_set_text(in, "Marker", marker);
		json_t *out = good(f, iam_service(f->iam), "ListRoles", in);
		seen += (int)json_array_size(json_get(out, "Roles"));
		marker = json_get(out, "Marker") ? arena_strdup(&f->arena, json_get_str(out, "Marker")) : NULL;
		assert_int_equal(json_get_bool(out, "IsTruncated", false), marker != NULL);
		json_decref(out);
		pages++;
	} while (marker && pages < 10);
	assert_int_equal(seen, 8);
	assert_int_equal(pages, 3);
	json_t *out = good(f, iam_service(f->iam), "ListRoles", json_pack("{s:s}", "PathPrefix", "/odd/"));
	assert_int_equal(json_array_size(json_get(out, "Roles")), 3);
	json_decref(out);
}

static void test_policies(void **state)
{
	struct fixture *f = *state;
	const struct wire_service *s = iam_service(f->iam);
	const char *aws = "arn:aws:iam::aws:policy/AmazonSageMakerFullAccess",
		   *own = "arn:aws:iam::" ACCOUNT ":policy/P1";
	done(f, "CreateRole", json_pack("{s:s, s:s}", "RoleName", "R", "AssumeRolePolicyDocument", TRUST));
	done(f, "AttachRolePolicy", json_pack("{s:s, s:s}", "RoleName", "R", "PolicyArn", aws));
	done(f, "AttachRolePolicy", json_pack("{s:s, s:s}", "RoleName", "R", "PolicyArn", aws));
	refused(f, s, "AttachRolePolicy", json_pack("{s:s, s:s}", "RoleName", "R", "PolicyArn", own), "NoSuchEntity",
		"Policy arn:aws:iam::" ACCOUNT ":policy/P1 does not exist or is not attachable.");
	done(f, "CreatePolicy", json_pack("{s:s, s:s}", "PolicyName", "P1", "PolicyDocument", DENY));
	refused(f, s, "CreatePolicy", json_pack("{s:s, s:s}", "PolicyName", "p1", "PolicyDocument", DENY),
		"EntityAlreadyExists", "A policy called p1 already exists. Duplicate names are not allowed.");
	done(f, "AttachRolePolicy", json_pack("{s:s, s:s}", "RoleName", "R", "PolicyArn", own));
	json_t *out = good(f, s, "ListAttachedRolePolicies", json_pack("{s:s}", "RoleName", "R"));
	assert_int_equal(json_array_size(json_get(out, "AttachedPolicies")), 2);
	assert_string_equal(json_get_text(json_array_get(json_get(out, "AttachedPolicies"), 1), "PolicyName"),
			    "AmazonSageMakerFullAccess");
	json_decref(out);
	out = good(f, s, "GetPolicy", json_pack("{s:s}", "PolicyArn", own));
	assert_int_equal(json_integer_value(json_get_path(out, "Policy.AttachmentCount")), 1);
	json_decref(out);
	out = good(f, s, "GetPolicyVersion", json_pack("{s:s, s:s}", "PolicyArn", own, "VersionId", "v1"));
	assert_non_null(json_get_path(out, "PolicyVersion.Document"));
	json_decref(out);
	refused(f, s, "DeletePolicy", json_pack("{s:s}", "PolicyArn", own), "DeleteConflict",
		"Cannot delete a policy attached to entities.");
	done(f, "PutRolePolicy",
	     json_pack("{s:s, s:s, s:s}", "RoleName", "R", "PolicyName", "in", "PolicyDocument", DENY));
	done(f, "PutRolePolicy",
	     json_pack("{s:s, s:s, s:s}", "RoleName", "R", "PolicyName", "in", "PolicyDocument", DENY));
	out = good(f, s, "ListRolePolicies", json_pack("{s:s}", "RoleName", "R"));
	assert_int_equal(json_array_size(json_get(out, "PolicyNames")), 1);
	json_decref(out);
	json_decref(good(f, s, "GetRolePolicy", json_pack("{s:s, s:s}", "RoleName", "R", "PolicyName", "in")));
	refused(f, s, "DeleteRole", json_pack("{s:s}", "RoleName", "R"), "DeleteConflict",
		"Cannot delete entity, must detach all policies first.");
	done(f, "DetachRolePolicy", json_pack("{s:s, s:s}", "RoleName", "R", "PolicyArn", own));
	done(f, "DetachRolePolicy", json_pack("{s:s, s:s}", "RoleName", "R", "PolicyArn", aws));
	refused(f, s, "DetachRolePolicy", json_pack("{s:s, s:s}", "RoleName", "R", "PolicyArn", own), "NoSuchEntity",
		"Policy arn:aws:iam::" ACCOUNT ":policy/P1 was not found.");
	refused(f, s, "DeleteRole", json_pack("{s:s}", "RoleName", "R"), "DeleteConflict",
		"Cannot delete entity, must delete policies first.");
	done(f, "DeleteRolePolicy", json_pack("{s:s, s:s}", "RoleName", "R", "PolicyName", "in"));
	refused(f, s, "GetRolePolicy", json_pack("{s:s, s:s}", "RoleName", "R", "PolicyName", "in"), "NoSuchEntity",
		"The role policy with name in cannot be found.");
	done(f, "DeletePolicy", json_pack("{s:s}", "PolicyArn", own));
	done(f, "DeleteRole", json_pack("{s:s}", "RoleName", "R"));
}

static void test_user_keys(void **state)
{
	struct fixture *f = *state;
	const struct wire_service *s = iam_service(f->iam);
	struct principal who;
	struct str secret;
	refused(f, s, "GetUser", json_object(), "ValidationError",
		"Must specify userName when calling with non-User credentials");
	done(f, "CreateUser", json_pack("{s:s}", "UserName", "ann"));
	json_t *made = good(f, s, "CreateAccessKey", json_pack("{s:s}", "UserName", "ann"));
	const char *key = json_string_value(json_get_path(made, "AccessKey.AccessKeyId"));
	const char *shown = json_string_value(json_get_path(made, "AccessKey.SecretAccessKey"));
	for (int n = 0; n < 2; n++) { /* from the store, then from the cache */
		assert_true(find(f, key, NULL, &who, &secret));
		assert_true(str_eqz(secret, shown));
		assert_string_equal(who.arn, "arn:aws:iam::" ACCOUNT ":user/ann");
	}
	done(f, "UpdateAccessKey",
	     json_pack("{s:s, s:s, s:s}", "UserName", "ann", "AccessKeyId", key, "Status", "Inactive"));
	assert_false(find(f, key, NULL, &who, &secret));
	done(f, "UpdateAccessKey",
	     json_pack("{s:s, s:s, s:s}", "UserName", "ann", "AccessKeyId", key, "Status", "Active"));
	assert_true(find(f, key, NULL, &who, &secret));
	assert_true(find(f, key, NULL, &who, &secret));
	json_decref(good(f, s, "CreateAccessKey", json_pack("{s:s}", "UserName", "ann")));
	refused(f, s, "CreateAccessKey", json_pack("{s:s}", "UserName", "ann"), "LimitExceeded",
		"Cannot exceed quota for AccessKeysPerUser: 2");
	refused(f, s, "DeleteUser", json_pack("{s:s}", "UserName", "ann"), "DeleteConflict",
		"Cannot delete entity, must delete access keys first.");
	json_t *list = good(f, s, "ListAccessKeys", json_pack("{s:s}", "UserName", "ann"));
	json_t *one;
	size_t n;
	assert_int_equal(json_array_size(json_get(list, "AccessKeyMetadata")), 2);
	json_array_foreach (json_get(list, "AccessKeyMetadata"), n, one) {
		assert_null(json_get(one, "SecretAccessKey"));
		done(f, "DeleteAccessKey",
		     json_pack("{s:s, s:s}", "UserName", "ann", "AccessKeyId", json_get_text(one, "AccessKeyId")));
	}
	json_decref(list);
	assert_false(find(f, key, NULL, &who, &secret));
	refused(f, s, "DeleteAccessKey", json_pack("{s:s, s:s}", "UserName", "ann", "AccessKeyId", key), "NoSuchEntity",
		arena_printf(&f->arena, "The Access Key with id %s cannot be found.", key));
	json_decref(made);
	done(f, "DeleteUser", json_pack("{s:s}", "UserName", "ann"));
}

static void test_assume_role(void **state)
{
	struct fixture *f = *state;
	const struct wire_service *s = sts_service(f->iam);
	struct principal who;
	struct str secret;
	refused(f, s, "AssumeRole",
		json_pack("{s:s, s:s}", "RoleArn", "arn:aws:iam::" ACCOUNT ":role/Nobody", "RoleSessionName", "xy"),
		"AccessDenied",
		"User: arn:aws:sts::" ACCOUNT
		":assumed-role/QuernExecutionRole/quern is not authorized to perform: sts:AssumeRole on resource: "
		"arn:aws:iam::" ACCOUNT ":role/Nobody");
	assert_int_equal(f->err.status, 403);
	/* A wrong path or account is another role. */
	assert_null(perform(f, s, "AssumeRole",
			    json_pack("{s:s, s:s}", "RoleArn", "arn:aws:iam::" ACCOUNT ":role/QuernExecutionRole",
				      "RoleSessionName", "xy")));
	assert_null(perform(f, s, "AssumeRole",
			    json_pack("{s:s, s:s}", "RoleArn",
				      "arn:aws:iam::999999999999:role/service-role/QuernExecutionRole",
				      "RoleSessionName", "xy")));
	json_t *out = good(f, s, "AssumeRole",
			   json_pack("{s:s, s:s, s:i}", "RoleArn", iam_default_role(f->iam), "RoleSessionName", "me",
				     "DurationSeconds", 900));
	const char *key = json_string_value(json_get_path(out, "Credentials.AccessKeyId"));
	const char *token = json_string_value(json_get_path(out, "Credentials.SessionToken"));
	for (int n = 0; n < 2; n++) {
		assert_true(find(f, key, token, &who, &secret));
		assert_true(str_eqz(secret, json_string_value(json_get_path(out, "Credentials.SecretAccessKey"))));
		assert_string_equal(who.arn, "arn:aws:sts::" ACCOUNT ":assumed-role/QuernExecutionRole/me");
		assert_string_equal(who.user_id, "AROAQUERNEXECROLE0001:me");
		assert_false(find(f, key, NULL, &who, &secret));
		assert_string_equal(f->err.code, "InvalidToken");
		assert_false(find(f, key, arena_printf(&f->arena, "%sx", token), &who, &secret));
	}
	f->now += 900 * 1000;
	assert_false(find(f, key, token, &who, &secret));
	assert_string_equal(f->err.code, "ExpiredToken");
	refused(f, s, "AssumeRole",
		json_pack("{s:s, s:s, s:i}", "RoleArn", iam_default_role(f->iam), "RoleSessionName", "me",
			  "DurationSeconds", 43201),
		"ValidationError",
		"1 validation error detected: Value '43201' at 'durationSeconds' failed to satisfy constraint: Member "
		"must have value less than or "
		"equal to 43200");
	/* The next session sweeps the row. */
	f->now += 3600 * 1000;
	json_decref(good(f, s, "AssumeRole",
			 json_pack("{s:s, s:s}", "RoleArn", iam_default_role(f->iam), "RoleSessionName", "you")));
	struct db *db = store_read_begin(f->store, &f->err);
	struct rows rows = { 0 };
	assert_int_equal(db_row(db, &rows, &f->err, "SELECT count(*) FROM iam_session", ""), 1);
	assert_int_equal(rows_int(&rows, 0), 1);
	rows_done(&rows);
	store_read_end(f->store, db);
	json_decref(out);
	out = good(f, s, "GetCallerIdentity", json_object());
	assert_string_equal(json_get_text(out, "Account"), ACCOUNT);
	json_decref(out);
}

struct session_ctx {
	struct fixture *f;
	const char *role;
	struct iam_session made;
	char key[32], token[300];
};

static int make_session(struct turn *t, void *arg, struct error *err)
{
	struct session_ctx *s = arg;
	if (iam_new_session(s->f->iam, t, s->role, "task-1", 60000, &s->made, err) < 0)
		return -1;
	snprintf(s->key, sizeof(s->key), "%s", s->made.access_key);
	snprintf(s->token, sizeof(s->token), "%s", s->made.token);
	s->made.role_arn = arena_strdup(&s->f->arena, str_from(s->made.role_arn));
	s->made.session_arn = arena_strdup(&s->f->arena, str_from(s->made.session_arn));
	return 0;
}

static void test_task_session(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *role, *role_arn, *session_arn;
	} cases[] = {
		{ "QuernExecutionRole", "arn:aws:iam::" ACCOUNT ":role/service-role/QuernExecutionRole",
		  "arn:aws:sts::" ACCOUNT ":assumed-role/QuernExecutionRole/task-1" },
		{ "arn:aws:iam::" ACCOUNT ":role/not/yet/There", "arn:aws:iam::" ACCOUNT ":role/not/yet/There",
		  "arn:aws:sts::" ACCOUNT ":assumed-role/There/task-1" },
		{ "Bare", "arn:aws:iam::" ACCOUNT ":role/Bare", "arn:aws:sts::" ACCOUNT ":assumed-role/Bare/task-1" },
		{ "arn:aws:iam::111122223333:role/Far", "arn:aws:iam::111122223333:role/Far",
		  "arn:aws:sts::" ACCOUNT ":assumed-role/Far/task-1" },
	};
	for (size_t n = 0; n < sizeof(cases) / sizeof(cases[0]); n++) {
		struct session_ctx s = { .f = f, .role = cases[n].role };
		struct principal who;
		struct str secret;
		assert_int_equal(engine_call(f->engine, make_session, &s, &f->err), 0);
		assert_string_equal(s.made.role_arn, cases[n].role_arn);
		assert_string_equal(s.made.session_arn, cases[n].session_arn);
		assert_true(find(f, s.key, s.token, &who, &secret));
		assert_string_equal(who.arn, cases[n].session_arn);
		assert_int_equal(strcspn(who.user_id, ":"), 21);
	}
}

static void test_session_token(void **state)
{
	struct fixture *f = *state;
	json_decref(good(f, sts_service(f->iam), "GetSessionToken", json_object()));
	f->who.access_key = "ASIAX";
	refused(f, sts_service(f->iam), "GetSessionToken", json_object(), "AccessDenied",
		"Cannot call GetSessionToken with session credentials");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_root, setup, teardown),
		cmocka_unit_test_setup_teardown(test_root_file_broken, setup, teardown),
		cmocka_unit_test_setup_teardown(test_roles, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(test_policies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_user_keys, setup, teardown),
		cmocka_unit_test_setup_teardown(test_assume_role, setup, teardown),
		cmocka_unit_test_setup_teardown(test_task_session, setup, teardown),
		cmocka_unit_test_setup_teardown(test_session_token, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
