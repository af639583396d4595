/* map.h - hash map from byte strings to pointers. Keys are copied; values are the caller's. Not thread-safe.
 * Iteration order is insertion order as long as nothing was removed. */
#ifndef QUERN_BASE_MAP_H
#define QUERN_BASE_MAP_H

#include "base/str.h"

struct map_entry {
	struct str key; /* owned by the map, NUL-terminated */
	void *value;
	uint64_t hash;
};
struct map {
	struct map_entry *entries; /* dense, `count` used; a removed entry is filled by the last */
	uint32_t *slots;           /* open addressing; index+1 into entries, 0 empty */
	size_t count, cap, nslots;
};
#define MAP_INIT ((struct map){ 0 })

/* Frees keys and the table; not the values. */
void map_release(struct map *m);
/* The value, or NULL when absent. */
void *map_get(const struct map *m, struct str key);
/* Sets; returns the value that was there before, or NULL. `value` must not be NULL. */
void *map_set(struct map *m, struct str key, void *value);
/* Removes; returns the value that was there, or NULL. */
void *map_remove(struct map *m, struct str key);
/* for (size_t i = 0; i < m.count; i++) m.entries[i].value */
/* Another value in each process: not for what is stored or shown (str_digest). */
uint64_t hash_bytes(const void *p, size_t n);

#endif
