/*
 * protectguard.h
 *		Refuses changes of the catalog that would store plaintext of a protected column, or lose
 *		what is needed to open it.
 */
#ifndef CHATCRYPT_PROTECTGUARD_H
#define CHATCRYPT_PROTECTGUARD_H

extern void chatcrypt_protectguard_install_hooks(void);

#endif
