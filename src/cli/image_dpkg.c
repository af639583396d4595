/* image_dpkg.c - which files installed Debian packages have (image_tree.h).
 *
 * DESIGN: dpkg's own records are read, no tool is run: status for dependencies, info/<package>.list for files,
 * alternatives/ for the links that maintainer scripts make. What else those scripts do is not there (caches, users),
 * but Python's compiled files are. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <dirent.h>
#include <unistd.h>

#include "base/buf.h"
#include "cli/image_tree.h"

#define DPKG "/var/lib/dpkg"

struct package {
	const char *name, *version, *arch, *depends, *pre_depends;
};
struct dpkg {
	struct arena arena;
	struct map packages; /* name -> struct package */
	struct map provides; /* virtual name -> the package that provides it */
};

static int read_file(const char *path, struct buf *out)
{
	char block[65536];
	FILE *f = fopen(path, "re");
	if (!f)
		return -1;
	for (size_t n; (n = fread(block, 1, sizeof(block), f)) > 0;)
		buf_add(out, block, n);
	fclose(f);
	return 0;
}

/* The bare name at the start of "libc6:any (>= 2.36) [amd64]". */
static struct str bare_name(struct str text)
{
	text = str_trim(text);
	size_t n = 0;
	while (n < text.len && !strchr(" (:[", text.ptr[n]))
		n++;
	return str_head(text, n);
}

static void add_package(struct dpkg *d, struct package *p, const char *provides)
{
	struct str rest = str_from(provides), one;
	if (!map_get(&d->packages, str_from(p->name)))
		map_set(&d->packages, str_from(p->name), p);
	while (provides && str_split(&rest, ',', &one)) {
		struct str name = bare_name(one);
		if (name.len && !map_get(&d->provides, name))
			map_set(&d->provides, name, p);
	}
}

static const char *field(struct dpkg *d, struct str line, const char *name)
{
	struct str key = str_from(name);
	return str_starts(line, key) ? arena_strdup(&d->arena, str_trim(str_skip(line, key.len))) : NULL;
}

/* One record of the status file. */
static void read_record(struct dpkg *d, struct str record)
{
	struct package *p = ARENA_NEW(&d->arena, struct package);
	const char *provides = NULL, *value;
	bool installed = false;
	struct str line;
	while (str_split(&record, '\n', &line)) {
		if ((value = field(d, line, "Package: ")))
			p->name = value;
		else if ((value = field(d, line, "Status: ")))
			installed = str_ends(str_from(value), STR(" installed"));
		else if ((value = field(d, line, "Version: ")))
			p->version = value;
		else if ((value = field(d, line, "Architecture: ")))
			p->arch = value;
		else if ((value = field(d, line, "Depends: ")))
			p->depends = value;
		else if ((value = field(d, line, "Pre-Depends: ")))
			p->pre_depends = value;
		else if ((value = field(d, line, "Provides: ")))
			provides = value;
	}
	if (installed && p->name && p->version && p->arch)
		add_package(d, p, provides);
}

int dpkg_open(struct dpkg **out, struct error *err)
{
	CLEANUP_BUF struct buf status = BUF_INIT;
	if (read_file(DPKG "/status", &status) < 0)
		return error_errno(err, errno, "read `%s` (images are built from the packages of a Debian)",
				   DPKG "/status");
	struct dpkg *d = mem_calloc(1, sizeof(*d));
	struct str rest = buf_str(&status);
	while (rest.len) {
		ptrdiff_t end = str_find(rest, STR("\n\n"));
		read_record(d, end < 0 ? rest : str_head(rest, (size_t)end));
		rest = end < 0 ? STR_NULL : str_skip(rest, (size_t)end + 2);
	}
	*out = d;
	return 0;
}

void dpkg_close(struct dpkg *d)
{
	if (!d)
		return;
	map_release(&d->packages);
	map_release(&d->provides);
	arena_release(&d->arena);
	free(d);
}

/* ---- which packages ---- */

static struct package *lookup(struct dpkg *d, struct str name)
{
	struct package *p = map_get(&d->packages, name);
	return p ? p : map_get(&d->provides, name);
}

/* Of "a | b" the first that is installed. */
static struct package *choose(struct dpkg *d, struct str alternatives, const struct map *done)
{
	struct str one, rest = alternatives;
	struct package *first = NULL;
	while (str_split(&rest, '|', &one)) {
		struct package *p = lookup(d, bare_name(one));
		if (p && map_get(done, str_from(p->name)))
			return p;
		first = first ? first : p;
	}
	return first;
}

