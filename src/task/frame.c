/* frame.c - see frame.h. */
#include "task/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/json.h"

int frame_add(struct buf *out, const json_t *message, struct error *err)
{
	CLEANUP_FREE char *text = json_text_dup(message);
	size_t n = strlen(text);
	if (n > FRAME_MAX_BYTES)
		return error_set(err, "message of %zu bytes is larger than %u", n, FRAME_MAX_BYTES);
	unsigned char head[4] = { (unsigned char)(n >> 24), (unsigned char)(n >> 16), (unsigned char)(n >> 8),
				  (unsigned char)n };
	buf_add(out, head, 4);
	buf_add(out, text, n);
	return 0;
}

int frame_take(struct buf *in, size_t max, json_t **message, struct error *err)
{
	if (in->len < 4)
		return 0;
	const unsigned char *h = (const unsigned char *)in->ptr;
	size_t n = (size_t)h[0] << 24 | (size_t)h[1] << 16 | (size_t)h[2] << 8 | h[3];
	if (n > max)
		return error_set(err, "message of %zu bytes is larger than %zu", n, max);
	if (in->len < 4 + n)
		return 0;
	*message = json_parse(str_of(in->ptr + 4, n), err);
	if (!*message)
		return error_wrap(err, "parse message");
	memmove(in->ptr, in->ptr + 4 + n, in->len - 4 - n);
	in->len -= 4 + n;
	return 1;
}

int frame_fill(int fd, struct buf *in)
{
	buf_reserve(in, 65536);
	for (;;) {
		ssize_t n = recv(fd, in->ptr + in->len, 65536, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EWOULDBLOCK ? -EAGAIN : -errno;
		in->len += (size_t)n;
		return (int)n;
	}
}

int frame_flush(int fd, struct buf *out)
{
	size_t done = 0;
	int rc = 0;
	while (done < out->len) {
		ssize_t n = send(fd, out->ptr + done, out->len - done, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			rc = errno == EAGAIN || errno == EWOULDBLOCK ? 1 : -errno;
			break;
		}
		done += (size_t)n;
	}
	memmove(out->ptr, out->ptr + done, out->len - done);
	out->len -= done;
	return rc;
}

static int address(struct sockaddr_un *sa, const char *path)
{
	*sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(sa->sun_path))
		return -ENAMETOOLONG;
	strcpy(sa->sun_path, path);
	return 0;
}

static int connect_path(const char *path)
{
	struct sockaddr_un sa;
	if (address(&sa, path) < 0)
		return -ENAMETOOLONG;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		int e = errno;
		close(fd);
		return -e;
	}
	return fd;
}

int frame_connect_at(int dirfd, const char *name)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dirfd, name);
	return connect_path(path);
}

/* Splits into an open directory and the last component, so that long paths fit into sun_path. */
static int open_parent(const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');
	*name = slash ? slash + 1 : path;
	CLEANUP_FREE char *dir =
		slash ? mem_strndup(path, slash == path ? 1 : (size_t)(slash - path)) : mem_strdup(".");
	int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int frame_connect(const char *path, struct error *err)
{
	const char *name;
	CLEANUP_FD int dir = open_parent(path, &name);
	int fd = dir < 0 ? dir : frame_connect_at(dir, name);
	if (fd < 0)
		error_errno(err, -fd, "connect to `%s`", path);
	return fd;
}

int frame_listen_at(int dirfd, const char *name, mode_t mode, struct error *err)
{
	char path[108];
	if (snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dirfd, name) >= (int)sizeof(path))
		return error_errno(err, ENAMETOOLONG, "listen on `%s`", name);
	struct sockaddr_un sa;
	address(&sa, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return error_errno(err, errno, "make a socket");
	unlinkat(dirfd, name, 0);
	mode_t old = umask(0777 & ~mode);
	int rc = bind(fd, (struct sockaddr *)&sa, sizeof(sa));
	int e = errno;
	umask(old);
	if (rc < 0 || listen(fd, 64) < 0) {
		e = rc < 0 ? e : errno;
		close(fd);
		return error_errno(err, e, "listen on `%s`", name);
	}
	return fd;
}
