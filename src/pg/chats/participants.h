/*
 * participants.h
 *		Checks names of participants.
 */
#ifndef CHATCRYPT_PARTICIPANTS_H
#define CHATCRYPT_PARTICIPANTS_H

#include "utils/array.h"

/* Raises an error where an element of the text[] cannot be the name of a participant. */
extern void chatcrypt_participants_check(ArrayType *names);

#endif
