/* image.h - from an image URI to what a container's root is made of.
 *
 * DESIGN: a URI is matched by repository and tag whatever account, region or host stands before it. Two kinds of images
 * answer: built-in: declared in <images_dir>/images.json; root = a small skeleton (/etc, empty directories) under a
 * scratch layer, the host's /usr (never its /) and files of images_dir below /opt/quern. <images_dir>/local.json, when
 * it is there, belongs to the owner of the machine: {"python_env": "/srv/venv/lib/python3.11/site-packages"} puts newer
 * Python packages before Debian's in all of them; stored:   (room of ECR, later) layers unpacked into directories. They
 * come in through the same struct: `lowers` = the layers, no `dirs`, and the image's config in the other members.
 * images.json: see images/README.md. */
#ifndef QUERN_TASK_IMAGE_H
#define QUERN_TASK_IMAGE_H

#include <jansson.h>
#include "base/arena.h"
#include "base/error.h"

/* A host directory or file that shows inside the root at `target`. */
struct image_dir {
	const char *source, *target;
	bool scratch; /* writable through a scratch layer; else read-only */
};
struct image_link {
	const char *path, *to;
};
struct image {
	const char *repository, *tag;
	const char **lowers; /* NULL-ended directories, the top one first */
	struct image_dir *dirs;
	struct image_link *links; /* made in the root */
	size_t ndirs, nlinks;
	const char **entrypoint, **command; /* NULL-ended; may be NULL */
	const char **env;                   /* NULL-ended "K=V", never NULL; always has PATH */
	const char *workdir, *user;         /* NULL = "/" and root */
	int stop_signal;                    /* 0 = SIGTERM */
};
/* Where images come from. */
struct image_source {
	const char *images_dir; /* built-in content and images.json */
	int cache_dir;          /* fd: the executor's own directory; the skeleton is kept there */
	const char *cache_path; /* the same as a path that only we can change */
};

/* "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1" -> "sagemaker-xgboost", "1.7-1" (tag "latest"
 * when there is none; a digest
 * "@sha256:..." is dropped). < 0 when it is no image name. */
int image_split(struct arena *a, const char *uri, const char **repository, const char **tag, struct error *err);
/* Resolves; everything in the arena. The error text is that of a pull that failed, without the class name:
 * "pull image manifest has been retried 1 time(s): ...: not found". */
int image_resolve(struct arena *a, const struct image_source *src, const char *uri, struct image *out,
		  struct error *err);
/* The built-in images as [{"repository","tags",...}] for doctor and lists; owned, NULL with err. */
json_t *image_list(const char *images_dir, struct error *err);
bool image_package_installed(const char *debian_name);
/* Makes the skeleton for the host as it is now, when it is not there. Its name is written to name (>= 64 bytes). */
int skeleton_make(int cache_dir, char *name, struct error *err);

#endif
