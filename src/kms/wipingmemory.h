/*
 * wipingmemory.h
 *		malloc() and its relatives for libraries that handle secrets without knowing it,
 *		such as libcurl: each block knows its size and is wiped before it is freed.
 *		Any thread may call these functions.
 */
#ifndef CC_WIPINGMEMORY_H
#define CC_WIPINGMEMORY_H

#include <stddef.h>

extern void *cc_wiping_malloc(size_t size);
extern void *cc_wiping_calloc(size_t count, size_t size);
extern void *cc_wiping_realloc(void *memory, size_t size);
extern char *cc_wiping_strdup(const char *text);
extern void cc_wiping_free(void *memory);

#endif
