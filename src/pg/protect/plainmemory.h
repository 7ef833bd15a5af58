/*
 * plainmemory.h
 *		Memory for the plaintext of a slot.  It is wiped when the slot is cleared, and also when
 *		the memory is freed without that, as after an error.
 */
#ifndef CHATCRYPT_PLAINMEMORY_H
#define CHATCRYPT_PLAINMEMORY_H

#include "postgres.h"

#include "utils/palloc.h"

/* Embedded in an object that is allocated in parent.  All fields but parent start as zero. */
typedef struct ChatcryptPlainMemory
{
	MemoryContext parent;
	MemoryContext context;		/* created at first use */
	struct ChatcryptPlainChunk *chunks;
	bool		in_use;			/* the callback is registered */
	MemoryContextCallback wipe;
} ChatcryptPlainMemory;

/* The context for the plaintext; what is allocated there is wiped only if it is noted below. */
extern MemoryContext chatcrypt_plainmemory_context(ChatcryptPlainMemory *memory);

/* Notes bytes in that context, so that they are wiped before the context is reset. */
extern void chatcrypt_plainmemory_note(ChatcryptPlainMemory *memory, void *bytes, Size len);

/* Wipe all noted bytes, and free all memory. */
extern void chatcrypt_plainmemory_reset(ChatcryptPlainMemory *memory);
extern void chatcrypt_plainmemory_delete(ChatcryptPlainMemory *memory);

/*
 * For plaintext in the current memory context, whatever that is: has it wiped when that context is
 * reset or deleted.  The caller must not free it before.
 */
extern void chatcrypt_plainmemory_wipe_later(void *bytes, Size len);

#endif
