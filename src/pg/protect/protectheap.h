/*
 * protectheap.h
 *		Has the heap process whole protected tables as if they were its own: when indexes are
 *		built, and in VACUUM FULL and CLUSTER.  The heap handles the stored values only.
 */
#ifndef CHATCRYPT_PROTECTHEAP_H
#define CHATCRYPT_PROTECTHEAP_H

#include "access/tableam.h"

extern void chatcrypt_protectheap_replace(TableAmRoutine *routine);

#endif
