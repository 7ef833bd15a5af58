/*
 * worker.c
 *		The KMS worker: one process for the cluster, without a database connection,
 *		and the only one that reads credentials and talks to a KMS.
 *
 * It sleeps in the transport, on its latch and on libcurl's sockets.  After each wake-up
 * it accepts the requests of sessions, and takes every endpoint and every queue one step
 * further.  Signal handlers only set flags.
 *
 * When it ends, the postmaster starts another one within a second; the requests that it
 * had taken are pending again by then, and its successor takes them.  It always leaves with
 * exit code 1, because a worker that exits with 0 is not started again.  libcurl is
 * not cleaned up, because that could wait for a name look-up that hangs.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "utils/guc.h"

#include "pg/base/clock.h"
#include "pg/base/kmssettings.h"
#include "pg/cache/keycache.h"
#include "pg/compat.h"
#include "pg/service/failurelog.h"
#include "pg/service/heartbeat.h"
#include "pg/service/slotdirectory.h"
#include "pg/service/workerslots.h"
#include "worker/arrivals.h"
#include "worker/batches.h"
#include "worker/sessions.h"
#include "worker/transport.h"
#include "worker/watchdog.h"

#define SWEEP_MS	10000		/* keys past their limits leave the key cache within this time */

extern PGDLLEXPORT void chatcrypt_kms_worker_main(Datum arg);

/*
 * Tokens, request bodies and replies pass through this process's heap and through
 * buffers of libcurl and OpenSSL that cannot be kept out of a core dump one by one.  So
 * no core dump of this process is written, and one that is forced (gcore obeys the filter
 * too) contains no anonymous memory.  Nor can another process of the same user attach to
 * this one.  The price is that a crash here leaves only a log line as evidence.
 */
static void
stay_out_of_core_dumps(void)
{
	static const char nothing[] = "0\n";
	struct rlimit none = {0, 0};
	int			fd = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);
	bool		filtered = fd >= 0 && write(fd, nothing, strlen(nothing)) > 0;

	if (fd >= 0)
		close(fd);
	if (!filtered || setrlimit(RLIMIT_CORE, &none) != 0 ||
		prctl(PR_SET_DUMPABLE, 0L, 0L, 0L, 0L) != 0)
		ereport(WARNING,
				(errmsg("could not keep the KMS worker out of core dumps: %m")));
}

/*
 * When memory runs out, the kernel kills a process of its choice, and killing this one makes
 * the server restart.  Where the postmaster is protected from being chosen and its children
 * are not (PG_OOM_ADJUST_FILE), this process goes back to the postmaster's own value, which
 * the kernel allows.
 */
static void
be_as_safe_as_the_postmaster(void)
{
	char		score[16];
	char	   *postmasters = psprintf("/proc/%d/oom_score_adj", PostmasterPid);
	int			from = open(postmasters, O_RDONLY | O_CLOEXEC);
	int			to = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	ssize_t		len = from >= 0 ? read(from, score, sizeof(score)) : -1;

	if (len > 0 && to >= 0 && write(to, score, len) != len)
		ereport(DEBUG1,
				(errmsg_internal("could not protect the KMS worker from the OOM killer: %m")));
	if (from >= 0)
		close(from);
	if (to >= 0)
		close(to);
	pfree(postmasters);
}

static void
leave(int code, Datum arg)
{
	(void) code;
	(void) arg;
	chatcrypt_workerslots_detach();
}

static void
reload(void)
{
	uint8		before[CC_SHA256_LEN];
	uint8		after[CC_SHA256_LEN];

	ConfigReloadPending = false;
	chatcrypt_kmssettings_digest(before);
	ProcessConfigFile(PGC_SIGHUP);
	chatcrypt_kmssettings_digest(after);
	chatcrypt_sessions_reload(memcmp(before, after, sizeof(before)) != 0);
}

/* Runs one turn of the loop.  Returns when the next one is due at the latest. */
static int64
turn(int64 *sweep_at_ms)
{
	int64		now = chatcrypt_clock_ms();
	int64		wake_at;

	chatcrypt_heartbeat_beat();
	if (now >= *sweep_at_ms)
	{
		chatcrypt_keycache_sweep();
		chatcrypt_failurelog_tell();
		*sweep_at_ms = now + SWEEP_MS;
	}
	wake_at = Min(*sweep_at_ms, now + CHATCRYPT_BEAT_MS);
	chatcrypt_arrivals_accept(now);
	chatcrypt_sessions_step(now, &wake_at);
	chatcrypt_batches_step(now, &wake_at);
	return wake_at;
}

void
chatcrypt_kms_worker_main(Datum arg)
{
	int64		sweep_at_ms = 0;

	(void) arg;
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();

	be_as_safe_as_the_postmaster();
	stay_out_of_core_dumps();
	chatcrypt_keycache_lock_memory();
	chatcrypt_slotdirectory_lock_memory();
	chatcrypt_transport_start();
	before_shmem_exit(leave, (Datum) 0);
	chatcrypt_watchdog_start();
	chatcrypt_kmsstats_clear();
	chatcrypt_workerslots_attach();

	while (!ShutdownRequestPending)
	{
		int64		wake_at;

		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
			reload();
		wake_at = turn(&sweep_at_ms);
		chatcrypt_transport_wait(wake_at - chatcrypt_clock_ms());
	}
	proc_exit(1);
}
