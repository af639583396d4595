/* text.c - JSON values as the text the store holds.
 *
 * DESIGN: what could not be read again (invalid UTF-8, too deep) is an error here, where the turn can still be undone.
 */
#include "engine/engine_impl.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"

enum { DEPTH_MAX = 2000 }; /* jansson reads 2048 */

int engine_json_write(struct buf *out, const json_t *value, struct error *err)
{
	return json_write(out, value, DEPTH_MAX, err);
}

char *engine_json_line(const json_t *value, struct error *err)
{
	struct buf out = BUF_INIT;
	if (json_write(&out, value, DEPTH_MAX, err) == 0)
		return buf_detach(&out);
	buf_release(&out);
	return NULL;
}

json_t *engine_json_unline(const char *text, size_t len, struct error *err)
{
	json_error_t why;
	json_t *value = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
	if (!value)
		error_set(err, "read JSON: %s at byte %d", why.text, why.position);
	return value;
}

/* Some array or object below (or at) `value` has a second owner. */
static bool is_shared(json_t *value)
{
	const char *key;
	json_t *child;
	size_t i;
	if (!json_is_object(value) && !json_is_array(value))
		return false;
	if (value->refcount > 1)
		return true;
	if (json_is_object(value)) {
		json_object_foreach (value, key, child)
			if (is_shared(child))
				return true;
		return false;
	}
	json_array_foreach (value, i, child)
		if (is_shared(child))
			return true;
	return false;
}

json_t *engine_json_unshare(json_t *value)
{
	if (!value || !is_shared(value))
		return value;
	json_t *copy = json_deep_copy(value);
	json_decref(value);
	if (!copy)
		BUG("a JSON value contains itself");
	return copy;
}
