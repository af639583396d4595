/* env.c - env and run: how stock AWS tools find this Quern.
 *
 * DESIGN: botocore 1.31 and later, the aws CLI 2.13 and later and the AWS SDKs read AWS_ENDPOINT_URL; for the older CLI
 * of Debian 12 the shell gets a function that gives it as an option. The sagemaker SDK sends its STS calls elsewhere
 * unless a default bucket is configured, which the configuration file below does; `quern run` mends it for every SDK
 * call (python/sitecustomize.py). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "cli/client.h"
#include "cli/commands.h"

struct variable {
	const char *name, *value;
};

/* Set-up A: with a default bucket the SDK makes no STS call. NULL when the file would be out of the user's reach: with
 * somebody else's keys, or for who asked root (sudo quern env) - root's data directory is closed. */
static const char *sdk_config(struct config *c)
{
	const char *sudo_uid = getenv("SUDO_UID");
	if (c->endpoint || (c->uid >= 0 && sudo_uid && strcmp(sudo_uid, "0") != 0))
		return NULL;
	const char *path = config_path(c, "run/sagemaker-config.yaml");
	FILE *f = fopen(path, "we");
	if (!f)
		return access(path, R_OK) == 0 ? path : NULL;
	fprintf(f,
		"SchemaVersion: '1.0'\nSageMaker:\n  PythonSDK:\n    Modules:\n      TelemetryOptOut: true\n      "
		"Session:\n"
		"        DefaultS3Bucket: sagemaker-%s-%s\n",
		c->region, c->account);
	return fclose(f) == 0 ? path : NULL;
}

enum { MAX_VARIABLES = 12 };

/* For sh, bash and zsh. An `if`, not `&&`: the text must end well under `set -e`. */
static const char aws_function[] =
	"if command -v aws >/dev/null 2>&1; then\n"
	"\taws() { case \" $* \" in *' --endpoint-url'[' =']*) command aws \"$@\" ;;"
	" *) if [ -n \"${AWS_ENDPOINT_URL-}\" ]; then command aws --endpoint-url \"$AWS_ENDPOINT_URL\" \"$@\";"
	" else command aws \"$@\"; fi ;; esac; }\n"
	"\tif [ -n \"${BASH_VERSION-}\" ]; then export -f aws; fi\n"
	"fi";

static const char aws_function_fish[] =
	"if command -q aws;\n"
	"\tfunction aws; if string match -q -- '--endpoint-url*' $argv; command aws $argv;"
	" else; command aws --endpoint-url $AWS_ENDPOINT_URL $argv; end; end;\n"
	"end;";

static int collect(struct config *c, struct variable *v, struct error *err)
{
	const char *access_key, *secret_key, *no_proxy = getenv("no_proxy");
	int n = 0;
	if (client_keys(c, &access_key, &secret_key, err) < 0)
		return -1;
	v[n++] = (struct variable){ "AWS_ENDPOINT_URL", config_endpoint(c) };
	v[n++] = (struct variable){ "AWS_ACCESS_KEY_ID", access_key };
	v[n++] = (struct variable){ "AWS_SECRET_ACCESS_KEY", secret_key };
	v[n++] = (struct variable){ "AWS_DEFAULT_REGION", c->region };
	v[n++] = (struct variable){ "AWS_REGION", c->region };
	v[n++] = (struct variable){ "AWS_EC2_METADATA_DISABLED", "true" };
	/* else boto3 sends StartSyncExecution to a host `sync-127.0.0.1` */
	v[n++] = (struct variable){ "AWS_DISABLE_HOST_PREFIX_INJECTION", "true" };
	const char *config = sdk_config(c);
	if (config)
		v[n++] = (struct variable){ "SAGEMAKER_USER_CONFIG_OVERRIDE", config };
	if (!no_proxy || !strstr(no_proxy, "127.0.0.1"))
		v[n++] = (struct variable){ "no_proxy",
					    arena_printf(&c->arena, "%s%s127.0.0.1,localhost", no_proxy ? no_proxy : "",
							 no_proxy && *no_proxy ? "," : "") };
	return n;
}

void print_quoted(const char *text)
{
	putchar('\'');
	for (; *text; text++)
		if (*text == '\'') /* it cannot stand within them */
			fputs("'\\''", stdout);
		else
			putchar(*text);
	putchar('\'');
}

static void print_sh(const struct variable *v, int n)
{
	for (int i = 0; i < n; i++) {
		printf("export %s=", v[i].name);
		print_quoted(v[i].value);
		putchar('\n');
	}
	puts("unset AWS_SESSION_TOKEN AWS_PROFILE");
	puts(aws_function);
}

static void print_fish(const struct variable *v, int n)
{
	for (int i = 0; i < n; i++) {
		printf("set -gx %s ", v[i].name);
		print_quoted(v[i].value);
		puts(";");
	}
	puts("set -e AWS_SESSION_TOKEN;\nset -e AWS_PROFILE;");
	puts(aws_function_fish);
}

static int print_json(const struct variable *v, int n)
{
	CLEANUP_JSON json_t *doc = json_object();
	for (int i = 0; i < n; i++)
		json_set_text(doc, v[i].name, v[i].value);
	json_dumpf(doc, stdout, JSON_INDENT(2));
	putchar('\n');
	return 0;
}

int cli_env(struct config *c, int argc, char **argv)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct variable v[MAX_VARIABLES];
	bool fish = false;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			c->json = true;
		else if (strcmp(argv[i], "--fish") == 0)
			fish = true;
		else
			return usage("env", argv[i]);
	}
	int n = collect(c, v, &err);
	if (n < 0)
		return fail_error(NULL, &err);
	if (!c->endpoint && !config_pid(c, "run/serve.pid"))
		fprintf(stderr, "quern: Quern is not running; the environment is good once it is\n  try: quern up\n");
	if (!c->endpoint && config_policies_ignored(c))
		fprintf(stderr,
			"quern: IAM policies are ignored (quern up --iam ignore): every key may do everything\n");
	if (c->json)
		return print_json(v, n);
	(fish ? print_fish : print_sh)(v, n);
	return 0;
}

int cli_run(struct config *c, int argc, char **argv)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct variable v[MAX_VARIABLES];
	const char *python = "python3", *path = getenv("PYTHONPATH");
	int at = 1;
	if (at + 1 < argc && strcmp(argv[at], "--python") == 0) {
		python = argv[at + 1];
		at += 2;
	}
	if (at >= argc)
		return usage("run", NULL);
	if (argv[at][0] == '-' && strcmp(argv[at], "-m") != 0 && strcmp(argv[at], "-c") != 0)
		return usage("run", argv[at]);
	if (argv[at][0] != '-' && access(argv[at], R_OK) < 0)
		return fail(NULL, "run `%s`: %s", argv[at], strerror(errno));
	int n = collect(c, v, &err);
	if (n < 0)
		return fail_error(NULL, &err);
	for (int i = 0; i < n; i++)
		setenv(v[i].name, v[i].value, 1);
	unsetenv("AWS_SESSION_TOKEN");
	unsetenv("AWS_PROFILE");
	setenv("PYTHONPATH",
	       arena_printf(&c->arena, "%s/python%s%s", c->libexec, path && *path ? ":" : "", path ? path : ""), 1);
	argv[at - 1] = (char *)python;
	execvp(python, argv + at - 1);
	return fail("quern run --python PYTHON SCRIPT", "run `%s`: %s", python, strerror(errno));
}
