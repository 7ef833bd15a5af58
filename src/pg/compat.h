/*
 * compat.h
 *		The one place that knows how PostgreSQL 15 to 18 differ.
 */
#ifndef CHATCRYPT_COMPAT_H
#define CHATCRYPT_COMPAT_H

#include "executor/executor.h"

#if PG_VERSION_NUM >= 180000
#define CHATCRYPT_EXECUTOR_RUN_PARAMETERS \
	QueryDesc *queryDesc, ScanDirection direction, uint64 count
#define chatcrypt_call_executor_run(previous) \
	((previous) ? (previous) (queryDesc, direction, count) : standard_ExecutorRun(queryDesc, direction, count))
#else
#define CHATCRYPT_EXECUTOR_RUN_PARAMETERS \
	QueryDesc *queryDesc, ScanDirection direction, uint64 count, bool execute_once
#define chatcrypt_call_executor_run(previous) \
	((previous) ? (previous) (queryDesc, direction, count, execute_once) : \
	 standard_ExecutorRun(queryDesc, direction, count, execute_once))
#endif

#endif
