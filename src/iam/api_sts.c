/* api_sts.c - temporary credentials (service sts) and those of tasks.
 *
 * DESIGN: a session is a row: access key, secret, token, who it is, and when it ends. It never changes; rows that ended
 * are deleted when the next session is made. A role can be assumed when it exists in the account, when its trust policy
 * lets the caller in, and the caller's own policies do; a trust policy that names the caller himself is enough. Source:
 * STS API reference, "AssumeRole". */
#include "base/id.h"
#include "iam/room.h"

/* Whose the session is, and what may be done in it. */
struct session_rights {
	const char *owner;    /* "role/<name>" or "user/<name>"; NULL when it is unrestricted */
	const char *policies; /* of the session itself: a JSON list of texts; or NULL */
	bool unrestricted;
};

static int add_session(struct turn *t, const char *arn, const char *user_id, const struct session_rights *rights,
		       int64_t duration_ms, struct iam_session *out, struct error *err)
{
	int64_t now = turn_now_ms(t);
	out->access_key = iam_new_id(t, "ASIA", 16);
	out->secret_key = iam_new_secret(t);
	out->token = iam_new_token(t);
	out->session_arn = arn;
	out->expires_ms = now + duration_ms;
	if (db_exec(turn_db(t), err, "DELETE FROM iam_session WHERE expires_ms<?", "i", now - 60000) < 0)
		return -1;
	return db_exec(turn_db(t), err,
		       "INSERT INTO iam_session(access_key, secret, token, arn, user_id, expires_ms, unrestricted, "
		       "owner, "
		       "policies) VALUES(?,?,?,?,?,?,?,?,?)",
		       "sssssiiss", out->access_key, out->secret_key, out->token, arn, user_id, out->expires_ms,
		       (int64_t)rights->unrestricted, rights->owner, rights->policies) < 0
		       ? -1
		       : 0;
}

static const char *session_arn(struct iam *i, struct arena *a, struct str role, const char *session_name)
{
	return arena_printf(a, "arn:aws:sts::%s:assumed-role/%.*s/%s", i->account, STR_ARG(role), session_name);
}

/* A role as somebody names it, and the session that it would have. A role of another account, or one that is not kept
 * here, has no policies that could be asked. */
struct assumed {
	const char *role_arn, *session_arn, *user_id;
	struct session_rights rights;
};

static int assume(struct iam *i, struct db *db, struct arena *a, const char *role, const char *session_name,
		  struct assumed *out, struct error *err)
{
	struct iam_role r;
	struct str given = str_from(role), name = iam_role_name(i, given);
	int rc = name.len ? iam_get_role(i, db, a, name, &r, err) : 0;
	if (rc < 0)
		return error_wrap(err, "credentials for role %s", role);
	if (name.len == 0)
		name = iam_last_part(given);
	const char *id = rc > 0 ? r.id.ptr : iam_fixed_id(a, "AROA", name);
	out->role_arn = rc > 0                           ? r.arn
			: str_starts(given, STR("arn:")) ? arena_strdup(a, given)
							 : iam_arn(i, a, "role", STR("/"), name);
	out->session_arn = session_arn(i, a, name, session_name);
	out->user_id = arena_printf(a, "%s:%s", id, session_name);
	out->rights = (struct session_rights){ .unrestricted = rc == 0 };
	if (rc > 0)
		out->rights.owner = arena_printf(a, "role/%.*s", STR_ARG(name));
	return 0;
}

int iam_new_session(struct iam *i, struct turn *t, const char *role, const char *session_name, int64_t duration_ms,
		    struct iam_session *out, struct error *err)
{
	struct assumed s;
	if (assume(i, turn_db(t), turn_arena(t), role, session_name, &s, err) < 0)
		return -1;
	out->role_arn = s.role_arn;
	return add_session(t, s.session_arn, s.user_id, &s.rights, duration_ms, out, err);
}

int iam_role_principal(struct iam *i, struct db *db, struct arena *a, const char *role, const char *session_name,
		       struct principal *who, struct error *err)
{
	struct assumed s;
	if (assume(i, db, a, role, session_name, &s, err) < 0)
		return -1;
	*who = (struct principal){
		.access_key = "",
		.account = i->account,
		.arn = s.session_arn,
		.user_id = s.user_id,
		.unrestricted = s.rights.unrestricted || i->ignore_policies,
		.grants = s.rights.owner,
	};
	return 0;
}

