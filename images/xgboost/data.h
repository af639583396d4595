/* data.h - finds the data files of a channel, checks their shape, and loads them.
 *
 * DESIGN: the rows are read by libxgboost's own text loader, so the numbers are those of the AWS image. Before that,
 * the first line of every file is checked, because the loader would take nearly anything for numbers. Files are
 * loaded in the order of their names, through links with plain names: the loader gives `?`, `#` and `;` in a path
 * a meaning. Files that start with `_` are left out, those that start with `.` are refused. */
#ifndef QUERN_IMAGE_DATA_H
#define QUERN_IMAGE_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <xgboost/c_api.h>

#include "channels.h"
#include "failure.h"

/* A loaded matrix. */
struct matrix {
	DMatrixHandle handle; /* owned; NULL when there is none */
	size_t rows, columns;
	const float *labels; /* `rows` of them; borrowed from the handle */
};
#define MATRIX_INIT ((struct matrix){ 0 })

void matrix_release(struct matrix *m);
/* Fills the sizes and labels of a handle; takes the handle. */
int matrix_adopt(struct matrix *m, DMatrixHandle handle, struct failure *fail);

/* The files of a channel directory, in the order of their names. */
struct data_files {
	char **paths; /* owned */
	size_t count;
	size_t size_bytes;
};
#define DATA_FILES_INIT ((struct data_files){ 0 })

void data_files_release(struct data_files *f);
/* Adds the files below `dir`, at most three folders deep. A missing directory has no files. */
int data_files_find(struct data_files *f, const char *dir, struct failure *fail);
/* Warns about files of the same name and size in both. */
void data_files_warn_same(const struct data_files *train, const struct data_files *validation);

/* Checks the first lines of all files against the content type; *delimiter is set for CSV. */
int data_check(const struct data_files *f, enum content_type type, char *delimiter, struct failure *fail);
/* Loads all files into one matrix. With `weights`, the second column of CSV holds the row's weight. */
int data_load(const struct data_files *f, enum content_type type, char delimiter, bool weights, struct matrix *out,
	      struct failure *fail);

/* The delimiter of a CSV line, 0 when there is none to be seen. */
char csv_delimiter(const char *line);
/* Number of features of a libsvm line, -1 when it is none. */
int libsvm_feature_count(const char *line);

#endif
