/* client.c - see client.h. DESIGN: libcurl signs (CURLOPT_AWS_SIGV4). */
#include "cli/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"

struct client {
	struct config *config;
	CURL *curl;
	const char *endpoint;
	char *userpwd;
};

/* The environment of somebody else's `quern env`. */
static bool keys_of_environment(struct config *c, const char **access_key, const char **secret_key)
{
	const char *endpoint = getenv("AWS_ENDPOINT_URL");
	*access_key = getenv("AWS_ACCESS_KEY_ID");
	*secret_key = getenv("AWS_SECRET_ACCESS_KEY");
	if (!endpoint || !*access_key || !*secret_key || getenv("AWS_SESSION_TOKEN")) /* a task's: not for us */
		return false;
	c->endpoint = endpoint;
	return true;
}

static int no_keys(struct config *c, const char *path, int why, struct error *err)
{
	struct stat st;
	if (why == ENOENT && stat(c->data_dir, &st) < 0 && errno == ENOENT)
		return error_aws(err, CLIENT_DOWN, "Quern was never started with the data directory `%s`%s",
				 c->data_dir,
				 geteuid() != 0 && stat(CONFIG_ROOT_DIR, &st) == 0 ? " (root's is in " CONFIG_ROOT_DIR
										     ": eval \"$(sudo quern env)\")"
										   : "");
	if (why == ENOENT)
		return error_aws(err, CLIENT_DOWN, "Quern is not running: there is no `%s`", path);
	if (why == EACCES)
		return config_refuse_dir(c, err);
	return error_errno(err, why, "read the keys in `%s`", path);
}

int client_keys(struct config *c, const char **access_key, const char **secret_key, struct error *err)
{
	const char *path = config_path(c, "credentials");
	FILE *f = fopen(path, "re");
	char line[512];
	if (!f) {
		int why = errno;
		return keys_of_environment(c, access_key, secret_key) ? 0 : no_keys(c, path, why, err);
	}
	*access_key = *secret_key = NULL;
	while (fgets(line, sizeof(line), f)) {
		struct str rest = str_from(line), name;
		if (!str_split(&rest, '=', &name) || !rest.ptr)
			continue;
		name = str_trim(name);
		if (str_eqz(name, "aws_access_key_id"))
			*access_key = arena_strdup(&c->arena, str_trim(rest));
		else if (str_eqz(name, "aws_secret_access_key"))
			*secret_key = arena_strdup(&c->arena, str_trim(rest));
	}
	fclose(f);
	return *access_key && *secret_key ? 0 : error_set(err, "`%s` has no keys", path);
}

/* What libcurl could not do. */
static int no_answer(const char *endpoint, CURLcode rc, struct error *err)
{
	if (rc == CURLE_COULDNT_CONNECT)
		return error_aws(err, CLIENT_DOWN, "Quern is not running: nothing answers at %s", endpoint);
	return error_set(err, "%s: %s", endpoint, curl_easy_strerror(rc));
}

int client_new(struct config *c, struct client **out, struct error *err)
{
	const char *access_key, *secret_key;
	if (client_keys(c, &access_key, &secret_key, err) < 0)
		return -1;
	struct client *cl = mem_calloc(1, sizeof(*cl));
	cl->config = c;
	cl->endpoint = config_endpoint(c);
	cl->curl = curl_easy_init();
	if (!cl->curl || asprintf(&cl->userpwd, "%s:%s", access_key, secret_key) < 0)
		BUG("out of memory");
	*out = cl;
	return 0;
}

void client_free(struct client *cl)
{
	if (!cl)
		return;
	curl_easy_cleanup(cl->curl);
	free(cl->userpwd);
	free(cl);
}

static size_t collect(char *p, size_t size, size_t n, void *buf)
{
	buf_add(buf, p, size * n);
	return size * n;
}