/* ---- operations ---- */

static json_t *credentials_json(const struct iam_session *s)
{
	return json_pack("{s:s, s:s, s:s, s:f}", "AccessKeyId", s->access_key, "SecretAccessKey", s->secret_key,
			 "SessionToken", s->token, "Expiration", iam_seconds(s->expires_ms));
}

/* arn:partition:service:region:account:resource, where Region and account may be empty. */
static bool is_arn(struct str arn)
{
	struct str part[5];
	for (int i = 0; i < 5; i++)
		if (!str_split(&arn, ':', &part[i]))
			return false;
	return str_eqz(part[0], "arn") && part[1].len && part[2].len && arn.len;
}

static int refuse_role(const struct principal *who, struct str role, struct error *err)
{
	return error_http(err, 403, "AccessDenied",
			  "User: %s is not authorized to perform: sts:AssumeRole on resource: %.*s", who->arn,
			  STR_ARG(role));
}

/* The caller's policies and the role's trust policy; ask->resource is the role. */
static int may_assume(struct iam *i, struct arena *a, const struct principal *who, const struct iam_role *r,
		      const struct wire_ask *ask, struct error *err)
{
	struct iam_decision own;
	struct iam_question x = { .who = who, .ask = ask, .now_ms = engine_now_ms(i->engine) };
	struct policy_caller caller = { .arn = str_from(who->arn), .account = str_from(who->account) };
	struct iam_grants *g = NULL;
	if (who->unrestricted)
		return 0;
	if (iam_ask(i, a, who, ask, &own, &g, err) < 0)
		return -1;
	x.grants = g;
	if (g && strstr(who->arn, ":assumed-role/"))
		caller.role_arn = str_from(g->arn);
	struct policy_answer trust = iam_ask_trust(r, &caller, &x, a);
	bool mine = own.verdict == IAM_ALLOWED ||
		    (trust.reach & (POLICY_TO_ROLE | POLICY_TO_CALLER) && own.verdict == IAM_SILENT && g &&
		     iam_is_owner(g, who) && own.limits_allow);
	iam_grants_put(g);
	return trust.verdict == POLICY_ALLOWS && mine ? 0 : refuse_role(who, ask->resource, err);
}

static int ask_assume(struct call *c, struct turn *t, const struct iam_role *r, const json_t *in, struct error *err)
{
	static const char *const keys[] = { "sts:ExternalId", "sts:RoleSessionName", "sts:SourceIdentity" };
	struct wire_fact facts[3];
	struct wire_ask ask = { .action = "sts:AssumeRole",
				.resource = str_from(r->arn),
				.region = c->region,
				.in = in,
				.facts = facts,
				.request = c->request };
	for (size_t n = 0; n < 3; n++) {
		struct str value = json_get_str(in, keys[n] + 4);
		if (value.ptr)
			facts[ask.nfacts++] = (struct wire_fact){ keys[n], value };
	}
	return may_assume(iam_of(c), turn_arena(t), c->who, r, &ask, err);
}

int iam_may_assume(struct iam *i, struct db *db, struct arena *a, const struct principal *who, const char *role,
		   struct error *err)
{
	struct iam_role r;
	struct str name = iam_role_name(i, str_from(role));
	const struct wire_ask ask = { .action = "sts:AssumeRole", .resource = str_from(role), .region = i->region };
	int rc = name.len ? iam_get_role(i, db, a, name, &r, err) : 0;
	if (rc < 0)
		return -1;
	if (rc > 0)
		return may_assume(i, a, who, &r, &ask, err);
	return iam_may(i, a, who, ask.action, role, err); /* not kept here: it has no trust policy to ask */
}

