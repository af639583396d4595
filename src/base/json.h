/* json.h - small helpers over jansson. All accept NULL and wrong types and answer the "absent" value. */
#ifndef QUERN_BASE_JSON_H
#define QUERN_BASE_JSON_H

#include <jansson.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

/* Borrowed NUL-terminated text of member `key`, or NULL when absent, null or not a string. */
const char *json_get_text(const json_t *obj, const char *key);
struct str json_get_str(const json_t *obj, const char *key);                /* STR_NULL when absent */
int64_t json_get_int(const json_t *obj, const char *key, int64_t fallback); /* accepts integral reals */
double json_get_real(const json_t *obj, const char *key, double fallback);
bool json_get_bool(const json_t *obj, const char *key, bool fallback);
/* Member that is neither absent nor JSON null (null counts as absent), borrowed; or NULL. */
json_t *json_get(const json_t *obj, const char *key);
/* Path "A.B.C" of members; borrowed or NULL. */
json_t *json_get_path(const json_t *obj, const char *path);
/* Text of a JSON string value, STR_NULL otherwise. */
struct str json_str(const json_t *value);
/* Parses; depth-limited; returns owned or NULL with err ("line L column C: why"). */
json_t *json_parse(struct str text, struct error *err);
/* Appends the compact text: key order kept, any top-level type, doubles in the fewest digits that read back the same.
 * An error: deeper than depth_max, not UTF-8, not a number JSON has. */
int json_write(struct buf *out, const json_t *value, int depth_max, struct error *err);
enum { JSON_REAL_TEXT_MAX = 40 };
/* A finite double as json_write has it: "0.1", "1.0", "1e+300". */
void json_real_text(double value, char text[JSON_REAL_TEXT_MAX]);
/* The text as json_write has it; the value is one that can be written. Owned by the arena. */
struct str json_text(struct arena *a, const json_t *value);
/* The same malloc'ed; caller frees. */
char *json_text_dup(const json_t *value);
/* Sets obj[key]=text when text is not NULL. */
void json_set_text(json_t *obj, const char *key, const char *text);
void json_set_int(json_t *obj, const char *key, int64_t value);
void json_set_bool(json_t *obj, const char *key, bool value);
void json_set_real(json_t *obj, const char *key, double value);
/* Copies member key from src to dst when present and not null (shared, not deep). */
void json_copy_key(json_t *dst, const json_t *src, const char *key);
/* Tags are lists of objects with a key, whose member is called `name` ("Key" or "key"), and a value. Puts copies of
 * `tags` into `list`, each in place of the one with its key; takes those away whose keys (texts) are in `keys`. */
void json_tags_put(json_t *list, const char *name, const json_t *tags);
void json_tags_remove(json_t *list, const char *name, const json_t *keys);
/* decref at the end of the scope. */
void json_cleanup(json_t **value);
#define CLEANUP_JSON __attribute__((cleanup(json_cleanup)))

#endif
