/*
 * participants.h
 *		Names of participants.
 */
#ifndef CHATCRYPT_PARTICIPANTS_H
#define CHATCRYPT_PARTICIPANTS_H

#include "utils/array.h"

/* Raises for a text[] with anything in it that can be no participant's name. */
extern void chatcrypt_participants_check(ArrayType *names);

#endif
