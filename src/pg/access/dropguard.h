/*
 * dropguard.h
 *		Keeps DROP EXTENSION from taking live data keys with it.
 */
#ifndef CHATCRYPT_DROPGUARD_H
#define CHATCRYPT_DROPGUARD_H

extern void chatcrypt_dropguard_install_hooks(void);

#endif
