/*
 * access.h
 *		Who may do what: participants, the client's transport, and with rights.h roles.
 */
#ifndef CHATCRYPT_ACCESS_H
#define CHATCRYPT_ACCESS_H

#include "core/bytes.h"
#include "pg/access/actor.h"
#include "pg/access/rights.h"

/*
 * Before plaintext goes to or comes from a client: the right, chatcrypt.require_tls, and an
 * actor where there must be one.
 */
extern void chatcrypt_access_require_for_plaintext(ChatcryptRight right);

/*
 * Before the key of a conversation goes to a client: for an actor, who must be a
 * participant, the right to read will do.
 */
extern void chatcrypt_access_require_for_key(const uint8 chat_id[CC_ID_LEN]);

/*
 * Raises where there must be an actor and is none; while one is set, unless the chat's
 * participants hold it.
 */
extern void chatcrypt_access_require_participant(const uint8 chat_id[CC_ID_LEN]);

/* The same as a question, for row-level security. */
extern bool chatcrypt_access_actor_may_see(const uint8 chat_id[CC_ID_LEN]);

/*
 * The same before a data key is used by C code, which may be maintenance: that acts for
 * nobody, whatever chatcrypt.require_actor says.  Functions that SQL calls ask the former
 * too: a round of maintenance also runs code of the owners of registered tables.
 */
extern void chatcrypt_access_require_for_key_use(const uint8 chat_id[CC_ID_LEN]);

/* For a process without a client, once.  Nothing that SQL can call comes here. */
extern void chatcrypt_access_act_for_nobody(void);

extern void chatcrypt_access_define_settings(void);
extern void chatcrypt_access_install_hooks(void);

#endif
