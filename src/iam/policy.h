/* policy.h - IAM's policy language: a document parsed once, and asked often. Inside the iam room.
 *
 * DESIGN: pure. It knows no store, no clock and no service: what is asked comes as an action, a resource and a way to
 * look condition keys up. A parsed policy never changes and may be asked from many threads. Sources: IAM user guide,
 * "IAM JSON policy elements reference" (elements, variables, condition operators, multivalued context keys) and
 * "Policy evaluation logic". */
#ifndef QUERN_IAM_POLICY_H
#define QUERN_IAM_POLICY_H

#include "base/arena.h"
#include "base/error.h"

/* Identity policies, boundaries and session policies have resources; a role's trust policy has principals; the policy
 * of a resource (a bucket, a repository, a function) has principals, and may have resources. */
enum policy_kind { POLICY_IDENTITY, POLICY_TRUST, POLICY_RESOURCE };

struct policy;
/* Parses and checks a document. Owned by the caller (policy_free); NULL with err MalformedPolicyDocument and IAM's
 * text. */
struct policy *policy_parse(struct str text, enum policy_kind kind, struct error *err);
void policy_free(struct policy *p);
/* What is refused when an identity policy is stored, beyond what can't be read: no statement, ARNs that name nothing.
 * 0, or -1 with err MalformedPolicyDocument. */
int policy_check_new(const struct policy *p, struct error *err);

/* Values that a request has for a condition key. Borrowed until the end of the question. */
struct policy_values {
	const struct str *values;
	size_t count;
};

/* Who asks, for Principal elements: all names that he answers to. */
struct policy_caller {
	struct str arn;      /* the user or the session: "arn:aws:sts::1:assumed-role/R/s" */
	struct str role_arn; /* of a session; STR_NULL for a user */
	struct str account;  /* 12 digits; "" for nobody in particular (anonymous) */
	struct str service;  /* "ecs-tasks.amazonaws.com" when a service asks for itself; STR_NULL */
};

struct policy_question {
	struct str action;   /* "s3:GetObject" */
	struct str resource; /* an ARN, or "*" */
	/* The values of a condition key, whose name is compared without regard to case. False: the request has none. */
	bool (*find)(void *ctx, struct arena *a, struct str key, struct policy_values *out);
	void *ctx;
	struct arena *arena;                /* for expanded variables */
	const struct policy_caller *caller; /* of a policy with principals */
};

enum policy_verdict { POLICY_SILENT, POLICY_ALLOWS, POLICY_DENIES };
enum policy_reach {
	POLICY_TO_ROLE = 1,   /* the role of the session */
	POLICY_TO_CALLER = 2, /* this very user or session */
	POLICY_TO_ALL = 4,    /* everybody */
};
struct policy_answer {
	enum policy_verdict verdict;
	const char *sid; /* of the statement that decided; "" without */
	unsigned reach; /* whom the statements that allow name, as bits of policy_reach; 0: his account, or a service */
};
/* A statement that denies wins over all that allow. */
struct policy_answer policy_ask(const struct policy *p, const struct policy_question *q);

/* ---- between the policy*.c files, and for their tests ---- */

enum policy_operator {
	OPERATOR_STRING,
	OPERATOR_STRING_NOCASE,
	OPERATOR_STRING_LIKE,
	OPERATOR_NUMBER_EQUALS,
	OPERATOR_NUMBER_LESS,
	OPERATOR_NUMBER_LESS_EQUALS,
	OPERATOR_NUMBER_GREATER,
	OPERATOR_NUMBER_GREATER_EQUALS,
	OPERATOR_DATE_EQUALS,
	OPERATOR_DATE_LESS,
	OPERATOR_DATE_LESS_EQUALS,
	OPERATOR_DATE_GREATER,
	OPERATOR_DATE_GREATER_EQUALS,
	OPERATOR_BOOL,
	OPERATOR_BINARY,
	OPERATOR_IP,
	OPERATOR_ARN,
	OPERATOR_NULL,
};
enum policy_set { SET_NONE, SET_ALL, SET_ANY };

struct policy_condition {
	enum policy_operator op;
	bool negated, if_exists;
	enum policy_set set;
	struct str key;
	const struct str *values;
	size_t count;
};

struct policy_list {
	const struct str *items;
	size_t count;
	bool present, negated; /* negated: NotAction, NotResource, NotPrincipal */
};

enum principal_kind { PRINCIPAL_ANY, PRINCIPAL_AWS, PRINCIPAL_SERVICE, PRINCIPAL_OTHER };
struct policy_principal {
	enum principal_kind kind;
	struct str name;
};

struct policy_statement {
	bool allows, variables;
	const char *sid;
	struct policy_list actions, resources;
	const struct policy_principal *principals;
	size_t nprincipals;
	bool not_principals; /* NotPrincipal */
	const struct policy_condition *conditions;
	size_t nconditions;
};

struct policy {
	struct arena arena;
	const struct policy_statement *statements;
	size_t count;
};

/* Fills what an operator's name says ("ForAnyValue:StringLikeIfExists"); false when there is no such operator. */
bool policy_operator_find(struct str name, struct policy_condition *out);
bool policy_condition_holds(const struct policy_condition *c, const struct policy_question *q, bool variables);
/* Does `text` match the pattern with * and ?? */
bool policy_glob(struct str pattern, struct str text, bool nocase);
/* The same for an ARN: each of the six parts by itself; a * that ends the pattern early stands for the rest. */
bool policy_arn_like(struct str pattern, struct str arn);
/* Variables ("${aws:username}", "${key, 'default'}", "${*}") replaced; what they gave is no wildcard any more. False
 * when a key has no value. The result is only for the two functions above. */
bool policy_expand(struct str pattern, const struct policy_question *q, struct str *out);
/* The pattern as the two functions above want one that has no variables. */
struct str policy_plain(struct arena *a, struct str pattern);

#endif
