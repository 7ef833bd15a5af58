/*
 * rights.h
 *		What the current user may do as a member of chatcrypt's roles.
 *
 * GRANTs are the first line of defense.  These checks are the second, and hold even if
 * EXECUTE was granted by mistake.
 */
#ifndef CHATCRYPT_RIGHTS_H
#define CHATCRYPT_RIGHTS_H

typedef enum ChatcryptRight
{
	CHATCRYPT_MAY_WRITE,		/* role chatcrypt_writer */
	CHATCRYPT_MAY_READ,			/* role chatcrypt_reader */
	CHATCRYPT_MAY_ADMINISTER,	/* role chatcrypt_admin */
	CHATCRYPT_MAY_AUDIT,		/* role chatcrypt_auditor */
	CHATCRYPT_MAY_HOLD_KEYS,	/* role chatcrypt_keyholder */
	CHATCRYPT_MAY_FEED			/* role chatcrypt_feeder */
} ChatcryptRight;

#define CHATCRYPT_RIGHTS 6

extern bool chatcrypt_rights_has(ChatcryptRight right);

/* Raises if the current user lacks the right. */
extern void chatcrypt_rights_require(ChatcryptRight right);

/* Raises if the current user may neither read nor write. */
extern void chatcrypt_rights_require_reader_or_writer(void);

/* Raises if the current user is neither an administrator nor an auditor. */
extern void chatcrypt_rights_require_steward(void);

#endif
