/* config.h - where things are and how the daemon runs.
 *
 * DESIGN: a value comes from (highest first) a flag, the environment, `<data>/config.json`, the default. The data
 * directory holds everything: quern.db · blobs/ · logs/ · stage/ · tasks/ ·
 * run/{serve.pid,executor.pid,executor.sock,endpoint,*.log} · credentials · config.json */
#ifndef QUERN_CLI_CONFIG_H
#define QUERN_CLI_CONFIG_H

#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"

#define CONFIG_ROOT_DIR "/var/lib/quern"

struct config {
	struct arena arena;
	const char *data_dir; /* QUERN_HOME; root: /var/lib/quern, else $XDG_DATA_HOME/quern or ~/.local/share/quern */
	const char *libexec;  /* images/ and python/ live here: <exe>/../libexec/quern */
	const char *bind;     /* QUERN_BIND, 127.0.0.1 */
	uint16_t port;        /* QUERN_PORT, 4566 */
	const char *region;   /* AWS_DEFAULT_REGION at first start is not used: us-east-1 unless configured */
	const char *account;
	const char *endpoint; /* of somebody else's Quern, whose environment we have (client_keys); else NULL */
	const char *store;    /* QUERN_STORE: postgresql://... that keeps the state; NULL = quern.db */
	const char *runtime;  /* "crun", "runc" or NULL */
	const char *
		cdi_dirs; /* QUERN_CDI_DIRS: where GPUs are described, separated by ':'; NULL = /etc/cdi:/var/run/cdi */
	int uid, gid;     /* of the daemon when started by root; -1: do not change */
	double execution_days; /* ended executions of state machines are kept for so long (quern up --execution-days) */
	double wait_scale; /* Wait states and pauses of state machines are multiplied by it (quern up --wait-scale); 1
			    */
	bool ignore_policies; /* every key may do everything (quern up --iam ignore) */
	bool json, color;     /* output: --json; colour when stdout is a terminal and NO_COLOR is unset */
};

/* Reads the environment and config.json. */
int config_load(struct config *c, const char *data_dir_flag, struct error *err);
/* "<data>/<name>" in the config's arena. */
const char *config_path(struct config *c, const char *name);
/* "http://127.0.0.1:4566" of the running daemon (run/endpoint), of `endpoint`, or of the configuration. */
const char *config_endpoint(struct config *c);
/* The error of somebody who may not enter the data directory. Returns -1. */
int config_refuse_dir(struct config *c, struct error *err);
/* The pid in a pid file when that process lives and is a quern, else 0. */
int config_pid(struct config *c, const char *name);
/* Does the running daemon ignore policies (run/iam)? */
bool config_policies_ignored(struct config *c);

#endif
