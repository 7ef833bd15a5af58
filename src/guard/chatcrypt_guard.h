/*
 * chatcrypt_guard.h
 *		How the library chatcrypt_guard finds out whether the main library is loaded.
 */
#ifndef CHATCRYPT_GUARD_H
#define CHATCRYPT_GUARD_H

/* A rendezvous variable, which is not NULL where src/pg/access/dropguard.c has its hook in place. */
#define CHATCRYPT_DROPGUARD_VARIABLE "chatcrypt_dropguard"

#endif