/* Policy and PolicyArns as one list of texts; *out NULL when neither is given. */
static int session_policies(struct turn *t, const json_t *in, const char **out, struct error *err)
{
	CLEANUP_JSON json_t *texts = json_array();
	struct str own = json_get_str(in, "Policy"), text;
	size_t n;
	json_t *item;
	if (own.ptr && iam_check_document(own, POLICY_IDENTITY, err) < 0)
		return -1;
	if (own.ptr)
		json_array_append_new(texts, json_stringn(own.ptr, own.len));
	json_array_foreach (json_get(in, "PolicyArns"), n, item) {
		struct str arn = json_get_str(item, "arn");
		if (iam_policy_exists(turn_db(t), arn, err) <= 0 ||
		    iam_policy_text(turn_db(t), turn_arena(t), arn, &text, err) <= 0)
			return -1;
		json_array_append_new(texts, json_stringn(text.ptr, text.len));
	}
	*out = json_array_size(texts) ? json_text(turn_arena(t), texts).ptr : NULL;
	return 0;
}

static int op_assume_role(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct iam *i = iam_of(c);
	struct arena *a = turn_arena(t);
	struct iam_role r;
	struct iam_session s = { 0 };
	struct str role = json_get_str(in, "RoleArn"), name = iam_role_name(i, role);
	const char *session = json_get_text(in, "RoleSessionName");
	int64_t duration_s = json_get_int(in, "DurationSeconds", 3600);
	if (!is_arn(role))
		return error_aws(err, "ValidationError", "%.*s is invalid", STR_ARG(role));
	int rc = name.len ? iam_get_role(i, turn_db(t), a, name, &r, err) : 0;
	if (rc < 0)
		return -1;
	if (rc == 0 || !str_eqz(role, r.arn))
		return refuse_role(c->who, role, err);
	if (ask_assume(c, t, &r, in, err) < 0)
		return -1;
	if (duration_s > r.max_session_s)
		return error_aws(err, "ValidationError",
				 "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.");
	struct session_rights rights = { .owner = arena_printf(a, "role/%.*s", STR_ARG(r.name)) };
	const char *user_id = arena_printf(a, "%s:%s", r.id.ptr, session);
	if (session_policies(t, in, &rights.policies, err) < 0 ||
	    add_session(t, session_arn(i, a, r.name, session), user_id, &rights, duration_s * 1000, &s, err) < 0)
		return -1;
	*out = json_pack("{s:o, s:{s:s, s:s}}", "Credentials", credentials_json(&s), "AssumedRoleUser", "AssumedRoleId",
			 user_id, "Arn", s.session_arn);
	json_set_text(*out, "SourceIdentity", json_get_text(in, "SourceIdentity"));
	return 0;
}

static int op_session_token(struct call *c, struct turn *t, json_t *in, json_t **out, struct error *err)
{
	struct iam_session s = { 0 };
	struct session_rights rights = { .owner = c->who->grants, .unrestricted = c->who->grants == NULL };
	if (str_starts(str_from(c->who->access_key), STR("ASIA")))
		return error_http(err, 403, "AccessDenied", "Cannot call GetSessionToken with session credentials");
	if (add_session(t, c->who->arn, c->who->user_id, &rights, json_get_int(in, "DurationSeconds", 43200) * 1000, &s,
			err) < 0)
		return -1;
	*out = json_pack("{s:o}", "Credentials", credentials_json(&s));
	return 0;
}

static int op_caller_identity(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	*out = json_pack("{s:s, s:s, s:s}", "UserId", c->who->user_id, "Account", c->who->account, "Arn", c->who->arn);
	return 0;
}

static int op_key_info(struct call *c, struct db *db, json_t *in, json_t **out, struct error *err)
{
	struct iam *i = iam_of(c);
	struct str key = json_get_str(in, "AccessKeyId");
	CLEANUP_ROWS struct rows rows = { 0 };
	int rc = str_eqz(key, i->root_key) ? 1
					   : db_row(db, &rows, err,
						    "SELECT 1 FROM iam_key WHERE access_key=? UNION SELECT 1 FROM "
						    "iam_session WHERE access_key=?",
						    "SS", key, key);
	if (rc < 0)
		return -1;
	if (rc == 0)
		return error_http(err, 403, "AccessDenied", "Access denied for AccessKeyId %.*s.", STR_ARG(key));
	*out = json_pack("{s:s}", "Account", i->account);
	return 0;
}

const struct wire_op sts_ops[] = {
	{ .name = "GetCallerIdentity", .query = op_caller_identity },
	{ .name = "AssumeRole", .command = op_assume_role },
	{ .name = "GetSessionToken", .command = op_session_token },
	{ .name = "GetAccessKeyInfo", .query = op_key_info },
	{ .name = NULL },
};