static json_t *read_answer(long status, struct str body, struct error *err)
{
	json_t *answer = json_parse(body.len ? body : STR("{}"), err);
	if (!answer) {
		error_wrap(err, "the daemon's answer (HTTP %ld)", status);
		return NULL;
	}
	if (status < 300)
		return answer;
	const char *code = json_get_text(answer, "__type"), *text = json_get_text(answer, "message");
	if (!text) /* as the model of some errors spells it */
		text = json_get_text(answer, "Message");
	error_aws(err, code ? code : "Unknown", "%s", text ? text : "no message");
	json_decref(answer);
	return NULL;
}

/* The HTTP status, or < 0 with err when there was no answer. */
static long post(struct client *cl, const char *service, const char *target, json_t *in, struct buf *body,
		 struct error *err)
{
	CLEANUP_JSON json_t *input = in ? in : json_object();
	CLEANUP_FREE char *text = json_text_dup(input);
	char header[256], signer[128];
	snprintf(header, sizeof(header), "X-Amz-Target: %s", target);
	snprintf(signer, sizeof(signer), "aws:amz:%s:%s", cl->config->region, service);
	struct curl_slist *headers = curl_slist_append(NULL, header);
	headers = curl_slist_append(headers, "Content-Type: application/x-amz-json-1.1");
	headers = curl_slist_append(headers, "Expect:");
	curl_easy_reset(cl->curl);
	curl_easy_setopt(cl->curl, CURLOPT_URL, arena_printf(&cl->config->arena, "%s/", cl->endpoint));
	curl_easy_setopt(cl->curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(cl->curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(cl->curl, CURLOPT_AWS_SIGV4, signer);
	curl_easy_setopt(cl->curl, CURLOPT_USERPWD, cl->userpwd);
	curl_easy_setopt(cl->curl, CURLOPT_POSTFIELDS, text);
	curl_easy_setopt(cl->curl, CURLOPT_WRITEFUNCTION, collect);
	curl_easy_setopt(cl->curl, CURLOPT_WRITEDATA, body);
	curl_easy_setopt(cl->curl, CURLOPT_BUFFERSIZE, 256L * 1024);
	curl_easy_setopt(cl->curl, CURLOPT_TIMEOUT, 60L);
	CURLcode rc = curl_easy_perform(cl->curl);
	curl_slist_free_all(headers);
	if (rc != CURLE_OK)
		return no_answer(cl->endpoint, rc, err);
	long status = 0;
	curl_easy_getinfo(cl->curl, CURLINFO_RESPONSE_CODE, &status);
	return status;
}

json_t *client_call(struct client *cl, const char *service, const char *target, json_t *in, struct error *err)
{
	CLEANUP_BUF struct buf body = BUF_INIT;
	long status = post(cl, service, target, in, &body, err);
	return status < 0 ? NULL : read_answer(status, buf_str(&body), err);
}

json_t *client_list(struct client *cl, struct client_list list, json_t *in, struct error *err)
{
	CLEANUP_JSON json_t *request = in ? in : json_object();
	json_t *all = json_array(), *token;
	do {
		CLEANUP_JSON json_t *page = client_call(cl, list.service, list.target, json_incref(request), err);
		if (!page) {
			json_decref(all);
			return NULL;
		}
		json_array_extend(all, json_get(page, list.member));
		token = json_get(page, list.token);
		if (token)
			json_object_set(request, list.token, token);
	} while (token);
	return all;
}

int client_call_text(struct client *cl, const char *service, const char *target, json_t *in, struct buf *body,
		     struct error *err)
{
	buf_clear(body);
	long status = post(cl, service, target, in, body, err);
	if (status < 300)
		return status < 0 ? -1 : 0;
	json_decref(read_answer(status, buf_str(body), err));
	return -1;
}

json_t *client_get(struct config *c, const char *path, struct error *err)
{
	CLEANUP_BUF struct buf body = BUF_INIT;
	long status = 0;
	CURL *curl = curl_easy_init();
	if (!curl)
		BUG("out of memory");
	curl_easy_setopt(curl, CURLOPT_URL, arena_printf(&c->arena, "%s%s", config_endpoint(c), path));
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, collect);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, 10L);
	CURLcode rc = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_cleanup(curl);
	if (rc == CURLE_OK)
		return read_answer(status, buf_str(&body), err);
	no_answer(config_endpoint(c), rc, err);
	return NULL;
}
