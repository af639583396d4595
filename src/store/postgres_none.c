/* postgres_none.c - stands in for the PostgreSQL back end when Quern is built without libpq's headers. */
#include "store/store_impl.h"

static struct store *no_postgres(const char *address, struct error *err)
{
	(void)address;
	error_set(err, "this quern was built without PostgreSQL (install libpq-dev and build it again)");
	return NULL;
}

const struct store_ops store_postgres = { .open = no_postgres };
