/*
 * keylooks.h
 *		Looks at the properties of a key.
 */
#ifndef CHATCRYPT_KEYLOOKS_H
#define CHATCRYPT_KEYLOOKS_H

#include "worker/dispatch.h"

/* Leaves line->key_call NULL where no call is to be had now. */
extern void chatcrypt_keylook_at(KmsLine *line);

/* For no request: for the view, where it is time. */
extern void chatcrypt_keylook_aside(KmsLine *line, int64 now_ms);

#endif
