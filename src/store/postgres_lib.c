/* postgres_lib.c - libpq, loaded with dlopen.
 *
 * DESIGN: who keeps the state in SQLite pays neither the start nor the memory of libpq and the libraries behind it. The
 * types come from libpq-fe.h when Quern is built; the version that is found must know the pipeline mode (14). */
#include "store/postgres_impl.h"

#include <dlfcn.h>

struct pq pq;

static pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;
static bool loaded;

static int load(struct error *err)
{
	void *lib = dlopen("libpq.so.5", RTLD_NOW | RTLD_LOCAL);
	if (!lib)
		return error_set(err, "PostgreSQL's client library is missing (Debian: libpq5): %s", dlerror());
	const struct {
		const char *name;
		void **at;
	} functions[] = {
#define X(name) { #name, (void **)&pq.name },
		PQ_FUNCTIONS(X)
#undef X
	};
	for (size_t i = 0; i < sizeof(functions) / sizeof(*functions); i++) {
		*functions[i].at = dlsym(lib, functions[i].name);
		if (!*functions[i].at)
			return error_set(err, "libpq.so.5 is too old: it has no %s (needed: version 14)",
					 functions[i].name);
	}
	if (!pq.PQisthreadsafe())
		return error_set(err, "libpq.so.5 was built without threads");
	loaded = true; /* and stays: connections live as long as the process */
	return 0;
}

int pq_load(struct error *err)
{
	pthread_mutex_lock(&loading);
	int rc = loaded ? 0 : load(err);
	pthread_mutex_unlock(&loading);
	return rc;
}
