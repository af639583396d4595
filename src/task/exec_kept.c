/* exec_kept.c - what failed tasks left, for `quern debug`.
 *
 * DESIGN: the supervisor marks a task that failed with the file exec/kept; forgetting it then leaves exec/ as it is:
 * the spec, the layers that the containers wrote, their volumes. The newest KEPT_TASKS are kept for KEPT_S at most, and
 * none when the disk is nearly full. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "task/exec.h"
#include "task/path.h"
#include "task/spec.h"

#define KEPT_TASKS 8
#define KEPT_S (24 * 3600)
#define FREE_PART 20 /* of the disk must be free */

struct kept {
	char id[SPEC_ID_MAX + 1];
	time_t at;
};

static bool look(struct executor *x, const char *id, struct kept *out)
{
	struct stat st;
	CLEANUP_FD int dir = path_open_beneath(x->tasks_fd, id, O_PATH | O_DIRECTORY, 0, NULL);
	CLEANUP_FD int exec = dir < 0 ? -1 : path_open_beneath(dir, "exec", O_PATH | O_DIRECTORY, 0, NULL);
	if (exec < 0 || fstatat(exec, "kept", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	snprintf(out->id, sizeof(out->id), "%s", id);
	out->at = st.st_mtime;
	return true;
}

bool exec_is_kept(struct executor *x, const char *id)
{
	struct kept one;
	return look(x, id, &one);
}

static int newest_first(const void *a, const void *b)
{
	const struct kept *x = a, *y = b;
	return x->at < y->at ? 1 : x->at > y->at ? -1 : strcmp(x->id, y->id);
}

static bool disk_is_full(const struct executor *x)
{
	struct statvfs fs;
	return fstatvfs(x->tasks_fd, &fs) == 0 && fs.f_bavail < fs.f_blocks / FREE_PART;
}

static void let_go(struct executor *x, const char *id)
{
	CLEANUP_FD int dir = path_open_beneath(x->tasks_fd, id, O_PATH | O_DIRECTORY, 0, NULL);
	CLEANUP_FD int exec = dir < 0 ? -1 : path_open_beneath(dir, "exec", O_PATH | O_DIRECTORY, 0, NULL);
	CLEANUP_FD int kept = exec < 0 ? -1 : openat(exec, "kept", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (kept < 0 || flock(kept, LOCK_EX | LOCK_NB) < 0)
		return; /* a shell is open in it */
	if (unlinkat(exec, "kept", 0) < 0 || !exec_is_forgotten(x, id))
		return; /* not told to the daemon yet: forgetting it removes the rest */
	exec_remove_leftovers(x, id);
}

void exec_limit_kept(struct executor *x)
{
	struct kept *list = NULL;
	size_t n = 0;
	DIR *d = path_list(x->tasks_fd, ".");
	for (struct dirent *entry; d && (entry = readdir(d));) {
		struct kept one;
		if (!spec_id_ok(entry->d_name) || !look(x, entry->d_name, &one))
			continue;
		list = mem_realloc(list, (n + 1) * sizeof(*list));
		list[n++] = one;
	}
	if (d)
		closedir(d);
	if (n)
		qsort(list, n, sizeof(*list), newest_first);
	time_t now = time(NULL);
	for (size_t i = n; i-- > 0;) /* the oldest first: the disk may be well again after some */
		if (i >= KEPT_TASKS || now - list[i].at > KEPT_S || disk_is_full(x))
			let_go(x, list[i].id);
	free(list);
}
