/* fuzz_layer.c - any bytes as a layer's archive, and any sequence of odd entries as a well-formed one.
 *
 * DESIGN: the first byte chooses. A tar header has a checksum, so raw bytes seldom get far: the other way reads the
 * input as a small language of entries (kind, a name put together from pieces that lead out, a target alike) and has
 * libarchive write them. Checked beside memory safety: whatever the archive says, nothing outside the layer's directory
 * has changed, and what is inside is removed again. */
#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "task/layers.h"
#include "task/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static int work, outside;
static char work_path[64];

static void need(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	abort();
}

static void clean_up(void)
{
	unlinkat(outside, "file", 0);
	unlinkat(work, "outside", AT_REMOVEDIR);
	rmdir(work_path);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	snprintf(work_path, sizeof(work_path), "/dev/shm/quern-fuzz-layer-%d", (int)getpid());
	need(mkdir(work_path, 0700) == 0, "make a directory");
	atexit(clean_up);
	work = open(work_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	need(work >= 0 && mkdirat(work, "outside", 0755) == 0, "make `outside`");
	outside = openat(work, "outside", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int fd = openat(outside, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	need(outside >= 0 && fd >= 0 && write(fd, "untouched", 9) == 9, "make `outside/file`");
	close(fd);
	return 0;
}

static size_t count_entries(int dir)
{
	size_t n = 0;
	DIR *d = fdopendir(dup(dir));
	need(d != NULL, "list");
	rewinddir(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void check_outside(void)
{
	struct stat dir, file;
	char text[16] = "";
	int fd = openat(outside, "file", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	need(fd >= 0 && read(fd, text, sizeof(text)) == 9 && !memcmp(text, "untouched", 9) && fstat(fd, &file) == 0,
	     "outside/file");
	close(fd);
	need(fstat(outside, &dir) == 0 && (dir.st_mode & 07777) == 0755 && file.st_nlink == 1 &&
		     (file.st_mode & 07777) == 0600,
	     "modes outside");
	need(count_entries(outside) == 3 && count_entries(work) == 4, "entries outside");
}

static void try_archive(int blob)
{
	struct layers_source src = { .data_fd = -1, .exec_fd = -1, .rootless = geteuid() != 0 };
	int64_t bytes = 0;
	src.max_bytes = 1 << 20;
	src.max_entries = 256;
	need(mkdirat(work, "root", 0755) == 0, "make `root`");
	int root = openat(work, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	need(root >= 0, "open `root`");
	CLEANUP_ERROR struct error err = ERROR_INIT;
	/* No archive has this diff id: whatever was unpacked is refused in the end. */
	if (layer_unpack(blob, "sha256:none", root, NULL, 0, &src, &bytes, &err) == 0 || !err.message)
		abort();
	if (bytes > src.max_bytes + (1 << 20))
		abort();
	close(root);
	check_outside();
	need(path_remove_tree(work, "root", NULL) == 0, "remove `root`");
}

/* ---- entries from a small language ---- */

struct input {
	const uint8_t *p, *end;
};

static unsigned next(struct input *in)
{
	return in->p < in->end ? *in->p++ : 0;
}

static void take_name(struct input *in, char *out, size_t room)
{
	static const char *const pieces[] = { "a",     "b",
					      "c",     "..",
					      ".",     "",
					      "dev",   "outside",
					      ".wh.a", ".wh..wh..opq",
					      ".wh.",  ".wh...",
					      "file",  "/proc/self/cwd",
					      "root",  "\xff\xfe" };
	size_t len = 0;
	unsigned n = next(in);
	out[0] = 0;
	if (n & 0x80)
		len += (size_t)snprintf(out, room, "/");
	for (unsigned i = 0; i <= (n & 3); i++)
		len += (size_t)snprintf(out + len, room - len, "%s%s", i ? "/" : "", pieces[next(in) & 15]);
}

static void write_entry(struct archive *ar, struct input *in)
{
	static const int types[] = { AE_IFREG, AE_IFDIR, AE_IFLNK, AE_IFCHR, AE_IFBLK, AE_IFIFO, AE_IFREG, AE_IFREG };
	char name[128], target[128], path[160];
	unsigned kind = next(in), mode = next(in);
	struct archive_entry *e = archive_entry_new();
	take_name(in, name, sizeof(name));
	archive_entry_set_pathname(e, name);
	archive_entry_set_filetype(e, (unsigned)types[kind & 7]);
	archive_entry_set_perm(e, (mode * 16) & 07777);
	if ((kind & 7) == 2 || (kind & 7) == 7) {
		take_name(in, target, sizeof(target));
		snprintf(path, sizeof(path), "%s%s", kind & 0x40 ? "/dev/shm/" : "", target);
		if ((kind & 7) == 2)
			archive_entry_set_symlink(e, path);
		else
			archive_entry_set_hardlink(e, path);
	}
	bool file = (kind & 7) == 0 || (kind & 7) == 6;
	archive_entry_set_size(e, file ? 4 : 0);
	if (kind & 0x20)
		archive_entry_xattr_add_entry(e, "trusted.overlay.opaque", "y", 1);
	if (archive_write_header(ar, e) == ARCHIVE_OK && file)
		archive_write_data(ar, "data", 4);
	archive_entry_free(e);
}

static void write_archive(int fd, struct input *in)
{
	struct archive *ar = archive_write_new();
	need(ar && archive_write_set_format_pax(ar) == ARCHIVE_OK && archive_write_open_fd(ar, fd) == ARCHIVE_OK,
	     "write an archive");
	for (int i = 0; i < 24 && in->p < in->end; i++)
		write_entry(ar, in);
	archive_write_free(ar);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("layer", MFD_CLOEXEC);
	need(fd >= 0, "memfd");
	struct input in = { data + 1, data + size };
	if (size && (data[0] & 1))
		write_archive(fd, &in);
	else if (size)
		need(write(fd, data + 1, size - 1) == (ssize_t)(size - 1), "write");
	lseek(fd, 0, SEEK_SET);
	try_archive(fd);
	close(fd);
	return 0;
}
