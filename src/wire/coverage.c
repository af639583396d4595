/* coverage.c - which operations of each service are implemented: GET /_quern/api, for `quern api`.
 * "unguarded" names those that no policy can allow, because they have no row in their service's access table. */
#include "base/json.h"
#include "wire/http.h"
#include "wire/model.h"

static json_t *service_coverage(const struct wire_service *s, const struct model_service *model)
{
	json_t *names = json_array(), *unguarded = json_array();
	for (const struct wire_op *op = s->ops; op && op->name; op++) {
		json_array_append_new(names, json_string(op->name));
		if (!access_find(s, op->name))
			json_array_append_new(unguarded, json_string(op->name));
	}
	for (size_t i = 0; s->operation_at && s->operation_at(i); i++) {
		json_array_append_new(names, json_string(s->operation_at(i)));
		if (!access_find(s, s->operation_at(i)))
			json_array_append_new(unguarded, json_string(s->operation_at(i)));
	}
	return json_pack("{s:o, s:o, s:I}", "implemented", names, "unguarded", unguarded, "known",
			 (json_int_t)model_op_count(model));
}

struct str coverage_text(struct wire_server *w, struct arena *a)
{
	CLEANUP_JSON json_t *out = json_object();
	for (size_t i = 0; i < w->nservices; i++) {
		const struct wire_service *s = w->services[i].s;
		const struct model_service *model = model_find(s->model ? s->model : s->scope);
		if (model && (s->ops || s->operation_at))
			json_object_set_new(out, model_name(model), service_coverage(s, model));
	}
	return json_text(a, out);
}
