/*
 * init.c
 *		_PG_init(): the postmaster defines the settings, requests shared memory, installs
 *		the hooks and registers the workers.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/guc.h"

#include "core/aead.h"
#include "pg/access/access.h"
#include "pg/access/actingroles.h"
#include "pg/access/actor.h"
#include "pg/access/copyguard.h"
#include "pg/access/dropguard.h"
#include "pg/base/kmssettings.h"
#include "pg/base/settings.h"
#include "pg/cache/keycache.h"
#include "pg/chats/chatinsert.h"
#include "pg/keys/failedopens.h"
#include "pg/keys/samekmskey.h"
#include "pg/messages/tablerights.h"
#include "pg/messages/unopened.h"
#include "pg/messages/viewplan.h"
#include "pg/procedures/progress.h"
#include "pg/protect/protectam.h"
#include "pg/protect/protecterrors.h"
#include "pg/protect/protectguard.h"
#include "pg/protect/protectlabels.h"
#include "pg/search/indexing.h"
#include "pg/service/failurelog.h"
#include "pg/service/requests.h"
#include "pg/upkeep/maintenance.h"
#include "pg/upkeep/maintenancestatus.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

static shmem_request_hook_type previous_shmem_request_hook;
static shmem_startup_hook_type previous_shmem_startup_hook;

static void
request_shared_memory(void)
{
	if (previous_shmem_request_hook)
		previous_shmem_request_hook();
	chatcrypt_keycache_request();
	chatcrypt_requests_request();
	chatcrypt_samekmskey_request();
	chatcrypt_failedopens_request();
	chatcrypt_actingroles_request();
	chatcrypt_progress_request();
	chatcrypt_maintenancestatus_request();
}

static void
startup_shared_memory(void)
{
	if (previous_shmem_startup_hook)
		previous_shmem_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	chatcrypt_keycache_startup();
	chatcrypt_requests_startup();
	chatcrypt_samekmskey_startup();
	chatcrypt_failedopens_startup();
	chatcrypt_actingroles_startup();
	chatcrypt_progress_startup();
	chatcrypt_maintenancestatus_startup();
	LWLockRelease(AddinShmemInitLock);
}

/* The worker has no database connection, because it serves every database, on standbys too. */
static void
register_kms_worker(void)
{
	BackgroundWorker worker = {
		.bgw_flags = BGWORKER_SHMEM_ACCESS,
		.bgw_start_time = BgWorkerStart_ConsistentState,
		.bgw_restart_time = 1
	};

	snprintf(worker.bgw_name, BGW_MAXLEN, "chatcrypt KMS worker");
	snprintf(worker.bgw_type, BGW_MAXLEN, "chatcrypt KMS worker");
	snprintf(worker.bgw_library_name, sizeof(worker.bgw_library_name), "chatcrypt");
	snprintf(worker.bgw_function_name, sizeof(worker.bgw_function_name),
			 "chatcrypt_kms_worker_main");
	RegisterBackgroundWorker(&worker);
}

void
_PG_init(void)
{
	/*
	 * FATAL, not ERROR: psql and pg_restore continue after an ERROR, and would
	 * leave tables behind that nothing protects.
	 */
	if (!process_shared_preload_libraries_in_progress)
		ereport(FATAL,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("chatcrypt must be loaded through shared_preload_libraries"),
				 errhint("Add chatcrypt to shared_preload_libraries in postgresql.conf, then restart the server.")));

	chatcrypt_settings_define();
	chatcrypt_kmssettings_define();
	chatcrypt_actor_define_settings();
	chatcrypt_access_define_settings();
	MarkGUCPrefixReserved("chatcrypt");

	/* The first use costs 100 us, which every backend is spared by doing it once here. */
	if (cc_aead_global_init() != CC_OK)
		ereport(FATAL,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not initialize the cryptographic libraries")));

	previous_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_shared_memory;
	previous_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup_shared_memory;
	chatcrypt_failurelog_install_hooks();
	chatcrypt_access_install_hooks();
	chatcrypt_actor_install_hooks();
	chatcrypt_tablerights_install_hooks();
	chatcrypt_unopened_install_hooks();
	chatcrypt_viewplan_install_hooks();
	chatcrypt_chatinsert_install_hooks();
	chatcrypt_dropguard_install_hooks();
	chatcrypt_copyguard_install_hooks();
	chatcrypt_indexing_observe();
	chatcrypt_protectam_install();
	chatcrypt_protectlabels_install();
	chatcrypt_protectguard_install_hooks();
	chatcrypt_protecterrors_install_hooks();

	if (IsBinaryUpgrade)
		return;
	register_kms_worker();
	chatcrypt_maintenance_register();
}
