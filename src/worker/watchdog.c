/*
 * watchdog.c
 *		A thread that ends the worker when its loop is stuck, so that the postmaster
 *		starts another.
 *
 * What can get stuck is code that we cannot interrupt: libcurl, which waits for a
 * name look-up to end (before version 7.87) and has OpenSSL read certificates, and the
 * providers, which read credentials and keys.  A process that waits for a file system which
 * does not answer reacts to no signal but SIGKILL, and a worker that is killed makes the
 * whole server restart, because the postmaster cannot know in what state it left the shared
 * memory.
 *
 * So a second thread does what PostgreSQL does at the end of a process: it gives back
 * what the worker has in shared memory, and ends the process with exit code 1, with which a
 * worker asks to be started again.  It may do so because at that time it is the only
 * thread that runs any code of PostgreSQL:
 *
 *	- It acts only while the worker's own thread is inside a region, between enter() and
 *	  leave().  No code of PostgreSQL is called there, and none of its locks is held.
 *	- It claims the region first.  A thread that comes back to a claimed region stays in
 *	  leave() until the process ends, which is soon.
 *	- An ERROR is made FATAL, since its handler is on the other thread's stack.
 *
 * The watchdog counts its own rounds, and does not compare times.  A process or a machine that
 * was stopped then goes on where it left off, and has as much time left as before.
 */
#include "postgres.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/ipc.h"

#include "worker/watchdog.h"

#define ROUNDS		10			/* of a second each, within the same stay in a region */
#define STACK_SIZE	(512 * 1024)

enum
{
	OUTSIDE,
	INSIDE,
	CLAIMED
};

static atomic_int place = OUTSIDE;
static atomic_uint entries;		/* tells one stay inside from the next */
static const char *_Atomic inside_what = "";

static void
end_worker(void)
{
	PG_exception_stack = NULL;
	error_context_stack = NULL;
	ereport(LOG,
			(errmsg("the chatcrypt KMS worker has been stuck in %s for %d s, and ends so that another can take its place: a name server, or a file system with a file that chatcrypt is set to use, does not answer",
					inside_what, ROUNDS)));
	shmem_exit(1);
	_exit(1);
}

/* Returns one round more if the thread is still in the same region; otherwise 0. */
static int
rounds_after(int rounds, unsigned *seen)
{
	unsigned	now = atomic_load(&entries);
	bool		same = atomic_load(&place) == INSIDE && now == *seen;

	*seen = now;
	return same ? rounds + 1 : 0;
}

static void *
watch(void *arg)
{
	const struct timespec second = {.tv_sec = 1};
	unsigned	seen = 0;
	int			rounds = 0;

	(void) arg;
	for (;;)
	{
		int			expected = INSIDE;

		(void) nanosleep(&second, NULL);
		rounds = rounds_after(rounds, &seen);
		if (rounds >= ROUNDS && atomic_compare_exchange_strong(&place, &expected, CLAIMED))
			end_worker();
	}
	return NULL;
}

void
chatcrypt_watchdog_start(void)
{
	pthread_attr_t attributes;
	pthread_t	thread;
	sigset_t	all;
	sigset_t	before;
	int			failure;

	/* no signal handler of PostgreSQL may run in the thread */
	sigfillset(&all);
	(void) pthread_sigmask(SIG_SETMASK, &all, &before);
	failure = pthread_attr_init(&attributes);
	if (failure == 0)
	{
		(void) pthread_attr_setstacksize(&attributes, STACK_SIZE);
		(void) pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
		failure = pthread_create(&thread, &attributes, watch, NULL);
		(void) pthread_attr_destroy(&attributes);
	}
	(void) pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (failure != 0)
	{
		errno = failure;
		ereport(WARNING,
				(errmsg("could not start the watchdog of the KMS worker: %m")));
	}
}

void
chatcrypt_watchdog_enter(const char *what)
{
	atomic_store(&inside_what, what);
	atomic_fetch_add(&entries, 1);
	atomic_store(&place, INSIDE);
}

void
chatcrypt_watchdog_leave(void)
{
	int			expected = INSIDE;

	if (atomic_compare_exchange_strong(&place, &expected, OUTSIDE))
		return;
	for (;;)
		(void) pause();
}
