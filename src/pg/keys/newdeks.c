/*
 * newdeks.c
 *		Makes data keys: see newdeks.h.
 */
#include "postgres.h"

#include "core/kdf.h"
#include "pg/base/errors.h"
#include "pg/cache/keycache.h"
#include "pg/compat.h"
#include "pg/keys/newdeks.h"
#include "pg/keys/samekmskey.h"
#include "pg/service/kmserrors.h"
#include "pg/service/requests.h"

#define AT_ONCE 1024

/* Fills a job that writes the wrapped key to where the new row takes it from. */
static void
prepare_job(const char *kms_key, const uint8 deployment_id[CC_ID_LEN], ChatcryptNewDek *dek,
			ChatcryptKmsJob *job)
{
	memset(job, 0, sizeof(*job));
	job->id = dek->id;
	job->kms_key = kms_key;
	dek->wrapped = palloc(VARHDRSZ + CC_KMS_WRAPPED_MAX);
	job->wrapped_out = (uint8 *) VARDATA(dek->wrapped);
	if (cc_wrap_context(deployment_id, dek->id.chat_id,
						chatcrypt_keytypes_purpose_text(dek->id.purpose),
						dek->id.version, job->context) != CC_OK)
		elog(ERROR, "could not make the context of a data key");
}

/*
 * Runs the jobs and takes what is needed of each key before it is wiped: nothing
 * between the answer and the wipe can raise.
 */
static void
run_jobs(cc_kms_op op, ChatcryptNewDek *deks, ChatcryptKmsJob *jobs, int count)
{
	cc_status	status = CC_OK;

	chatcrypt_requests_run(op, jobs, count);
	for (int i = 0; i < count; i++)
	{
		if (jobs[i].outcome == CC_KMS_OK && status == CC_OK)
			status = cc_dek_kcv(jobs[i].dek, deks[i].id.chat_id, deks[i].id.version,
								deks[i].id.kcv);
		if (jobs[i].outcome == CC_KMS_OK && status == CC_OK)
			chatcrypt_keycache_put(&deks[i].id, jobs[i].dek);
		cc_wipe(jobs[i].dek, CC_DEK_LEN);
	}
	if (status != CC_OK)
		chatcrypt_raise(status, NULL);
	for (int i = 0; i < count; i++)
		jobs[i].id = deks[i].id;
	chatcrypt_samekmskey_check(jobs, count);
	for (int i = 0; i < count; i++)
	{
		if (jobs[i].outcome == CC_KMS_OK)
			SET_VARSIZE(deks[i].wrapped, VARHDRSZ + jobs[i].wrapped_out_len);
		else
			deks[i].wrapped = NULL;
	}
}

static void
raise_first_failure(cc_kms_op op, const ChatcryptKmsJob *jobs, int count)
{
	for (int i = 0; i < count; i++)
		if (jobs[i].outcome != CC_KMS_OK)
			chatcrypt_kmserror_raise(op, &jobs[i]);
}

void
chatcrypt_newdeks_generate(const ChatcryptWrapping *wrapping, ChatcryptNewDek *deks, int count)
{
	ChatcryptKmsJob *jobs = palloc(sizeof(ChatcryptKmsJob) * Min(count, AT_ONCE));

	for (int start = 0; start < count; start += AT_ONCE)
	{
		int			here = Min(AT_ONCE, count - start);

		for (int i = 0; i < here; i++)
			prepare_job(wrapping->kms_key, wrapping->deployment_id, &deks[start + i], &jobs[i]);
		run_jobs(CC_KMS_GENERATE, &deks[start], jobs, here);
		raise_first_failure(CC_KMS_GENERATE, jobs, here);
	}
	pfree(jobs);
}

ChatcryptKmsJob *
chatcrypt_newdeks_try_generate(const uint8 deployment_id[CC_ID_LEN], char *const *kms_keys,
							   ChatcryptNewDek *deks, int count)
{
	ChatcryptKmsJob *jobs = palloc(sizeof(ChatcryptKmsJob) * Max(count, 1));

	for (int i = 0; i < count; i++)
		prepare_job(kms_keys[i], deployment_id, &deks[i], &jobs[i]);
	run_jobs(CC_KMS_GENERATE, deks, jobs, count);
	return jobs;
}

/*
 * Wraps the keys of one run of jobs.  Wherever this raises an error, all of the keys have been
 * wiped.
 */
static void
wrap_known(ChatcryptKnownDek known, const void *arg, ChatcryptNewDek *deks, ChatcryptKmsJob *jobs,
		   int count)
{
	cc_status	status = CC_OK;

	for (int i = 0; i < count && status == CC_OK; i++)
		status = known(&deks[i].id, arg, jobs[i].dek);
	if (status != CC_OK)
	{
		for (int i = 0; i < count; i++)
			cc_wipe(jobs[i].dek, CC_DEK_LEN);
		chatcrypt_raise(status, NULL);
	}
	run_jobs(CC_KMS_WRAP, deks, jobs, count);
	raise_first_failure(CC_KMS_WRAP, jobs, count);
}

void
chatcrypt_newdeks_wrap(const uint8 deployment_id[CC_ID_LEN], char *const *kms_keys,
					   ChatcryptKnownDek known, const void *arg, ChatcryptNewDek *deks, int count)
{
	ChatcryptKmsJob *jobs = palloc(sizeof(ChatcryptKmsJob) * Min(count, AT_ONCE));

	for (int start = 0; start < count; start += AT_ONCE)
	{
		int			here = Min(AT_ONCE, count - start);

		for (int i = 0; i < here; i++)
			prepare_job(kms_keys[start + i], deployment_id, &deks[start + i], &jobs[i]);
		wrap_known(known, arg, &deks[start], jobs, here);
	}
	pfree(jobs);
}

static cc_status
copy_dek(const ChatcryptKeyId *id, const void *arg, uint8 dek[CC_DEK_LEN])
{
	(void) id;
	memcpy(dek, arg, CC_DEK_LEN);
	return CC_OK;
}

void
chatcrypt_newdeks_wrap_one(const ChatcryptWrapping *wrapping, const uint8 dek[CC_DEK_LEN],
						   ChatcryptNewDek *new_dek)
{
	chatcrypt_newdeks_wrap(wrapping->deployment_id, &wrapping->kms_key, copy_dek, dek, new_dek, 1);
}
