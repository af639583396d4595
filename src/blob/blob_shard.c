/* blob_shard.c - the directories that blobs live in.
 *
 * DESIGN: new blobs go to one current leaf directory until it has SHARD_FILES names, then to another one picked at
 * random. So directories stay small, and writers that publish at the same time wait for one directory fsync, done by
 * the first of them (leader). */
#include "blob/room.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/id.h"

enum { SHARD_FILES = 1024 };

static int make_dir(int parent, const char *name, int *fd, struct error *err)
{
	if (mkdirat(parent, name, 0755) < 0 && errno != EEXIST)
		return blob_write_error(errno, "make a blob directory", err);
	*fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*fd < 0)
		return error_errno(err, errno, "open blob directory `%s`", name);
	if (fsync(parent) < 0)
		return error_errno(err, errno, "fsync the parent of blob directory `%s`", name);
	return 0;
}

static int shard_new(struct blob_store *bs, struct blob_shard **out, struct error *err)
{
	char prefix[5], upper[3], lower[3];
	id_random(prefix, 4);
	snprintf(upper, sizeof(upper), "%.2s", prefix);
	snprintf(lower, sizeof(lower), "%.2s", prefix + 2);
	CLEANUP_FD int up = -1;
	CLEANUP_FD int fd = -1;
	if (make_dir(bs->root_fd, upper, &up, err) < 0 || make_dir(up, lower, &fd, err) < 0)
		return -1;
	struct blob_shard *shard = mem_calloc(1, sizeof(*shard));
	shard->fd = fd_take(&fd);
	memcpy(shard->prefix, prefix, sizeof(prefix));
	shard->next = bs->shards;
	bs->shards = shard;
	*out = shard;
	return 0;
}

static void put_locked(struct blob_store *bs, struct blob_shard *shard)
{
	if (--shard->refs > 0)
		return;
	struct blob_shard **at = &bs->shards;
	while (*at != shard)
		at = &(*at)->next;
	*at = shard->next;
	close(shard->fd);
	mem_cleanup_free(&shard);
}

int shard_get(struct blob_store *bs, struct blob_shard **out, struct error *err)
{
	pthread_mutex_lock(&bs->lock);
	int rc = 0;
	if (bs->broken)
		rc = error_http(err, 503, "ServiceUnavailable",
				"The disk failed to make an earlier write durable; restart after checking it.");
	if (rc == 0 && (!bs->current || bs->current->created >= SHARD_FILES)) {
		struct blob_shard *shard;
		rc = shard_new(bs, &shard, err);
		if (rc == 0) {
			shard->refs = 1;
			if (bs->current)
				put_locked(bs, bs->current);
			bs->current = shard;
		}
	}
	if (rc == 0) {
		bs->current->created++;
		bs->current->refs++;
		*out = bs->current;
	}
	pthread_mutex_unlock(&bs->lock);
	return rc;
}

void shard_put(struct blob_store *bs, struct blob_shard *shard)
{
	pthread_mutex_lock(&bs->lock);
	put_locked(bs, shard);
	pthread_mutex_unlock(&bs->lock);
}

int shard_sync(struct blob_store *bs, struct blob_shard *shard, struct error *err)
{
	int rc = 0;
	pthread_mutex_lock(&bs->lock);
	const uint64_t mine = ++shard->linked;
	while (shard->synced < mine && !bs->broken) {
		if (shard->syncing) {
			pthread_cond_wait(&bs->synced, &bs->lock);
			continue;
		}
		shard->syncing = true;
		const uint64_t upto = shard->linked;
		pthread_mutex_unlock(&bs->lock);
		const int failed = fsync(shard->fd) < 0 ? errno : 0;
		pthread_mutex_lock(&bs->lock);
		shard->syncing = false;
		if (failed)
			bs->broken = true;
		else
			shard->synced = upto;
		pthread_cond_broadcast(&bs->synced);
	}
	if (shard->synced < mine)
		rc = error_set(err, "fsync of blob directory `%s` failed", shard->prefix);
	pthread_mutex_unlock(&bs->lock);
	return rc;
}

bool shard_in_use(struct blob_store *bs, const char prefix[4])
{
	for (const struct blob_shard *s = bs->shards; s; s = s->next)
		if (memcmp(s->prefix, prefix, 4) == 0)
			return true;
	return false;
}
