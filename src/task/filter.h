/* filter.h - which system calls containers may make.
 *
 * DESIGN: an allow list in our own words with the reach of Docker's default profile, for the native architecture only.
 * What is known and refused answers EPERM, what is unknown (newer than this list) ENOSYS, so that libc falls back. crun
 * takes the filter as ready BPF (built once, cached by the executor); runc compiles the OCI form at each start. */
#ifndef QUERN_TASK_FILTER_H
#define QUERN_TASK_FILTER_H

#include <jansson.h>
#include "base/buf.h"
#include "base/error.h"

/* The profile for config.json's linux.seccomp; owned. */
json_t *seccomp_oci_profile(void);
/* The same as BPF in base64. */
int seccomp_bpf_base64(struct buf *out, struct error *err);

#endif
