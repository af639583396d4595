/* route.c - which service a request is for.
 *
 * DESIGN: a signed request names its service in the credential scope. Several services may share a scope (sagemaker,
 * sagemaker-runtime and others are all "sagemaker"): then X-Amz-Target, a raw service's claim or the path of a REST
 * operation decides. An unsigned request goes to a raw service that authenticates itself, then to the service of
 * X-Amz-Target (which will refuse it in its own words), then to a raw service that claims it. The Host never matters
 * here. */
#include "wire/http.h"

#include "base/log.h"

void route_service(struct service *sv)
{
	if (!sv->s->model)
		return;
	sv->model = model_find(sv->s->model);
	if (!sv->model)
		BUG("no service model `%s`", sv->s->model);
	for (const struct wire_op *op = sv->s->ops; op && op->name; op++) {
		if (!model_op_find(sv->model, str_from(op->name)))
			BUG("service %s has no operation `%s`", sv->s->model, op->name);
		if (map_set(&sv->ops, str_from(op->name), (void *)op))
			BUG("operation `%s` of %s is listed twice", op->name, sv->s->model);
	}
}

static enum auth_style style_of(const struct service *sv)
{
	if (sv->s->raw)
		return str_eqz(str_from(sv->s->scope), "s3") ? AUTH_S3 : AUTH_REST;
	switch (model_protocol_of(sv->model)) {
	case MODEL_JSON:
		return AUTH_JSON;
	case MODEL_QUERY:
		return AUTH_QUERY;
	case MODEL_REST_XML:
	case MODEL_REST_JSON:
		break;
	}
	return AUTH_REST;
}

static int take(struct wire_request *r, struct service *sv)
{
	r->service = sv;
	r->route = sv->s->raw ? ROUTE_RAW : ROUTE_OP;
	r->style = style_of(sv);
	return 0;
}

static bool claims(struct wire_request *r, const struct service *sv)
{
	return sv->s->raw && sv->s->claims && sv->s->claims(r, sv->s->ctx);
}

/* "SageMaker.CreatePipeline" belongs to the service whose prefix is "SageMaker". */
static bool targets(const struct service *sv, struct str target)
{
	if (!sv->model || !target.len)
		return false;
	size_t dot = target.len;
	while (dot > 0 && target.ptr[dot - 1] != '.')
		dot--;
	const char *prefix = model_target_prefix(sv->model);
	return dot > 0 && *prefix && str_eqz(str_head(target, dot - 1), prefix);
}

/* True when a REST service has an operation for this method and path. */
static bool has_path(struct wire_request *r, const struct service *sv)
{
	if (!sv->model)
		return false;
	enum model_protocol p = model_protocol_of(sv->model);
	if (p != MODEL_REST_JSON && p != MODEL_REST_XML)
		return false;
	request_query(r);
	struct codec_request rq = { .method = r->http.method,
				    .path = r->http.path,
				    .query = r->query,
				    .nquery = r->nquery,
				    .headers = r->http.headers,
				    .nheaders = r->http.nheaders };
	CLEANUP_ERROR struct error ignored = ERROR_INIT;
	const struct model_op *op = NULL;
	json_t *in = NULL;
	codec_decode(&r->arena, sv->model, &rq, &op, &in, &ignored);
	json_decref(in);
	return op != NULL;
}

static int by_scope(struct wire_request *r, struct error *err)
{
	struct wire_server *w = r->server;
	struct str target = wire_header(r, "x-amz-target");
	struct service *first = NULL;
	size_t count = 0;
	for (size_t i = 0; i < w->nservices; i++) {
		struct service *sv = &w->services[i];
		if (!str_eq(r->auth.service, str_from(sv->s->scope)))
			continue;
		if (targets(sv, target))
			return take(r, sv);
		if (!first)
			first = sv;
		count++;
	}
	if (count == 1)
		return take(r, first);
	for (size_t i = 0; i < w->nservices && count; i++) {
		struct service *sv = &w->services[i];
		if (str_eq(r->auth.service, str_from(sv->s->scope)) &&
		    (claims(r, sv) || (!target.len && has_path(r, sv))))
			return take(r, sv);
	}
	if (count)
		return take(r, first);
	return error_http(err, 501, "NotImplementedException", "Quern has no service `%.*s`.",
			  STR_ARG(str_head(r->auth.service, 64)));
}

static int by_claim(struct wire_request *r, struct error *err)
{
	struct wire_server *w = r->server;
	for (size_t i = 0; i < w->nservices; i++)
		if (w->services[i].s->own_auth && claims(r, &w->services[i]))
			return take(r, &w->services[i]);
	struct str target = wire_header(r, "x-amz-target");
	for (size_t i = 0; i < w->nservices; i++)
		if (targets(&w->services[i], target))
			return take(r, &w->services[i]);
	for (size_t i = 0; i < w->nservices; i++)
		if (!w->services[i].s->own_auth && claims(r, &w->services[i]))
			return take(r, &w->services[i]);
	bool form = str_starts(wire_header(r, "content-type"), STR("application/x-www-form-urlencoded"));
	r->style = form ? AUTH_QUERY : AUTH_REST;
	return auth_fault_error(r->style, r->auth_fault, &r->auth, 0, err);
}

int route_request(struct wire_request *r, struct error *err)
{
	if (str_eqz(r->http.path, "/_quern/health")) {
		r->route = ROUTE_HEALTH;
		return 0;
	}
	if (str_eqz(r->http.path, "/_quern/api")) {
		r->route = ROUTE_COVERAGE;
		return 0;
	}
	r->auth_fault = sigv4_parse(&r->arena, &r->http, &r->auth);
	if ((r->auth.place == SIGV4_HEADER || r->auth.place == SIGV4_QUERY) && r->auth.service.len)
		return by_scope(r, err);
	return by_claim(r, err);
}
