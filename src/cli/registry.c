/* registry.c - see registry.h. Source: distribution-spec 1.1 (end-2, 4b, 7, 11). */
#include "cli/registry.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/id.h"
#include "base/json.h"

#define TARGET "AmazonEC2ContainerRegistry_V20150921."
enum { SILENCE_SECONDS = 600 }; /* a large layer may take as long as it needs, but something must move */

struct push {
	struct config *config;
	CURL *curl;
	const char *repository, *userpwd;
};

static const char *get_userpwd(struct config *c, struct client *cl, struct error *err)
{
	CLEANUP_JSON json_t *answer = client_call(cl, "ecr", TARGET "GetAuthorizationToken", NULL, err);
	if (!answer)
		return NULL;
	struct str coded = json_get_str(json_array_get(json_get(answer, "authorizationData"), 0), "authorizationToken");
	char *plain = arena_alloc(&c->arena, coded.len + 4);
	if (!coded.len || base64_decode(plain, coded) < 0) {
		error_set(err, "the registry gave no token");
		return NULL;
	}
	return plain;
}

int push_new(struct config *c, struct client *cl, const char *repository, struct push **out, struct error *err)
{
	CLEANUP_ERROR struct error why = ERROR_INIT;
	CLEANUP_JSON json_t *made = client_call(cl, "ecr", TARGET "CreateRepository",
						json_pack("{s:s}", "repositoryName", repository), &why);
	if (!made && !error_is(&why, "RepositoryAlreadyExistsException"))
		return error_move(err, &why);
	const char *userpwd = get_userpwd(c, cl, err);
	if (!userpwd)
		return -1;
	struct push *p = mem_calloc(1, sizeof(*p));
	*p = (struct push){ c, curl_easy_init(), repository, userpwd };
	if (!p->curl)
		BUG("out of memory");
	*out = p;
	return 0;
}

void push_free(struct push *p)
{
	if (p)
		curl_easy_cleanup(p->curl);
	free(p);
}

static size_t collect(char *p, size_t size, size_t n, void *buf)
{
	buf_add(buf, p, size * n);
	return size * n;
}

