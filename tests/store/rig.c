/* rig.c - see rig.h. */
#include "rig.h"

static char dir[64], server[128];
static bool postgres;

const struct store_migration schema[] = {
	{ "fruit", 1,
	  "CREATE TABLE fruit(id INTEGER PRIMARY KEY, name TEXT UNIQUE, weight REAL, body BLOB);"
	  "CREATE TABLE basket(id TEXT PRIMARY KEY) WITHOUT ROWID;" },
	{ "tree", 1, "CREATE TABLE tree(id INTEGER PRIMARY KEY)" },
	{ 0 },
};

bool rig_start(void)
{
	const char *tmp = getenv("TMPDIR");
	snprintf(dir, sizeof(dir), "%.40s/quern-store-XXXXXX", tmp ? tmp : "/tmp");
	return mkdtemp(dir) && chmod(dir, 0755) == 0;
}

/* Runs scripts/postgres; its answer's first line goes to `line`. Returns its exit code. */
static int run_script(const char *verb, const char *name, char *line, size_t size)
{
	const char *script = getenv("QUERN_TEST_POSTGRES");
	char command[600];
	snprintf(command, sizeof(command), "%s %s %s %s", script ? script : "scripts/postgres", verb, server, name);
	FILE *f = popen(command, "r");
	if (!f)
		return -1;
	line[0] = 0;
	if (fgets(line, (int)size, f))
		line[strcspn(line, "\n")] = 0;
	int status = pclose(f);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool rig_places_postgres(void)
{
	char line[256];
	snprintf(server, sizeof(server), "%s/pg", dir);
	int rc = run_script("start", "", line, sizeof(line));
	if (rc && rc != 77)
		fail_msg("the server does not start");
	postgres = rc == 0;
	return postgres;
}

int rig_end(int failed)
{
	char line[256], command[100];
	if (postgres)
		run_script("stop", "", line, sizeof(line));
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command) != 0 || failed;
}

char *in_dir(const char *name)
{
	static char path[4][160];
	static int turn;
	char *p = path[turn++ % 4];
	snprintf(p, 160, "%s/%s", dir, name);
	return p;
}

char *place(const char *name)
{
	static char places[64][256];
	static char names[64][32];
	static int n;
	if (!postgres)
		return name ? in_dir(name) : "";
	for (int i = 0; name && i < n; i++)
		if (strcmp(names[i], name) == 0)
			return places[i];
	assert_true(n < 64);
	if (name)
		snprintf(names[n], sizeof(names[n]), "%s", name);
	else
		snprintf(names[n], sizeof(names[n]), "own%d", n);
	if (run_script("create", names[n], places[n], sizeof(places[n])) != 0)
		fail_msg("no database `%s`", names[n]);
	return places[n++];
}

struct store *open_ok(const char *path, const struct store_migration *migrations)
{
	struct store *s = NULL;
	CLEANUP_ERROR struct error err = ERROR_INIT;
	if (store_open(path, migrations, &s, &err) < 0)
		fail_msg("%s", error_text(&err));
	return s;
}

void must(int rc, struct error *err)
{
	if (rc < 0)
		fail_msg("%s", error_text(err));
}

int64_t count(struct db *db, const char *sql)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	CLEANUP_ROWS struct rows rows = { 0 };
	must(db_row(db, &rows, &err, sql, ""), &err);
	return rows_int(&rows, 0);
}

void add_fruit(struct store *s, const char *name)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct db *db = store_writer(s);
	must(db_begin(db, &err), &err);
	assert_int_equal(db_exec(db, &err, "INSERT INTO fruit(name) VALUES(?)", "s", name), 1);
	must(db_commit(db, &err), &err);
}

void *read_pairs(void *arg)
{
	struct reader_job *job = arg;
	while (!job->stop) {
		struct db *db = store_read_begin(job->s, NULL);
		if (!db) {
			job->bad++;
			continue;
		}
		struct rows rows = { 0 };
		int64_t v[2] = { -1, -2 };
		for (int i = 0; i < 2; i++) {
			if (db_row(db, &rows, NULL, "SELECT weight FROM fruit WHERE id=?", "i", (int64_t)i + 1) == 1)
				v[i] = rows_int(&rows, 0);
			rows_done(&rows);
		}
		if (v[0] != v[1])
			job->bad++;
		if (job->hold_us)
			usleep(job->hold_us);
		job->reads++;
		store_read_end(job->s, db);
	}
	return NULL;
}
