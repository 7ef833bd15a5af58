/*
 * protectheap.h
 *		The heap at work on whole protected tables, as if they were its own: building indexes,
 *		VACUUM FULL and CLUSTER.  It sees what is stored.
 */
#ifndef CHATCRYPT_PROTECTHEAP_H
#define CHATCRYPT_PROTECTHEAP_H

#include "access/tableam.h"

extern void chatcrypt_protectheap_replace(TableAmRoutine *routine);

#endif
