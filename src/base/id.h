/* id.h - random identifiers from the kernel's generator. For durable code use the engine's turn_random instead. */
#ifndef QUERN_BASE_ID_H
#define QUERN_BASE_ID_H

#include "base/str.h"

void random_bytes(void *p, size_t n);
/* Writes n characters of [a-z0-9] from `random` 64-bit words drawn by next(ctx), and a NUL: out holds n+1. */
void id_alnum(char *out, size_t n, uint64_t (*next)(void *), void *ctx);
/* The same from the kernel. */
void id_random(char *out, size_t n);
/* UUID version 4 text, 37 bytes with NUL; next may be NULL (kernel). */
void id_uuid(char out[37], uint64_t (*next)(void *), void *ctx);
/* Lower-case hex, out holds 2n+1. */
void hex_encode(char *out, const void *p, size_t n);
/* The value of a hex digit of either case; -1 for another character. */
int hex_digit(char c);
/* False unless exactly 2n hex digits. */
bool hex_decode(void *out, size_t n, struct str hex);
/* Base64 (padded) into out (holds 4*((n+2)/3)+1); returns length. */
size_t base64_encode(char *out, const void *p, size_t n);
/* Into out (holds 3*(len/4)+3); returns the length or -1 when malformed. */
ptrdiff_t base64_decode(void *out, struct str text);

#endif
