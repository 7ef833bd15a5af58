/*
 * observer.c
 *		Holds the only observer; see observer.h.
 */
#include "postgres.h"

#include "pg/store/observer.h"

static const ChatcryptObserver *registered;

void
chatcrypt_observer_register(const ChatcryptObserver *observer)
{
	Assert(registered == NULL);
	registered = observer;
}

const ChatcryptObserver *
chatcrypt_observer(void)
{
	return registered;
}