/* The options of every request. */
static void prepare(struct push *p, const char *method, const char *path, struct buf *body)
{
	curl_easy_reset(p->curl);
	curl_easy_setopt(
		p->curl, CURLOPT_URL,
		arena_printf(&p->config->arena, "%s/v2/%s/%s", config_endpoint(p->config), p->repository, path));
	curl_easy_setopt(p->curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(p->curl, CURLOPT_USERPWD, p->userpwd);
	curl_easy_setopt(p->curl, CURLOPT_WRITEFUNCTION, collect);
	curl_easy_setopt(p->curl, CURLOPT_WRITEDATA, body);
	curl_easy_setopt(p->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(p->curl, CURLOPT_LOW_SPEED_TIME, (long)SILENCE_SECONDS);
	if (strcmp(method, "HEAD") == 0)
		curl_easy_setopt(p->curl, CURLOPT_NOBODY, 1L);
	else
		curl_easy_setopt(p->curl, CURLOPT_CUSTOMREQUEST, method);
}

/* The status, or -1. */
static int perform(struct push *p, const char *type, struct error *err)
{
	long status = 0;
	struct curl_slist *headers = curl_slist_append(NULL, type);
	headers = curl_slist_append(headers, "Expect:");
	curl_easy_setopt(p->curl, CURLOPT_HTTPHEADER, headers);
	CURLcode rc = curl_easy_perform(p->curl);
	curl_slist_free_all(headers);
	curl_easy_getinfo(p->curl, CURLINFO_RESPONSE_CODE, &status);
	return rc == CURLE_OK ? (int)status
			      : error_set(err, "%s: %s", config_endpoint(p->config), curl_easy_strerror(rc));
}

static int expect_created(int status, const char *what, const struct buf *body, struct error *err)
{
	if (status < 0)
		return error_wrap(err, "push %s", what);
	return status == 201 ? 0 : error_set(err, "push %s: HTTP %d %.*s", what, status, STR_ARG(buf_str(body)));
}

int push_have(struct push *p, const char *digest, struct error *err)
{
	CLEANUP_BUF struct buf body = BUF_INIT;
	struct arena *a = &p->config->arena;
	prepare(p, "HEAD", arena_printf(a, "blobs/%s", digest), &body);
	int status = perform(p, "Accept: */*", err);
	if (status < 0 || status == 200)
		return status < 0 ? -1 : 1;
	prepare(p, "POST", arena_printf(a, "blobs/uploads/?mount=%s", digest), &body);
	curl_easy_setopt(p->curl, CURLOPT_POSTFIELDS, "");
	status = perform(p, "Accept: */*", err);
	return status < 0 ? -1 : status == 201;
}

int push_text(struct push *p, const char *digest, struct str content, struct error *err)
{
	CLEANUP_BUF struct buf body = BUF_INIT;
	prepare(p, "POST", arena_printf(&p->config->arena, "blobs/uploads/?digest=%s", digest), &body);
	curl_easy_setopt(p->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)content.len);
	curl_easy_setopt(p->curl, CURLOPT_POSTFIELDS, content.ptr);
	return expect_created(perform(p, "Content-Type: application/octet-stream", err), digest, &body, err);
}

struct source {
	int fd;
	off_t at;
};

static size_t read_source(char *out, size_t size, size_t n, void *data)
{
	struct source *s = data;
	ssize_t got = pread(s->fd, out, size * n, s->at);
	if (got < 0)
		return CURL_READFUNC_ABORT;
	s->at += got;
	return (size_t)got;
}

int push_file(struct push *p, const char *digest, int fd, int64_t size, struct error *err)
{
	CLEANUP_BUF struct buf body = BUF_INIT;
	struct source s = { fd, 0 };
	prepare(p, "POST", arena_printf(&p->config->arena, "blobs/uploads/?digest=%s", digest), &body);
	curl_easy_setopt(p->curl, CURLOPT_POST, 1L);
	curl_easy_setopt(p->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size);
	curl_easy_setopt(p->curl, CURLOPT_READFUNCTION, read_source);
	curl_easy_setopt(p->curl, CURLOPT_READDATA, &s);
	return expect_created(perform(p, "Content-Type: application/octet-stream", err), digest, &body, err);
}

int push_manifest(struct push *p, const char *tag, struct str manifest, struct error *err)
{
	CLEANUP_BUF struct buf body = BUF_INIT;
	prepare(p, "PUT", arena_printf(&p->config->arena, "manifests/%s", tag), &body);
	curl_easy_setopt(p->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)manifest.len);
	curl_easy_setopt(p->curl, CURLOPT_POSTFIELDS, manifest.ptr);
	return expect_created(perform(p, "Content-Type: application/vnd.oci.image.manifest.v1+json", err),
			      "the manifest", &body, err);
}

int registry_prune(struct config *c, struct client *cl, bool all, bool dry, json_t **out, struct error *err)
{
	CLEANUP_BUF struct buf body = BUF_INIT;
	const char *userpwd = get_userpwd(c, cl, err);
	if (!userpwd)
		return -1;
	struct push p = { c, curl_easy_init(), "_quern", userpwd };
	if (!p.curl)
		BUG("out of memory");
	prepare(&p, "POST", arena_printf(&c->arena, "prune?%s%s", all ? "all=1&" : "", dry ? "dry=1" : ""), &body);
	curl_easy_setopt(p.curl, CURLOPT_POSTFIELDS, "");
	int status = perform(&p, "Accept: application/json", err);
	curl_easy_cleanup(p.curl);
	if (status != 200)
		return status < 0 ? -1 : error_set(err, "HTTP %d %.*s", status, STR_ARG(buf_str(&body)));
	*out = json_parse(buf_str(&body), err);
	return *out ? 0 : -1;
}
