/*
 * actor.h
 *		The actor, on whose behalf a transaction runs: act_as(), how long it lasts, and
 *		what happens if there is no actor.
 *
 * The name of the actor is in a setting that only act_as() can change and that lasts as long
 * as its transaction or savepoint, so that nothing leaks through a transaction pooler.  That
 * an actor was named is also remembered outside the setting until the transaction ends: a
 * rollback that drops the name must not lift the restriction to that actor's chats.
 */
#ifndef CHATCRYPT_ACTOR_H
#define CHATCRYPT_ACTOR_H

#include "postgres.h"

/* The name of the actor, or NULL.  Valid until the next act_as(). */
extern const char *chatcrypt_actor(void);

/* Is this the name of the actor?  False without an actor. */
extern bool chatcrypt_actor_is(const text *name);

/*
 * True if an actor is required and none is set.  One is required if chatcrypt.require_actor
 * is on, or if this transaction has named one before.
 */
extern bool chatcrypt_actor_is_lacking(void);

/* Raises if chatcrypt_actor_is_lacking(). */
extern void chatcrypt_actor_require(void);

/* For functions that work on all chats: raises if an actor is set or required. */
extern void chatcrypt_actor_refuse(const char *function);

extern void chatcrypt_actor_define_settings(void);
extern void chatcrypt_actor_install_hooks(void);

#endif
