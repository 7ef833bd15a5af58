/*
 * plainmemory.c
 *		Memory for the plaintext of a slot, wiped before it is freed: see plainmemory.h.
 *
 * The wiping is done by a reset callback of the memory context, which runs before the memory is
 * freed in any way, including after an error.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "core/bytes.h"
#include "pg/protect/plainmemory.h"

typedef struct ChatcryptPlainChunk
{
	struct ChatcryptPlainChunk *next;
	void	   *bytes;
	Size		len;
} ChatcryptPlainChunk;

static void
wipe_chunks(void *arg)
{
	ChatcryptPlainMemory *memory = arg;

	for (ChatcryptPlainChunk *chunk = memory->chunks; chunk != NULL; chunk = chunk->next)
		cc_wipe(chunk->bytes, chunk->len);
	memory->chunks = NULL;
	memory->in_use = false;
}

MemoryContext
chatcrypt_plainmemory_context(ChatcryptPlainMemory *memory)
{
	if (memory->context == NULL)
		memory->context = AllocSetContextCreate(memory->parent, "chatcrypt slot",
												ALLOCSET_SMALL_SIZES);
	if (!memory->in_use)
	{
		/* A reset drops the callback, so it is registered anew each time. */
		memory->wipe = (MemoryContextCallback) {.func = wipe_chunks, .arg = memory};
		MemoryContextRegisterResetCallback(memory->context, &memory->wipe);
		memory->in_use = true;
	}
	return memory->context;
}

void
chatcrypt_plainmemory_note(ChatcryptPlainMemory *memory, void *bytes, Size len)
{
	ChatcryptPlainChunk *chunk = MemoryContextAlloc(memory->context, sizeof(ChatcryptPlainChunk));

	*chunk = (ChatcryptPlainChunk) {.next = memory->chunks, .bytes = bytes, .len = len};
	memory->chunks = chunk;
}

void
chatcrypt_plainmemory_reset(ChatcryptPlainMemory *memory)
{
	if (memory->in_use)
		MemoryContextReset(memory->context);
}

void
chatcrypt_plainmemory_delete(ChatcryptPlainMemory *memory)
{
	if (memory->context != NULL)
		MemoryContextDelete(memory->context);
	memory->context = NULL;
	memory->in_use = false;
}

/* ---------- plaintext outside slots ---------- */

typedef struct Wipe
{
	MemoryContextCallback callback;
	void	   *bytes;
	Size		len;
} Wipe;

static void
wipe_bytes(void *arg)
{
	Wipe	   *wipe = arg;

	cc_wipe(wipe->bytes, wipe->len);
}

void
chatcrypt_plainmemory_wipe_later(void *bytes, Size len)
{
	Wipe	   *wipe = palloc(sizeof(Wipe));

	*wipe = (Wipe) {.callback = {.func = wipe_bytes, .arg = wipe}, .bytes = bytes, .len = len};
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &wipe->callback);
}
