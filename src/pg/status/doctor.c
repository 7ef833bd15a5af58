/*
 * doctor.c
 *		What chatcrypt.doctor() needs to know and SQL cannot see: limits of the
 *		server's processes, and where its files are.  The result has no path and no secret.
 */
#include "postgres.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/guc.h"

#include "pg/access/access.h"

#define NFACTS	3

/* The limit in bytes, which sessions inherit from the postmaster; -1 for no limit. */
static int64
core_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_CORE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
		limit.rlim_cur > PG_INT64_MAX)
		return -1;
	return (int64) limit.rlim_cur;
}

/* Linux pipes a core to a program whatever the limit is; other systems have no such file. */
static bool
cores_are_piped(void)
{
	FILE	   *file = AllocateFile("/proc/sys/kernel/core_pattern", "r");
	bool		piped;

	if (file == NULL)
		return false;
	piped = getc(file) == '|';
	FreeFile(file);
	return piped;
}

/* Also false where there is no such folder, and so nothing in it. */
static bool
local_keys_on_data_volume(void)
{
	const char *key_dir = GetConfigOption("chatcrypt.local_key_dir", false, false);
	struct stat keys;
	struct stat data;

	return key_dir[0] != '\0' &&
		stat(key_dir, &keys) == 0 &&
		stat(DataDir, &data) == 0 &&
		keys.st_dev == data.st_dev;
}

PG_FUNCTION_INFO_V1(chatcrypt_host_facts);

/* host_facts(OUT core_limit, cores_are_piped, local_keys_on_data_volume) */
Datum
chatcrypt_host_facts(PG_FUNCTION_ARGS)
{
	TupleDesc	tupdesc;
	Datum		values[NFACTS];
	bool		nulls[NFACTS] = {false};

	chatcrypt_rights_require(CHATCRYPT_MAY_AUDIT);
	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE ||
		tupdesc->natts != NFACTS)
		elog(ERROR, "host_facts() does not return what it should");

	values[0] = Int64GetDatum(core_limit());
	values[1] = BoolGetDatum(cores_are_piped());
	values[2] = BoolGetDatum(local_keys_on_data_volume());
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls)));
}
