/*
 * kmserrors.c
 *		Turns failed requests to the KMS into errors: see kmserrors.h.
 *
 *	SQLSTATE	outcome						what a program can do
 *	58030		no answer, timeout, sealed,	try again later; class 58 and not 08, because poolers
 *				nonsense, breaker open		and drivers close the connection to PostgreSQL at an 08
 *	28000		denied						nothing: a person must look at the KMS's policy
 *	55000		rejected, not opened		nothing: the KMS has the key and refuses this request
 *	55000		another key is there		nothing: the right key must be brought back
 *	42704		no such key					nothing: a key is missing, or its name is wrong
 *	F0000		settings or files			nothing: the server's settings must be corrected
 *	XX001		the wrong key came back		nothing: the row or the KMS's answer is not genuine
 */
#include "postgres.h"

#include "pg/base/ids.h"
#include "pg/base/settings.h"
#include "pg/service/failurelog.h"
#include "pg/service/kmserrors.h"

static int
sqlstate_of(const ChatcryptKmsJob *job)
{
	if (job->wrong_key)
		return ERRCODE_DATA_CORRUPTED;
	switch (job->outcome)
	{
		case CC_KMS_DENIED:
		case CC_KMS_LOGIN_AGAIN:
			return ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION;
		case CC_KMS_REJECTED:
		case CC_KMS_NOT_OPENED:
		case CC_KMS_SPLIT:
			return ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
		case CC_KMS_NO_KEY:
			return ERRCODE_UNDEFINED_OBJECT;
		case CC_KMS_CONFIG:
			return ERRCODE_CONFIG_FILE_ERROR;
		default:
			return ERRCODE_IO_ERROR;
	}
}

static const char *
verb_of(cc_kms_op op)
{
	switch (op)
	{
		case CC_KMS_UNWRAP:
			return "unwrap";
		case CC_KMS_WRAP:
			return "wrap";
		case CC_KMS_GENERATE:
			return "make";
		case CC_KMS_REWRAP:
			return "re-wrap";
	}
	return "use";
}

static int
detail_of(const ChatcryptKmsJob *job)
{
	const char *error = job->error[0] != '\0' ? job->error : cc_kms_outcome_text(job->outcome);

	if (job->another_key)
		return errdetail("The key that \"%s\" names now does not open what \"%s\" wrapped before: it is another one. What it wraps would be lost when the right one comes back.",
						 job->kms_key, job->kms_key);
	if (job->wrong_key)
		return errdetail("The key service unwrapped \"%s\" to another key than the one that was wrapped; it was not used.",
						 job->kms_key);
	if (job->worker_silent)
		return errdetail("The key service of \"%s\" was not asked: %s.", job->kms_key, error);
	if (job->held_s > 0)
		return errdetail("The key service of \"%s\" wants no request for now and will be asked again in %d s: %s.",
						 job->kms_key, job->held_s, error);
	if (job->breaker_open)
		return errdetail("The key service of \"%s\" was not asked, because it did not answer before: %s.",
						 job->kms_key, error);
	if (job->outcome == CC_KMS_TIMEOUT)
		return errdetail("The key service of \"%s\" did not answer within chatcrypt.kms_timeout (%g s): %s.",
						 job->kms_key, chatcrypt_kms_timeout / 1000.0, error);
	if (cc_kms_outcome_is_transient(job->outcome))
		return errdetail("The last try with the key service of \"%s\" failed: %s.", job->kms_key,
						 error);
	return errdetail("The key service of \"%s\" answered: %s.", job->kms_key, error);
}

static int
hint_of(const ChatcryptKmsJob *job)
{
	if (job->another_key)
		return errhint("Bring back the key that was in use: its file, or the key, mount and namespace at the key service. If it is lost for good, give the tenants another key URI.");
	if (job->wrong_key)
		return errhint("Compare the row of this key with a backup, and check what stands between this server and its key service.");
	switch (job->outcome)
	{
		case CC_KMS_DENIED:
		case CC_KMS_LOGIN_AGAIN:
			return errhint("Check the server's login at the key service, its credentials and its policy, then run chatcrypt.kms_check('%s').",
						   job->kms_key);
		case CC_KMS_REJECTED:
		case CC_KMS_NOT_OPENED:
		case CC_KMS_SPLIT:
			return errhint("The key was wrapped for another chat or deployment, is damaged, or its version at the key service is no longer allowed: chatcrypt.key_state shows how many keys are below the minimum.");
		case CC_KMS_NO_KEY:
			return errhint("Bring the key back at its key service, or create it if nothing was wrapped with it yet: a new key does not open what an old one wrapped. Then run chatcrypt.kms_check('%s').",
						   job->kms_key);
		case CC_KMS_CONFIG:
			return errhint("Correct the server's chatcrypt settings or files and reload, then run chatcrypt.kms_check('%s').",
						   job->kms_key);
		case CC_KMS_TIMEOUT:
			return errhint("See chatcrypt.kms_status and chatcrypt.kms_worker, then retry; nothing was changed.");
		default:
			return errhint("See chatcrypt.kms_status, then retry; nothing was changed.");
	}
}

static const char *
key_of(const ChatcryptKmsJob *job)
{
	if (job->id.purpose == CHATCRYPT_PURPOSE_EVENTS)
		return "the key of the event chain";
	return psprintf("the data key of chat %s version %u", chatcrypt_id_text(job->id.chat_id),
					job->id.version);
}

void
chatcrypt_kmserror_raise(cc_kms_op op, const ChatcryptKmsJob *job)
{
	chatcrypt_failurelog_expect(job->kms_key, sqlstate_of(job));
	ereport(ERROR,
			(errcode(sqlstate_of(job)),
			 errmsg("could not %s %s", verb_of(op), key_of(job)),
			 detail_of(job),
			 hint_of(job)));
}

void
chatcrypt_kmserror_raise_key(const ChatcryptKmsJob *job)
{
	chatcrypt_failurelog_expect(job->kms_key, sqlstate_of(job));
	ereport(ERROR,
			(errcode(sqlstate_of(job)),
			 errmsg("could not use the key \"%s\"", job->kms_key),
			 detail_of(job),
			 hint_of(job)));
}

const char *
chatcrypt_kmserror_reason(const ChatcryptKmsJob *job, const char *unavailable)
{
	if (job->wrong_key)
		return "wrong key";
	if (cc_kms_outcome_is_of_item(job->outcome))
		return "does not unwrap";
	return unavailable;
}

const char *
chatcrypt_kmserror_detail(const ChatcryptKmsJob *job)
{
	if (job->wrong_key)
		return "the key service unwraps it to another key than the one that the row pins";
	return job->error[0] != '\0' ? job->error : cc_kms_outcome_text(job->outcome);
}
