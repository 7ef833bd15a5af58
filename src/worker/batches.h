/*
 * batches.h
 *		Flights on their way, in batches.
 */
#ifndef CHATCRYPT_BATCHES_H
#define CHATCRYPT_BATCHES_H

#include "worker/dispatch.h"

/* Takes every line one step further. */
extern void chatcrypt_batches_step(int64 now_ms, int64 *wake_at_ms);

#endif
