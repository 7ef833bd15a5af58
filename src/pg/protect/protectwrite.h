/*
 * protectwrite.h
 *		What is written to a protected table: rows with their protected values sealed.
 */
#ifndef CHATCRYPT_PROTECTWRITE_H
#define CHATCRYPT_PROTECTWRITE_H

#include "access/tableam.h"

extern void chatcrypt_protectwrite_replace(TableAmRoutine *routine);

#endif
