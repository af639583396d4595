/* uri.h - percent-encoding, paths and query strings. */
#ifndef QUERN_WIRE_URI_H
#define QUERN_WIRE_URI_H

#include "base/arena.h"

/* True for RFC 3986's unreserved characters. */
bool uri_unreserved(unsigned char c);
/* Appends `s` percent-encoded (upper-case hex) at out, '/' kept when keep_slash; returns the new end. out holds 3 *
 * s.len more. */
char *uri_encode(char *out, struct str s, bool keep_slash);
/* Encoded copy in the arena, NUL-terminated. */
struct str uri_encoded(struct arena *a, struct str s, bool keep_slash);
/* Decodes %XX (and '+' as a space when `form`) at out, which holds s.len bytes and may be s.ptr itself; returns the
 * length. A '%' that is not followed by two hex digits stands for itself. */
size_t uri_decode(char *out, struct str s, bool form);
/* Decoded copy in the arena, NUL-terminated. `s` itself when there is nothing to decode. */
struct str uri_decoded(struct arena *a, struct str s, bool form);
/* Takes "." and ".." segments and empty segments out of an absolute path, as SigV4 wants it (never for S3); out holds
 * path.len + 1. */
struct str uri_normalize(char *out, struct str path);

#endif
