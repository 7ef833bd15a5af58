/*
 * maintenance.h
 *		The work on keys and messages that is done without being asked for.
 *
 * A launcher, without a database connection, starts a worker for each database of
 * chatcrypt.maintenance_databases whenever a round is due there.  The worker
 * connects, does one round of tasks, and ends (maintenanceround.c).  So nothing
 * stays connected between rounds: no connection blocks DROP DATABASE or DROP EXTENSION,
 * a new setting holds from the next round on, and the failure of a worker affects
 * nothing else.
 */
#ifndef CHATCRYPT_MAINTENANCE_H
#define CHATCRYPT_MAINTENANCE_H

#include "postmaster/bgworker.h"

/* To be called in the postmaster. */
extern void chatcrypt_maintenance_register(void);

/*
 * Starts a round; false where max_worker_processes leaves no room.  A forced round runs all
 * tasks, also those that are not due yet, and waits for a round that is under way.  The
 * process notify_pid is notified when the round starts and ends; 0 for none.
 */
extern bool chatcrypt_maintenance_start_round(const char *database, bool forced, pid_t notify_pid,
											  BackgroundWorkerHandle **handle);

#endif
