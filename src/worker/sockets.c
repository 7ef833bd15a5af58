/*
 * sockets.c
 *		The worker's one place to sleep; see sockets.h.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/latch.h"

#include "pg/compat.h"
#include "worker/sockets.h"

#define MOST_EVENTS		32

typedef struct Watched
{
	int			socket;
	uint32		events;
} Watched;

static Watched *watched;
static int	nwatched;
static int	watched_size;
static bool watched_changed = true;
static WaitEventSet *wait_set;
static uint32 wait_event;

static bool
make_room(void)
{
	Watched    *larger;

	if (nwatched < watched_size)
		return true;
	larger = realloc(watched, sizeof(Watched) * (watched_size + 16));
	if (larger == NULL)
		return false;
	watched = larger;
	watched_size += 16;
	return true;
}

bool
chatcrypt_sockets_watch(int socket, uint32 events)
{
	int			i = 0;

	while (i < nwatched && watched[i].socket != socket)
		i++;
	watched_changed = true;
	if (events == 0)
	{
		if (i < nwatched)
			watched[i] = watched[--nwatched];
		return true;
	}
	if (i == nwatched)
	{
		if (!make_room())
			return false;
		nwatched++;
	}
	watched[i] = (Watched) {.socket = socket,.events = events};
	return true;
}

void
chatcrypt_sockets_forget(void)
{
	nwatched = 0;
	watched_changed = true;
}

static void
rebuild_wait_set(void)
{
	if (wait_set != NULL)
		FreeWaitEventSet(wait_set);
	wait_set = chatcrypt_create_wait_event_set(nwatched + 2);
	AddWaitEventToSet(wait_set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(wait_set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	for (int i = 0; i < nwatched; i++)
		AddWaitEventToSet(wait_set, watched[i].events, watched[i].socket, NULL, NULL);
	watched_changed = false;
}

void
chatcrypt_sockets_wait(int64 timeout_ms, void (*ready) (int socket, uint32 events))
{
	WaitEvent	events[MOST_EVENTS];
	int			n;

	if (watched_changed)
		rebuild_wait_set();
	n = WaitEventSetWait(wait_set, Max(timeout_ms, 0), events, MOST_EVENTS,
						 chatcrypt_wait_event(&wait_event, "ChatcryptKmsWorkerMain"));
	for (int i = 0; i < n; i++)
	{
		if (events[i].events & WL_LATCH_SET)
			ResetLatch(MyLatch);
		else if (events[i].events & (WL_SOCKET_READABLE | WL_SOCKET_WRITEABLE))
			ready(events[i].fd, events[i].events);
	}
}
