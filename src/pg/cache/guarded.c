/*
 * guarded.c
 *		Memory for keys: see guarded.h.
 */
#include "postgres.h"

#include <sys/mman.h>
#include <time.h>

#include "pg/cache/guarded.h"

static void *
map_guarded(Size size, int flags)
{
	void	   *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return NULL;
	if (madvise(memory, size, MADV_DONTDUMP) != 0)
	{
		munmap(memory, size);
		return NULL;
	}
	return memory;
}

void *
chatcrypt_guarded_shared(Size size)
{
	void	   *memory = map_guarded(size, MAP_SHARED);

	if (memory == NULL)
		ereport(FATAL,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("could not map %zu bytes for the key cache: %m", size),
				 errhint("Lower chatcrypt.cache_size.")));
	return memory;
}

void *
chatcrypt_guarded_private(Size size)
{
	void	   *memory = map_guarded(size, MAP_PRIVATE);

	if (memory != NULL && madvise(memory, size, MADV_WIPEONFORK) != 0)
	{
		munmap(memory, size);
		return NULL;
	}
	return memory;
}

int64
chatcrypt_guarded_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (int64) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
