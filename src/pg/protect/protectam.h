/*
 * protectam.h
 *		The table access method chatcrypt: the heap, with protected columns.
 *
 * Pages, WAL, HOT, vacuum, freezing, the visibility map and TOAST are the heap's own: on disk a
 * table of this access method is a heap.  It differs in its slots (protectslot.h), which open
 * what somebody looks at, in what is written (protectwrite.h), and in that the heap works on
 * whole tables as if they were its own (protectheap.h).
 *
 * No callback reads a catalog or asks the KMS while the heap's code runs or a buffer is locked:
 * descriptions are read before the heap is called, and values opened after.
 */
#ifndef CHATCRYPT_PROTECTAM_H
#define CHATCRYPT_PROTECTAM_H

#include "access/tableam.h"

/* When the library is loaded.  The library chatcrypt_guard hands the routine to the server. */
extern void chatcrypt_protectam_install(void);

#endif
