/* room.h - inside the ecs room. Documents (cluster, task definition, task) are kept as the API shows them. JSON that a
 * function here gives back without "owned" belongs to the arena. */
#ifndef QUERN_ECS_ROOM_H
#define QUERN_ECS_ROOM_H

#include <pthread.h>
#include "base/json.h"
#include "base/map.h"
#include "ecs/ecs.h"

struct ecs {
	struct ecs_options o;
	struct wire_service service, endpoints, channels;
	struct sessions *sessions;
	pthread_mutex_t lock;
	double cpus; /* of the machine; 0 = not known yet */
	int64_t memory_bytes, gpus;
	int64_t asked_ms; /* monotonic: when the executor said so */
	pthread_t asker;  /* asks at the start */
	bool asking;
};

/* ---- names ---- */
json_t *ecs_keep(struct arena *a, json_t *value); /* decref with the arena */
const char *ecs_arn(struct ecs *e, struct arena *a, const char *kind, const char *rest);
/* Name or ARN (NULL: "default") -> the name. */
const char *ecs_cluster_name(struct arena *a, const char *name_or_arn);
/* The last component of an ARN or an id. */
const char *ecs_task_id(struct arena *a, const char *task);
double ecs_seconds(int64_t ms);
const char *ecs_instance_id(struct arena *a,
			    const char *cluster); /* the machine, as a container instance of a cluster */
/* Members of a ClientException, InvalidParameterException. Return -1. */
int ecs_client_error(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int ecs_bad_parameter(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The element of a list of objects whose "name" this is, or NULL (also for name NULL). */
json_t *ecs_by_name(const json_t *list, const char *name);
/* Does a list of texts hold it? */
bool ecs_has_text(const json_t *list, const char *text);

/* ---- rows (store.c) ---- */
/* 1 found, 0 none, < 0. *status may be NULL. */
int ecs_cluster_get(struct db *db, struct arena *a, const char *name, json_t **doc, const char **status,
		    struct error *err);
int ecs_cluster_put(struct db *db, const char *name, const char *status, const json_t *doc, struct error *err);
/* The active cluster; else ClusterNotFoundException. */
int ecs_cluster_need(struct db *db, struct arena *a, const char *name_or_arn, const char **name, struct error *err);
/* 1 found, 0 none. ref: family, family:revision or ARN; a family alone means its newest active revision. */
int ecs_definition_get(struct db *db, struct arena *a, const char *ref, json_t **doc, struct error *err);
int ecs_definition_put(struct db *db, const json_t *doc, struct error *err);
/* The task's document; 1 found, 0 none. cluster NULL: any. */
int ecs_task_get(struct db *db, struct arena *a, const char *cluster, const char *id, json_t **doc, struct error *err);
int ecs_task_put(struct db *db, const json_t *doc, struct error *err);
/* A page of one column of texts: sql without LIMIT, ordered by the column; *next is a token or NULL. */
int ecs_page(json_t *in, int64_t max_default, int64_t *max, const char **after, struct error *err);

/* ---- operations: each file has its part ---- */
extern const struct wire_access ecs_access[];
extern const struct wire_op ecs_cluster_ops[], ecs_definition_ops[], ecs_task_ops[], ecs_exec_ops[], ecs_tag_ops[];

/* definition.c: checks and completes a request; owned document, NULL with err. */
json_t *ecs_definition_check(struct ecs *e, struct arena *a, const json_t *in, struct error *err);
/* "1 vCPU" or "1024" -> CPU units; "2GB" or "2048" -> MiB; -1 when malformed. */
int64_t ecs_cpu_units(const char *text);
int64_t ecs_memory_mib(const char *text);
/* Is this pair one of Fargate's sizes? */
bool ecs_fargate_size(int64_t cpu_units, int64_t memory_mib);

/* ---- tasks ---- */
/* plan.c: task spec for the executor and what the start has to look up:
 * {"spec", "lookups": [{"container", "env_files":[arn], "secrets":[{"name","valueFrom"}], "config":{"value": arn,
 * "path"}}], "logs":
 * [{"container","group","stream","create"}], "dirs": [host directories to make], "execution_role"}. Owned, NULL with
 * err. `task` is the task's document. */
json_t *ecs_plan(struct ecs *e, struct arena *a, const json_t *task, const json_t *definition,
		 const char *credentials_id, struct error *err);
/* firelens.c: are log router and the containers that use it as they must be? */
int ecs_firelens_check(const json_t *containers, bool fargate, struct error *err);
/* Completes `plan` for them: the router's configuration, who sends to it, in which order. */
void ecs_firelens_plan(struct arena *a, const json_t *task, const json_t *definition, json_t *plan);
/* execution.c: may the task's execution role get what the plan needs? 1 with the reason (in the turn's arena) that the
 * task stops for, 0, < 0 a fault. */
int ecs_execution_check(struct ecs *e, struct turn *t, const char *task, const json_t *plan, const char **reason,
			struct error *err);
/* How many GPUs the container asks for. */
int64_t ecs_gpus(struct ecs *e, const json_t *container, const json_t *override);
/* The override of container `name`, or NULL. */
const json_t *ecs_override(const json_t *overrides, const char *name);
/* "8000-8010"; < 0: it is no range. */
int ecs_port_range(const char *text, int64_t *first, int64_t *last);
const json_t *ecs_definition_container(const json_t *definition, const char *name);
/* task.c */
int ecs_task_turn(struct turn *t, json_t *state, json_t *event, struct error *err);
void ecs_task_bind(struct ecs *e);
const char *ecs_task_actor(struct arena *a, const char *id);
/* start.c */
void ecs_add_effects(struct ecs *e);
/* endpoints.c */
extern const struct raw_handler ecs_endpoints_handler;
bool ecs_endpoints_claims(struct wire_request *r, void *ctx);
/* In a turn: a credentials id for a task, or NULL without a role. In the turn's arena. */
const char *ecs_credentials_new(struct turn *t, const char *task_id, const char *role, struct error *err);
int ecs_credentials_drop(struct db *db, const char *task_id, struct error *err);
/* Learns the machine's size from the executor when that was not done for a while. May block a moment; not on the core
 * thread. */
void ecs_machine_learn(struct ecs *e);
/* What is known; 0 = not known yet. */
void ecs_machine(struct ecs *e, double *cpus, int64_t *memory_bytes, int64_t *gpus);

#endif
