/* map.c - see map.h. DESIGN: a dense array of entries and an open-addressing index of it (linear probing, at most
 * half full). FNV-1a mixed by a 64-bit finaliser and a per-process random seed, so that a client cannot choose
 * collisions. */
#include "base/map.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/id.h"

static uint64_t seed;

__attribute__((constructor)) static void seed_init(void)
{
	random_bytes(&seed, sizeof(seed));
}

uint64_t hash_bytes(const void *p, size_t n)
{
	const unsigned char *s = p;
	uint64_t h = 0xcbf29ce484222325u ^ seed;
	for (size_t i = 0; i < n; i++)
		h = (h ^ s[i]) * 0x100000001b3u;
	h ^= h >> 33;
	h *= 0xff51afd7ed558ccdu;
	return h ^ (h >> 33);
}

void map_release(struct map *m)
{
	for (size_t i = 0; i < m->count; i++)
		free((char *)m->entries[i].key.ptr);
	free(m->entries);
	free(m->slots);
	*m = MAP_INIT;
}

/* The slot of the key, or the empty slot where it would go. */
static size_t find_slot(const struct map *m, struct str key, uint64_t hash)
{
	size_t mask = m->nslots - 1, i = hash & mask;
	while (m->slots[i]) {
		const struct map_entry *e = &m->entries[m->slots[i] - 1];
		if (e->hash == hash && str_eq(e->key, key))
			break;
		i = (i + 1) & mask;
	}
	return i;
}

void *map_get(const struct map *m, struct str key)
{
	if (m->count == 0)
		return NULL;
	size_t slot = find_slot(m, key, hash_bytes(key.ptr, key.len));
	return m->slots[slot] ? m->entries[m->slots[slot] - 1].value : NULL;
}

static void grow(struct map *m)
{
	m->nslots = m->nslots ? m->nslots * 2 : 16;
	free(m->slots);
	m->slots = mem_calloc(m->nslots, sizeof(*m->slots));
	m->cap = m->nslots / 2;
	m->entries = mem_realloc(m->entries, m->cap * sizeof(*m->entries));
	for (size_t i = 0; i < m->count; i++)
		m->slots[find_slot(m, m->entries[i].key, m->entries[i].hash)] = (uint32_t)i + 1;
}

void *map_set(struct map *m, struct str key, void *value)
{
	uint64_t hash = hash_bytes(key.ptr, key.len);
	if (m->nslots) {
		size_t slot = find_slot(m, key, hash);
		if (m->slots[slot]) {
			struct map_entry *e = &m->entries[m->slots[slot] - 1];
			void *old = e->value;
			e->value = value;
			return old;
		}
	}
	if (m->count == m->cap)
		grow(m);
	size_t slot = find_slot(m, key, hash);
	m->entries[m->count] =
		(struct map_entry){ { mem_strndup(key.len ? key.ptr : "", key.len), key.len }, value, hash };
	m->slots[slot] = (uint32_t)++m->count;
	return NULL;
}

/* Closes the gap at `hole` so that no probe sequence is cut (Knuth, TAOCP vol. 3, 6.4, algorithm R). */
static void close_gap(struct map *m, size_t hole)
{
	size_t mask = m->nslots - 1, i = hole;
	for (;;) {
		i = (i + 1) & mask;
		if (!m->slots[i])
			break;
		size_t home = m->entries[m->slots[i] - 1].hash & mask;
		if (((i - home) & mask) >= ((i - hole) & mask)) {
			m->slots[hole] = m->slots[i];
			hole = i;
		}
	}
	m->slots[hole] = 0;
}

void *map_remove(struct map *m, struct str key)
{
	if (m->count == 0)
		return NULL;
	size_t slot = find_slot(m, key, hash_bytes(key.ptr, key.len));
	if (!m->slots[slot])
		return NULL;
	size_t index = m->slots[slot] - 1, last = m->count - 1;
	void *value = m->entries[index].value;
	free((char *)m->entries[index].key.ptr);
	close_gap(m, slot);
	if (index != last) {
		size_t moved = find_slot(m, m->entries[last].key, m->entries[last].hash);
		m->entries[index] = m->entries[last];
		m->slots[moved] = (uint32_t)index + 1;
	}
	m->count--;
	return value;
}
