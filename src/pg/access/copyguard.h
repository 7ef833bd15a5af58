/*
 * copyguard.h
 *		Keeps message bodies out of the context of errors during COPY.
 */
#ifndef CHATCRYPT_COPYGUARD_H
#define CHATCRYPT_COPYGUARD_H

extern void chatcrypt_copyguard_install_hooks(void);

#endif