static int close_over(struct dpkg *d, struct package *p, struct map *done, struct map *fresh, struct error *err)
{
	if (map_get(done, str_from(p->name)))
		return 0;
	map_set(done, str_from(p->name), p);
	map_set(fresh, str_from(p->name), p);
	const char *fields[] = { p->pre_depends, p->depends };
	for (size_t i = 0; i < 2; i++) {
		struct str rest = str_from(fields[i]), one;
		while (fields[i] && str_split(&rest, ',', &one)) {
			struct package *next = choose(d, one, done);
			if (!next)
				return error_set(err, "package %s needs `%.*s`, which is not installed", p->name,
						 STR_ARG(str_trim(one)));
			if (close_over(d, next, done, fresh, err) < 0)
				return -1;
		}
	}
	return 0;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int dpkg_select(struct dpkg *d, const char *const *names, struct map *done, struct arena *a, const char ***packages,
		const char **key, struct error *err)
{
	struct map fresh = MAP_INIT;
	CLEANUP_BUF struct buf text = BUF_INIT;
	int rc = 0;
	for (size_t i = 0; names[i] && rc == 0; i++) {
		struct package *p = lookup(d, str_from(names[i]));
		rc = p ? close_over(d, p, done, &fresh, err)
		       : error_set(err, "the package %s is not installed", names[i]);
	}
	*packages = ARENA_ARRAY(a, const char *, fresh.count + 1);
	for (size_t i = 0; i < fresh.count; i++)
		(*packages)[i] = ((struct package *)fresh.entries[i].value)->name;
	qsort(*packages, fresh.count, sizeof(**packages), by_text);
	for (size_t i = 0; i < fresh.count; i++) {
		const struct package *p = map_get(&fresh, str_from((*packages)[i]));
		buf_printf(&text, "%s %s %s\n", p->name, p->version, p->arch);
	}
	*key = arena_strdup(a, buf_str(&text));
	map_release(&fresh);
	return rc;
}

/* ---- which files ---- */

/* The links of one alternative: the choice that the machine has made when the image has it, else the best that it has.
 */
struct alternative {
	struct str names[64], links[64];
	size_t count;
};

static void add_links(struct image_tree *t, const struct alternative *alt, const struct str *targets)
{
	for (size_t i = 0; i < alt->count; i++) {
		const char *target = arena_strdup(&t->arena, targets[i]),
			   *name = arena_printf(&t->arena, "/etc/alternatives/%.*s", STR_ARG(alt->names[i]));
		const char *link = arena_strdup(&t->arena, alt->links[i]);
		if (!*target || !tree_has(t, target))
			continue;
		tree_add_link(t, name, target);
		tree_add_link(t, link, name);
	}
}

static bool next_line(struct str *rest, struct str *line)
{
	return str_split(rest, '\n', line) && line->len > 0;
}

static void read_choices(struct image_tree *t, const struct alternative *alt, struct str rest, struct str current)
{
	struct str best[64], targets[64], line;
	int64_t best_priority = INT64_MIN, priority;
	while (next_line(&rest, &targets[0])) {
		if (!str_split(&rest, '\n', &line) || !str_to_i64(line, &priority))
			break;
		for (size_t i = 1; i < alt->count; i++)
			if (!str_split(&rest, '\n', &targets[i]))
				return;
		if (str_eq(targets[0], current))
			priority = INT64_MAX;
		if (tree_has(t, arena_strdup(&t->arena, targets[0])) && priority > best_priority) {
			best_priority = priority;
			memcpy(best, targets, sizeof(best[0]) * alt->count);
		}
	}
	if (best_priority != INT64_MIN)
		add_links(t, alt, best);
}

static void read_alternative(struct image_tree *t, const char *name)
{
	CLEANUP_BUF struct buf text = BUF_INIT;
	struct alternative alt = { .count = 1 };
	struct str mode, line;
	char current[4096];
	if (read_file(arena_printf(&t->arena, "%s/alternatives/%s", DPKG, name), &text) < 0)
		return;
	struct str rest = buf_str(&text);
	alt.names[0] = str_from(name);
	if (!next_line(&rest, &mode) || !next_line(&rest, &alt.links[0]))
		return;
	while (next_line(&rest, &line) && alt.count < 64) {
		alt.names[alt.count] = line;
		if (!next_line(&rest, &alt.links[alt.count++]))
			return;
	}
	ssize_t n = readlink(arena_printf(&t->arena, "/etc/alternatives/%s", name), current, sizeof(current));
	read_choices(t, &alt, rest, str_of(current, n > 0 ? (size_t)n : 0));
}

static int not_hidden(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

static void add_alternatives(struct image_tree *t)
{
	struct dirent **list;
	int n = scandir(DPKG "/alternatives", &list, not_hidden, alphasort);
	for (int i = 0; i < n; i++) {
		read_alternative(t, list[i]->d_name);
		free(list[i]);
	}
	if (n >= 0)
		free(list);
}

int dpkg_add_files(struct dpkg *d, const char *const *packages, struct image_tree *t, struct error *err)
{
	for (size_t i = 0; packages[i]; i++) {
		CLEANUP_BUF struct buf list = BUF_INIT;
		const struct package *p = map_get(&d->packages, str_from(packages[i]));
		if (read_file(arena_printf(&d->arena, "%s/info/%s.list", DPKG, p->name), &list) < 0 &&
		    read_file(arena_printf(&d->arena, "%s/info/%s:%s.list", DPKG, p->name, p->arch), &list) < 0)
			return error_errno(err, errno, "read the list of files of package %s", p->name);
		struct str rest = buf_str(&list), line;
		while (next_line(&rest, &line))
			tree_add_host(t, arena_strdup(&t->arena, line));
	}
	add_alternatives(t);
	tree_add_compiled(t);
	return 0;
}
