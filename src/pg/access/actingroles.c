/*
 * actingroles.c
 *		Remembers which roles have called act_as(): see actingroles.h.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/tuplestore.h"

#include "pg/access/actingroles.h"

#define MOST_ROLES	64			/* more are not noted: some are enough to show the problem */

typedef struct ActingRole
{
	Oid			database;
	Oid			role;
} ActingRole;

typedef struct ActingRoles
{
	int			count;
	ActingRole	roles[MOST_ROLES];
} ActingRoles;

static ActingRoles *shared;
static LWLock *lock;

void
chatcrypt_actingroles_request(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(ActingRoles)));
	RequestNamedLWLockTranche("ChatcryptActingRoles", 1);
}

void
chatcrypt_actingroles_startup(void)
{
	bool		found;

	shared = ShmemInitStruct("chatcrypt acting roles", sizeof(ActingRoles), &found);
	lock = &GetNamedLWLockTranche("ChatcryptActingRoles")->lock;
	if (!found)
		memset(shared, 0, sizeof(ActingRoles));
}

/* The caller holds the lock. */
static bool
is_noted(const ActingRole *one)
{
	for (int i = 0; i < shared->count; i++)
		if (shared->roles[i].database == one->database && shared->roles[i].role == one->role)
			return true;
	return false;
}

void
chatcrypt_actingroles_note(void)
{
	static bool noted = false;
	ActingRole	mine = {.database = MyDatabaseId,.role = GetAuthenticatedUserId()};

	if (likely(noted))
		return;
	LWLockAcquire(lock, LW_EXCLUSIVE);
	if (!is_noted(&mine) && shared->count < MOST_ROLES)
		shared->roles[shared->count++] = mine;
	LWLockRelease(lock);
	noted = true;
}

PG_FUNCTION_INFO_V1(chatcrypt_read_acting_roles);

/* read_acting_roles(): the noted roles of this database. */
Datum
chatcrypt_read_acting_roles(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	ActingRoles copy;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	LWLockAcquire(lock, LW_SHARED);
	copy = *shared;
	LWLockRelease(lock);
	for (int i = 0; i < copy.count; i++)
	{
		Datum		role = ObjectIdGetDatum(copy.roles[i].role);
		bool		isnull = false;

		if (copy.roles[i].database == MyDatabaseId)
			tuplestore_putvalues(result->setResult, result->setDesc, &role, &isnull);
	}
	return (Datum) 0;
}
