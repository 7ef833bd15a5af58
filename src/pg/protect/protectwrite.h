/*
 * protectwrite.h
 *		Writes rows of protected tables, with their protected values sealed.
 */
#ifndef CHATCRYPT_PROTECTWRITE_H
#define CHATCRYPT_PROTECTWRITE_H

#include "access/tableam.h"

extern void chatcrypt_protectwrite_replace(TableAmRoutine *routine);

#endif
