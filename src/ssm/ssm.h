/* ssm.h - parameters (service ssm, Parameter Store): what task definitions name in `secrets`. */
#ifndef QUERN_SSM_SSM_H
#define QUERN_SSM_SSM_H

#include "wire/wire.h"

struct ssm;
extern const struct store_migration ssm_migrations[];

int ssm_new(struct engine *e, const char *account, const char *region, struct ssm **out, struct error *err);
void ssm_free(struct ssm *s);
const struct wire_service *ssm_service(struct ssm *s);
/* The value of a parameter named by name or ARN, in the arena. NULL: err code ParameterNotFound. */
const char *ssm_value(struct db *db, struct arena *a, const char *name_or_arn, struct error *err);

#endif
