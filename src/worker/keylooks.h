/*
 * keylooks.h
 *		Looks at the properties of a KMS key.
 */
#ifndef CHATCRYPT_KEYLOOKS_H
#define CHATCRYPT_KEYLOOKS_H

#include "worker/dispatch.h"

/* Begins a look.  Leaves line->key_call NULL where all calls are in use. */
extern void chatcrypt_keylook_at(KmsLine *line);

/* Begins a look for the view alone, where one is due. */
extern void chatcrypt_keylook_aside(KmsLine *line, int64 now_ms);

#endif
