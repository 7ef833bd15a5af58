/*
 * access.h
 *		Who may do what: roles, the current actor, and the client's transport.
 *
 * GRANTs are the first fence; these checks are the second, and hold even where
 * EXECUTE was granted by mistake.
 */
#ifndef CHATCRYPT_ACCESS_H
#define CHATCRYPT_ACCESS_H

#include "core/bytes.h"

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

/* Raises where the current user lacks the right. */
extern void chatcrypt_require(ChatcryptRight right);

/* Raises for who is neither administrator nor auditor. */
extern void chatcrypt_require_steward(void);

/* Before plaintext goes to or comes from a client: the right, and chatcrypt.require_tls. */
extern void chatcrypt_require_for_plaintext(ChatcryptRight right);

/*
 * Before the key of a conversation goes to a client: for an actor, who must be a
 * participant, the right to read will do.
 */
extern void chatcrypt_require_for_key(const uint8 chat_id[CC_ID_LEN]);

/*
 * On whose behalf this transaction runs; NULL where nobody was named.  Valid until the
 * next act_as().
 */
extern const char *chatcrypt_actor(void);

/* While an actor is set: raises unless the chat's participants hold it. */
extern void chatcrypt_require_participant(const uint8 chat_id[CC_ID_LEN]);

/* The same as a question, for row-level security. */
extern bool chatcrypt_actor_may_see(const uint8 chat_id[CC_ID_LEN]);

/* For what goes over chats of everybody: raises while an actor is set. */
extern void chatcrypt_refuse_actor(const char *function);

extern void chatcrypt_access_define_settings(void);
extern void chatcrypt_access_install_hooks(void);

#endif
