/*
 * wipingmemory.c
 *		Memory that is wiped when it is freed; see wipingmemory.h.
 */
#include "kms/wipingmemory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"

typedef union BlockHeader
{
	size_t		size;
	max_align_t align;
} BlockHeader;

void *
cc_wiping_malloc(size_t size)
{
	BlockHeader *block = size > SIZE_MAX - sizeof(*block) ? NULL : malloc(sizeof(*block) + size);

	if (block == NULL)
		return NULL;
	block->size = size;
	return block + 1;
}

void
cc_wiping_free(void *memory)
{
	BlockHeader *block;

	if (memory == NULL)
		return;
	block = (BlockHeader *) memory - 1;
	cc_wipe(block, sizeof(*block) + block->size);
	free(block);
}

void *
cc_wiping_realloc(void *memory, size_t size)
{
	void	   *larger = cc_wiping_malloc(size);
	size_t		old_size;

	if (larger == NULL || memory == NULL)
		return larger;
	old_size = ((BlockHeader *) memory - 1)->size;
	memcpy(larger, memory, size < old_size ? size : old_size);
	cc_wiping_free(memory);
	return larger;
}

void *
cc_wiping_calloc(size_t count, size_t size)
{
	void	   *memory = size != 0 && count > SIZE_MAX / size ? NULL :
		cc_wiping_malloc(count * size);

	if (memory != NULL)
		memset(memory, 0, count * size);
	return memory;
}

char *
cc_wiping_strdup(const char *text)
{
	char	   *copy = cc_wiping_malloc(strlen(text) + 1);

	return copy == NULL ? NULL : strcpy(copy, text);
}
