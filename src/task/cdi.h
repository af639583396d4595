/* cdi.h - devices of the machine as the Container Device Interface describes them (GPUs).
 *
 * DESIGN: a driver's installer writes files in YAML or JSON ("nvidia-ctk cdi generate"), each a kind with named devices
 * and what a container gets with them: environment, device nodes, mounts, hooks, groups. We read the files, and put
 * such edits into the OCI configuration; nothing here knows a vendor. Of one name in two directories the later
 * directory counts. Source: the CDI specification, versions 0.3 to 1.1. */
#ifndef QUERN_TASK_CDI_H
#define QUERN_TASK_CDI_H

#include <jansson.h>
#include "base/arena.h"
#include "base/error.h"

#define CDI_DIRS "/etc/cdi:/var/run/cdi"

struct cdi_device {
	const char *name;    /* "nvidia.com/gpu=0" */
	const json_t *edits; /* its containerEdits, or NULL */
	const json_t *spec;  /* the file's own containerEdits, or NULL */
};
struct cdi {
	struct cdi_device *devices;
	size_t ndevices;
	const char **notes; /* files that could not be used, and why; NULL-ended */
};

/* Reads all files of `dirs` (separated by ':'; NULL = CDI_DIRS). Everything lives as long as the arena. */
void cdi_load(struct arena *a, const char *dirs, struct cdi *out);
/* Names of the GPUs: devices of a kind that ends in "/gpu". Left out: "all", and further names of a device that is
 * there already (the same edits). NULL-ended, in the arena. */
const char **cdi_gpus(struct arena *a, const struct cdi *cdi);
/* The containerEdits for the devices of `names` (array of texts), each file's own once and before its devices', which
 * so win: an owned array; NULL with err when a name is unknown. */
json_t *cdi_edits(const struct cdi *cdi, const json_t *names, struct error *err);
/* The control group rules that the device nodes of the edits need, "c 195:0 rwm"; NULL-ended, in the arena. */
int cdi_device_rules(struct arena *a, const json_t *edits, const char ***rules, struct error *err);
/* Puts the edits into an OCI configuration that has "process" and "mounts". */
int cdi_apply(struct arena *a, const json_t *edits, json_t *config, struct error *err);

#endif
