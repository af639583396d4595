/* channels.h - which channels a training job has, and in what form their data comes.
 *
 * DESIGN: checks inputdataconfig.json as the AWS image does: train is required, validation and code are allowed, any
 * other one is refused. What the image once took and no longer takes (Pipe mode) and what this one can't read
 * (Parquet, RecordIO) is answered by name before any data is touched. */
#ifndef QUERN_IMAGE_CHANNELS_H
#define QUERN_IMAGE_CHANNELS_H

#include <jansson.h>
#include <stdbool.h>

#include "failure.h"

enum content_type { CONTENT_LIBSVM, CONTENT_CSV, CONTENT_PARQUET, CONTENT_RECORDIO };

struct channels {
	enum content_type content_type; /* that of train; validation has the same */
	bool has_validation;
};

/* Checks `config`, the object of inputdataconfig.json. */
int channels_check(const json_t *config, struct channels *out, struct failure *fail);
/* The content type of a ContentType value; NULL means the default, libsvm. */
int content_type_parse(const char *s, enum content_type *out, struct failure *fail);

#endif
