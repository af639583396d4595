/* data.c - see data.h. */
#include "data.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "text.h"

#define MAX_FOLDER_DEPTH 3
#define MAX_LISTED_FILES 64
#define SNIPPET 50

/* ---- matrices ---- */

void matrix_release(struct matrix *m)
{
	if (m->handle)
		XGDMatrixFree(m->handle);
	*m = MATRIX_INIT;
}

int matrix_adopt(struct matrix *m, DMatrixHandle handle, struct failure *fail)
{
	bst_ulong rows, columns, labels;
	m->handle = handle;
	if (XGDMatrixNumRow(handle, &rows) != 0 || XGDMatrixNumCol(handle, &columns) != 0 ||
	    XGDMatrixGetFloatInfo(handle, "label", &labels, &m->labels) != 0)
		return failure_xgboost(fail, "XGBoost can't read its matrix");
	m->rows = rows;
	m->columns = columns;
	if (labels == 0)
		return failure_user(fail,
				    "Got input data without labels. Please check the input data set. If training "
				    "job is running on multiple instances, please switch to using single instance "
				    "if number of records in the data set is less than number of workers (16 * "
				    "number of instance) in the cluster.");
	return 0;
}

/* ---- files ---- */

void data_files_release(struct data_files *f)
{
	for (size_t i = 0; i < f->count; i++)
		free(f->paths[i]);
	free(f->paths);
	*f = DATA_FILES_INIT;
}

static void add_file(struct data_files *f, const char *path, size_t size)
{
	f->paths = mem_need(realloc(f->paths, (f->count + 1) * sizeof *f->paths));
	f->paths[f->count++] = mem_dup(path);
	f->size_bytes += size;
}

static int find_in(struct data_files *f, const char *dir, int depth, struct failure *fail);

static int visit(struct data_files *f, const char *dir, const char *name, int depth, struct failure *fail)
{
	CLEANUP_TEXT struct text path = TEXT_INIT;
	struct stat st;
	text_printf(&path, "%s/%s", dir, name);
	if (stat(text_cstr(&path), &st) < 0)
		return failure_platform(fail, "read `%s`: %s", text_cstr(&path), strerror(errno));
	if (S_ISDIR(st.st_mode))
		return find_in(f, text_cstr(&path), depth + 1, fail);
	if (name[0] == '.')
		return failure_user(fail, "Hidden file found in the data path! Remove that before training.");
	if (!S_ISREG(st.st_mode) || st.st_size == 0 || name[0] == '_')
		return 0;
	add_file(f, text_cstr(&path), (size_t)st.st_size);
	return 0;
}

