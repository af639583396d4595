/* cdi_yaml.h - a YAML document as the JSON value it stands for.
 *
 * DESIGN: for files that tools write as YAML by habit (nvidia-ctk's CDI files); read by libyaml. Plain scalars mean
 * what Go's YAML makes of them for such files: null, true and false, integers (also 0x1b6, 0o666, 0666); all others are
 * texts, numbers with a point too ("cdiVersion: 0.5"). Anchors, aliases and tags are refused: no such file needs them,
 * and a small file could be an endless value. Source: YAML 1.2.2, 10.2 and 10.3. */
#ifndef QUERN_TASK_CDI_YAML_H
#define QUERN_TASK_CDI_YAML_H

#include <jansson.h>
#include "base/buf.h"
#include "base/error.h"

/* The value of the only document in `text`: owned; NULL with err ("line L column C: why"). Nesting up to 64; of a
 * doubled key the second is an error. */
json_t *cdi_yaml_parse(struct str text, struct error *err);

#endif
