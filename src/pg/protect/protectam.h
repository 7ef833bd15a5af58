/*
 * protectam.h
 *		The table access method chatcrypt: the heap, with protected columns.
 *
 * Pages, WAL, HOT, vacuum, freezing, the visibility map and TOAST are the heap's own: on disk, a
 * table of this access method is a heap.  Three things differ: the slots, which open values when
 * they are used (protectslot.h); writing, which seals values (protectwrite.h); and operations on a
 * whole table, for which the table is temporarily given the heap's access method (protectheap.h).
 *
 * No callback reads a catalog or calls the KMS while the heap's code runs or a buffer is locked:
 * descriptions are read before the heap is called, and values are opened after it returns.
 */
#ifndef CHATCRYPT_PROTECTAM_H
#define CHATCRYPT_PROTECTAM_H

#include "access/tableam.h"

/* Called when the library is loaded.  The library chatcrypt_guard hands the routine out. */
extern void chatcrypt_protectam_install(void);

#endif
