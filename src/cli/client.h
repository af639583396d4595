/* client.h - the CLI's own calls to the daemon: the AWS API, signed, like any other client. */
#ifndef QUERN_CLI_CLIENT_H
#define QUERN_CLI_CLIENT_H

#include <jansson.h>

#include "base/buf.h"
#include "cli/config.h"

/* The error code when there is no daemon to ask. */
#define CLIENT_DOWN "NotRunning"

struct client;
/* Finds the keys (client_keys); one keep-alive connection. *out owned. err is CLIENT_DOWN when there are none. */
int client_new(struct config *c, struct client **out, struct error *err);
void client_free(struct client *cl);
/* One JSON-protocol call: service is the signing name ("sagemaker"), target the whole X-Amz-Target. Takes `in` (NULL =
 * {}). Returns owned JSON, or NULL with the AWS code and message in err. */
json_t *client_call(struct client *cl, const char *service, const char *target, json_t *in, struct error *err);

/* A List or Describe operation that is asked page by page: `member` holds an answer's items, `token` its mark, which
 * the next request repeats. */
struct client_list {
	const char *service, *target, *member, *token;
};
#define CLIENT_SAGEMAKER(name, member) ((struct client_list){ "sagemaker", "SageMaker." name, member, "NextToken" })
#define CLIENT_STATES(name, member) ((struct client_list){ "states", "AWSStepFunctions." name, member, "nextToken" })
#define CLIENT_ECS(name, member)                                                                                       \
	((struct client_list){ "ecs", "AmazonEC2ContainerServiceV20141113." name, member, "nextToken" })
#define CLIENT_LOGS(name, member) ((struct client_list){ "logs", "Logs_20140328." name, member, "nextToken" })
/* The items of all pages, owned. Takes `in` (NULL = {}). NULL with err, as client_call. */
json_t *client_list(struct client *cl, struct client_list list, json_t *in, struct error *err);

/* The same as client_call, but the answer's text is left in `body` (released by the caller) as it came. < 0 with err.
 */
int client_call_text(struct client *cl, const char *service, const char *target, json_t *in, struct buf *body,
		     struct error *err);

/* An unsigned GET of one of the daemon's own pages ("/_quern/..."); owned JSON, or NULL with err. */
json_t *client_get(struct config *c, const char *path, struct error *err);

/* The keys of the credentials file, in the config's arena. Without that file (somebody else's Quern is used) those of
 * the environment, when AWS_ENDPOINT_URL is there too; config_endpoint is then that one. Error: CLIENT_DOWN. */
int client_keys(struct config *c, const char **access_key, const char **secret_key, struct error *err);

#endif
