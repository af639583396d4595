/* digest.c - see digest.h. */
#include "s3/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/id.h"

enum {
	HASH_STEP = 256 << 10, /* one read */
	HASH_TURN = 4 << 20,   /* then the next digest has its turn */
	FLUSH_STEP = 16 << 20, /* write-back is started in pieces of this size */
	MAX_THREADS = 8,
};

struct hasher {
	pthread_mutex_t lock;
	pthread_cond_t work, idle;
	struct digest *head, **tail;
	pthread_t threads[MAX_THREADS];
	int nthreads, started, waiting;
	bool stop;
};

static EVP_MD *md5_algo;
static pthread_once_t md5_once = PTHREAD_ONCE_INIT;

static void fetch_md5(void)
{
	md5_algo = EVP_MD_fetch(NULL, "MD5", NULL);
	if (!md5_algo)
		BUG("OpenSSL has no MD5");
}

struct hasher *hasher_new(int threads)
{
	struct hasher *h = mem_calloc(1, sizeof(*h));
	pthread_mutex_init(&h->lock, NULL);
	pthread_cond_init(&h->work, NULL);
	pthread_cond_init(&h->idle, NULL);
	h->tail = &h->head;
	h->nthreads = threads < 1 ? 1 : threads > MAX_THREADS ? MAX_THREADS : threads;
	return h;
}

void hasher_free(struct hasher *h)
{
	if (!h)
		return;
	pthread_mutex_lock(&h->lock);
	h->stop = true;
	pthread_cond_broadcast(&h->work);
	pthread_mutex_unlock(&h->lock);
	for (int i = 0; i < h->started; i++)
		pthread_join(h->threads[i], NULL);
	pthread_mutex_destroy(&h->lock);
	pthread_cond_destroy(&h->work);
	pthread_cond_destroy(&h->idle);
	free(h);
}

void digest_init(struct digest *d, struct hasher *pool, enum checksum_algo algo)
{
	pthread_once(&md5_once, fetch_md5);
	*d = (struct digest){ .pool = pool, .fd = -1, .md5 = EVP_MD_CTX_new() };
	if (!d->md5 || !EVP_DigestInit_ex2(d->md5, md5_algo, NULL))
		BUG("start MD5");
	checksum_init(&d->sum, algo);
}

void digest_bytes(struct digest *d, const void *p, size_t n)
{
	if (!EVP_DigestUpdate(d->md5, p, n))
		BUG("EVP_DigestUpdate");
	checksum_update(&d->sum, p, n);
}

/* Hashes the file from d->hashed up to `upto`. The caller is the only one who works on d. */
static int hash_file(struct digest *d, int64_t upto, char *buffer)
{
	while (d->hashed < upto) {
		const int64_t left = upto - d->hashed;
		const ssize_t k =
			pread(d->fd, buffer, left < HASH_STEP ? (size_t)left : HASH_STEP, d->base + d->hashed);
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return k < 0 ? errno : EIO;
		digest_bytes(d, buffer, (size_t)k);
		d->hashed += k;
	}
	return 0;
}

static void start_write_back(struct digest *d)
{
	if (d->hashed - d->flushed < FLUSH_STEP)
		return;
	/* A hint: when it fails, the fdatasync at the end has more to do. */
	(void)sync_file_range(d->fd, d->base + d->flushed, d->hashed - d->flushed, SYNC_FILE_RANGE_WRITE);
	d->flushed = d->hashed;
}

static void enqueue(struct hasher *h, struct digest *d)
{
	d->queued = true;
	d->next = NULL;
	*h->tail = d;
	h->tail = &d->next;
	if (h->waiting > 0)
		pthread_cond_signal(&h->work);
}

static void *hash_loop(void *arg)
{
	struct hasher *h = arg;
	CLEANUP_FREE char *buffer = mem_alloc(HASH_STEP);
	pthread_mutex_lock(&h->lock);
	while (!h->stop) {
		struct digest *d = h->head;
		if (!d) {
			h->waiting++;
			pthread_cond_wait(&h->work, &h->lock);
			h->waiting--;
			continue;
		}
		h->head = d->next;
		if (!h->head)
			h->tail = &h->head;
		d->queued = false;
		d->running = true;
		const int64_t upto = d->written - d->hashed > HASH_TURN ? d->hashed + HASH_TURN : d->written;
		pthread_mutex_unlock(&h->lock);
		const int failed = hash_file(d, upto, buffer);
		start_write_back(d);
		pthread_mutex_lock(&h->lock);
		d->running = false;
		d->failed = failed;
		if (!failed && !d->closing && d->written - d->hashed >= HASH_STEP)
			enqueue(h, d);
		pthread_cond_broadcast(&h->idle);
	}
	pthread_mutex_unlock(&h->lock);
	return NULL;
}

void digest_follow(struct digest *d, int fd, int64_t base)
{
	d->fd = fd;
	d->base = base;
}

void digest_written(struct digest *d, int64_t total)
{
	struct hasher *h = d->pool;
	pthread_mutex_lock(&h->lock);
	d->written = total;
	if (!d->queued && !d->running && !d->failed && total - d->hashed >= HASH_STEP) {
		if (h->started < h->nthreads && h->waiting == 0 &&
		    pthread_create(&h->threads[h->started], NULL, hash_loop, h) == 0)
			h->started++;
		enqueue(h, d);
	}
	pthread_mutex_unlock(&h->lock);
}

/* Takes d away from the pool: afterwards only the caller works on it. */
static void take_back(struct digest *d)
{
	struct hasher *h = d->pool;
	pthread_mutex_lock(&h->lock);
	d->closing = true;
	while (d->running)
		pthread_cond_wait(&h->idle, &h->lock);
	for (struct digest **at = &h->head; d->queued && *at; at = &(*at)->next) {
		if (*at != d)
			continue;
		*at = d->next;
		if (!*at)
			h->tail = at;
		d->queued = false;
		break;
	}
	pthread_mutex_unlock(&h->lock);
}

int digest_final(struct digest *d, struct digest_result *out, struct error *err)
{
	const int64_t total = d->written;
	if (d->fd >= 0) {
		take_back(d);
		CLEANUP_FREE char *buffer = d->hashed < total ? mem_alloc(HASH_STEP) : NULL;
		if (!d->failed)
			d->failed = hash_file(d, total, buffer);
		if (d->failed)
			return error_errno(err, d->failed, "read back a body to hash it");
	}
	unsigned n;
	if (!EVP_DigestFinal_ex(d->md5, out->md5, &n))
		BUG("EVP_DigestFinal");
	hex_encode(out->md5_hex, out->md5, 16);
	checksum_final(&d->sum, out->sum);
	d->fd = -1;
	digest_release(d);
	return 0;
}

void digest_release(struct digest *d)
{
	if (!d->md5)
		return;
	if (d->fd >= 0)
		take_back(d);
	EVP_MD_CTX_free(d->md5);
	d->md5 = NULL;
	checksum_release(&d->sum);
}
