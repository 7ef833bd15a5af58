/*
 * random.h
 *		Random bytes drawn ahead, so that a salt costs nanoseconds.
 *
 * The buffer lives in a page that the kernel wipes on fork (MADV_WIPEONFORK) and
 * leaves out of core dumps.  It must not outlive a statement: a machine that is
 * cloned or snapshotted between two statements would otherwise repeat salts in
 * both copies.  The owner of the process calls cc_random_forget() at the end of
 * each statement, and never draws before it has forked.
 */
#ifndef CC_RANDOM_H
#define CC_RANDOM_H

#include "core/bytes.h"

/* At most 64 bytes at a time come from the buffer; larger draws go to the system. */
extern CC_MUST_CHECK cc_status cc_random_bytes(void *out, size_t len);

/* Wipes the bytes that were drawn ahead.  It is cheap where there are none. */
extern void cc_random_forget(void);

#endif
