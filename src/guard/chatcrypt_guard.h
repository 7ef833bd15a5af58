/*
 * chatcrypt_guard.h
 *		How the library chatcrypt_guard finds out whether the main library is loaded, and what it
 *		provides.
 */
#ifndef CHATCRYPT_GUARD_H
#define CHATCRYPT_GUARD_H

/* A rendezvous variable, which is not NULL if src/pg/access/dropguard.c has its hook in place. */
#define CHATCRYPT_DROPGUARD_VARIABLE "chatcrypt_dropguard"

/*
 * A rendezvous variable with the table access method of src/pg/protect; NULL if the main library is
 * not loaded.
 */
#define CHATCRYPT_TABLE_AM_VARIABLE "chatcrypt_table_am"

#endif
