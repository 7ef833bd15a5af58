/*
 * plainmemory.h
 *		Memory for plaintext that goes with a slot: wiped when the slot is cleared, and when its
 *		memory goes without that, as after an error.
 */
#ifndef CHATCRYPT_PLAINMEMORY_H
#define CHATCRYPT_PLAINMEMORY_H

#include "postgres.h"

#include "utils/palloc.h"

/* Part of something that lives in parent.  All but parent is zero at first. */
typedef struct ChatcryptPlainMemory
{
	MemoryContext parent;
	MemoryContext context;		/* made at first use */
	struct ChatcryptPlainChunk *chunks;
	bool		in_use;
	MemoryContextCallback wipe;
} ChatcryptPlainMemory;

/* The context to allocate in. */
extern MemoryContext chatcrypt_plainmemory_context(ChatcryptPlainMemory *memory);

/* Has these bytes, which were allocated there, wiped in the end. */
extern void chatcrypt_plainmemory_note(ChatcryptPlainMemory *memory, void *bytes, Size len);

/* Wipes and frees all. */
extern void chatcrypt_plainmemory_reset(ChatcryptPlainMemory *memory);
extern void chatcrypt_plainmemory_delete(ChatcryptPlainMemory *memory);

#endif
