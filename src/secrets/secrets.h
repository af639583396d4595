/* secrets.h - secrets (service secretsmanager): what task definitions name in `secrets`. */
#ifndef QUERN_SECRETS_SECRETS_H
#define QUERN_SECRETS_SECRETS_H

#include "wire/wire.h"

struct secrets;
extern const struct store_migration secrets_migrations[];

int secrets_new(struct engine *e, const char *account, const char *region, struct secrets **out, struct error *err);
void secrets_free(struct secrets *s);
const struct wire_service *secrets_service(struct secrets *s);
/* The value that a task definition's valueFrom names: "arn:...:secret:name-xxxxxx[:json-key[:stage[:version]]]", in the
 * arena. NULL: err code ResourceNotFoundException, or ValidationException when the key is not in the secret's JSON. */
const char *secrets_value(struct db *db, struct arena *a, const char *value_from, struct error *err);

/* The ARN of the secret that such a text names; when there is none, the part of the text that should. In the arena. */
const char *secrets_arn(struct db *db, struct arena *a, const char *value_from);

#endif
