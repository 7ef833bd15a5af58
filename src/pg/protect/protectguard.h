/*
 * protectguard.h
 *		Refuses changes of the catalog that would store plaintext of a protected column, or remove
 *		a column or table that is needed to open its values.
 */
#ifndef CHATCRYPT_PROTECTGUARD_H
#define CHATCRYPT_PROTECTGUARD_H

extern void chatcrypt_protectguard_install_hooks(void);

#endif