static int find_in(struct data_files *f, const char *dir, int depth, struct failure *fail)
{
	if (depth > MAX_FOLDER_DEPTH) {
		log_warning("%s is more than %d folders deep; its files are not loaded", dir, MAX_FOLDER_DEPTH);
		return 0;
	}
	struct dirent **names;
	int n = scandir(dir, &names, NULL, alphasort);
	if (n < 0)
		return failure_platform(fail, "read directory `%s`: %s", dir, strerror(errno));
	int r = 0;
	for (int i = 0; i < n; i++) {
		const char *name = names[i]->d_name;
		if (r == 0 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
			r = visit(f, dir, name, depth, fail);
		free(names[i]);
	}
	free(names);
	return r;
}

int data_files_find(struct data_files *f, const char *dir, struct failure *fail)
{
	if (access(dir, F_OK) < 0) {
		log_info("Path %s does not exist!", dir);
		return 0;
	}
	return find_in(f, dir, 1, fail);
}

void data_files_warn_same(const struct data_files *train, const struct data_files *validation)
{
	for (size_t i = 0; i < train->count; i++) {
		for (size_t k = 0; k < validation->count; k++) {
			const char *a = train->paths[i], *b = validation->paths[k];
			struct stat sa, sb;
			if (strcmp(strrchr(a, '/'), strrchr(b, '/')) != 0 || stat(a, &sa) < 0 || stat(b, &sb) < 0)
				continue;
			if (sa.st_size == sb.st_size)
				log_warning("Suspected identical files found. (%s and %s with same size %lld bytes). "
					    "Validation scores mean little when training and validation share rows.",
					    a, b, (long long)sa.st_size);
		}
	}
}

/* ---- shape of the first line ---- */

/* What Python's csv sniffer settles on for one line: a usual delimiter if there is one, else the punctuation mark that
 * occurs most. */
char csv_delimiter(const char *line)
{
	static const char USUAL[] = ",\t; :";
	for (const char *u = USUAL; *u; u++)
		if (strchr(line, *u))
			return *u;
	unsigned counts[128] = { 0 };
	char best = 0;
	for (const char *p = line; *p; p++) {
		unsigned char c = (unsigned char)*p;
		if (c >= 128 || !ispunct(c) || strchr(".+-_\"'#?&=", c))
			continue;
		if (++counts[c] > (best ? counts[(unsigned char)best] : 0))
			best = (char)c;
	}
	return best;
}

static bool is_number(const char *s, size_t n)
{
	char copy[64];
	if (n == 0 || n >= sizeof copy)
		return false;
	memcpy(copy, s, n);
	copy[n] = 0;
	char *end;
	strtod(copy, &end);
	return end == copy + n;
}

/* `<label>` or `<label>:<weight>`. */
static bool is_libsvm_label(const char *s, size_t n)
{
	const char *colon = memchr(s, ':', n);
	if (!colon)
		return is_number(s, n);
	size_t first = (size_t)(colon - s);
	return is_number(s, first) && is_number(colon + 1, n - first - 1);
}

int libsvm_feature_count(const char *line)
{
	size_t length = strcspn(line, "\r\n#");
	size_t at = 0;
	int features = -1;
	while (at < length) {
		while (at < length && (line[at] == ' ' || line[at] == '\t'))
			at++;
		size_t n = strcspn(line + at, " \t\r\n#");
		if (at >= length || n == 0)
			break;
		const char *token = line + at;
		at += n;
		if (features < 0) {
			if (!is_libsvm_label(token, n))
				return -1;
			features = 0;
		} else if (n > 4 && strncmp(token, "qid:", 4) == 0) {
			continue;
		} else {
			const char *colon = memchr(token, ':', n);
			if (!colon || memchr(colon + 1, ':', n - (size_t)(colon + 1 - token)))
				return -1;
			features++;
		}
	}
	return features < 0 ? 0 : features;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

static int libsvm_failure(const char *line, const char *path, struct failure *fail)
{
	int n = (int)strcspn(line, "\r\n");
	return failure_user(fail,
			    "First line '%.*s...' of file '%s' is not 'LIBSVM' format. Please ensure the file is in "
			    "'LIBSVM' format.",
			    n > SNIPPET ? SNIPPET : n, line, base_name(path));
}

/* Checks up to the first line that has features. */
static int check_libsvm(FILE *in, const char *path, struct failure *fail)
{
	CLEANUP_FREE char *line = NULL;
	size_t cap = 0;
	while (getline(&line, &cap, in) >= 0) {
		int n = libsvm_feature_count(line);
		if (n < 0)
			return libsvm_failure(line, path, fail);
		if (n > 0)
			return 0;
	}
	log_warning("File %s has no features in any line.", base_name(path));
	return 0;
}

static bool has_number(const char *line, char delimiter)
{
	while (*line && *line != '\n') {
		size_t n = 0;
		while (line[n] && line[n] != delimiter && line[n] != '\n' && line[n] != '\r')
			n++;
		if (is_number(line, n))
			return true;
		line += n;
		if (*line)
			line++;
	}
	return false;
}

static int check_csv(FILE *in, const char *path, char *delimiter, struct failure *fail)
{
	CLEANUP_FREE char *line = NULL;
	size_t cap = 0;
	if (getline(&line, &cap, in) < 0)
		return 0;
	char found = csv_delimiter(line);
	if (!found) {
		int n = (int)strcspn(line, "\r\n");
		return failure_user(fail, "Could not determine delimiter on line %.*s:\nCould not determine delimiter",
				    n > SNIPPET ? SNIPPET : n, line);
	}
	log_info("Determined delimiter of CSV input is '%c'", found);
	if (!has_number(line, found))
		log_warning("The first line of %s holds no number. A header line counts as a row here: remove it.",
			    base_name(path));
	if (!*delimiter)
		*delimiter = found;
	return 0;
}

int data_check(const struct data_files *f, enum content_type type, char *delimiter, struct failure *fail)
{
	*delimiter = 0;
	for (size_t i = 0; i < f->count; i++) {
		FILE *in = fopen(f->paths[i], "r");
		if (!in)
			return failure_platform(fail, "open `%s`: %s", f->paths[i], strerror(errno));
		int r = type == CONTENT_CSV ? check_csv(in, f->paths[i], delimiter, fail)
					    : check_libsvm(in, f->paths[i], fail);
		fclose(in);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- loading ---- */

/* A directory of links 0000000, 0000001, ... to the files. */
struct link_farm {
	char *dir;
	size_t count;
};

static void link_path(const struct link_farm *farm, size_t i, struct text *out)
{
	text_printf(out, "%s/%07zu", farm->dir, i);
}

static void farm_release(struct link_farm *farm)
{
	for (size_t i = 0; i < farm->count; i++) {
		CLEANUP_TEXT struct text path = TEXT_INIT;
		link_path(farm, i, &path);
		unlink(text_cstr(&path));
	}
	if (farm->dir)
		rmdir(farm->dir);
	free(farm->dir);
	*farm = (struct link_farm){ 0 };
}

static int farm_create(struct link_farm *farm, const struct data_files *f, struct failure *fail)
{
	const char *tmp = getenv("TMPDIR");
	CLEANUP_TEXT struct text template = TEXT_INIT;
	text_printf(&template, "%s/quern-xgboost-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(template.ptr))
		return failure_platform(fail, "create directory `%s`: %s", text_cstr(&template), strerror(errno));
	farm->dir = text_take(&template);
	for (size_t i = 0; i < f->count; i++) {
		CLEANUP_TEXT struct text path = TEXT_INIT;
		CLEANUP_FREE char *target = realpath(f->paths[i], NULL);
		link_path(farm, i, &path);
		if (!target || symlink(target, text_cstr(&path)) < 0)
			return failure_platform(fail, "link `%s`: %s", f->paths[i], strerror(errno));
		farm->count++;
	}
	return 0;
}

/* The loader takes a list of files, or a directory. It reads the whole directory for every listed file, so a long list
 * is given as the directory. */
static void write_uri(struct text *uri, const struct link_farm *farm, enum content_type type, char delimiter,
		      bool weights)
{
	if (farm->count > MAX_LISTED_FILES)
		text_add(uri, farm->dir);
	else
		for (size_t i = 0; i < farm->count; i++) {
			text_add(uri, i ? ";" : "");
			link_path(farm, i, uri);
		}
	if (type == CONTENT_CSV)
		text_printf(uri, "?format=csv&label_column=0&delimiter=%c%s", delimiter,
			    weights ? "&weight_column=1" : "");
	else
		text_add(uri, "?format=libsvm");
}

static int load_linked(const struct link_farm *farm, enum content_type type, char delimiter, bool weights,
		       struct matrix *out, struct failure *fail)
{
	CLEANUP_TEXT struct text uri = TEXT_INIT;
	write_uri(&uri, farm, type, delimiter, weights);
	DMatrixHandle handle;
	if (XGDMatrixCreateFromFile(text_cstr(&uri), 1, &handle) != 0) {
		CLEANUP_FREE char *why = failure_clean_xgboost_text(XGBGetLastError());
		return failure_user(fail, "Failed to load %s data with exception:\n%s",
				    type == CONTENT_CSV ? "csv" : "libsvm", why);
	}
	return matrix_adopt(out, handle, fail);
}

int data_load(const struct data_files *f, enum content_type type, char delimiter, bool weights, struct matrix *out,
	      struct failure *fail)
{
	struct link_farm farm = { 0 };
	int r = farm_create(&farm, f, fail);
	if (r == 0)
		r = load_linked(&farm, type, delimiter, weights, out, fail);
	farm_release(&farm);
	return r;
}
