/*
 * maintenance.h
 *		What is done to keys and messages without being asked for.
 *
 * A launcher, without a database connection, starts a worker for each database of
 * chatcrypt.maintenance_databases whenever a round is due there.  The worker
 * connects, does one round of tasks, and ends (maintenance_round.c).  So nothing
 * stays connected between rounds: DROP DATABASE and DROP EXTENSION find nobody in
 * their way, a new setting holds from the next round on, and a worker that fails
 * takes nothing with it.
 */
#ifndef CHATCRYPT_MAINTENANCE_H
#define CHATCRYPT_MAINTENANCE_H

#include "postmaster/bgworker.h"

/* In the postmaster. */
extern void chatcrypt_maintenance_register(void);

/*
 * Starts a round: false where max_worker_processes leaves no room.  forced: all
 * tasks, also those that are not due yet, after a round that is under way.  Whoever
 * waits for it has notify_pid told; 0 for nobody.
 */
extern bool chatcrypt_maintenance_start_round(const char *database, bool forced, pid_t notify_pid,
											  BackgroundWorkerHandle **handle);

#endif
