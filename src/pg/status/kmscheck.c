/*
 * kmscheck.c
 *		kms_check(): tries each operation of a KMS key with a throw-away data key.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"

#include "core/kdf.h"
#include "kms/providers.h"
#include "pg/access/access.h"
#include "pg/base/clock.h"
#include "pg/service/requests.h"
#include "pg/service/slotdirectory.h"
#include "pg/status/row.h"

/*
 * A throw-away data key on its way through the steps.  Between two steps only its digest
 * is kept, and not the key itself, because a step may raise.
 */
typedef struct Check
{
	FunctionCallInfo fcinfo;
	const char *kms_key;
	uint8		context[CC_CONTEXT_LEN];
	uint8		dek_digest[CC_SHA256_LEN];
	uint8		wrapped[CC_KMS_WRAPPED_MAX];
	uint16		wrapped_len;
} Check;

static void
report(Check *check, const char *step, bool ok, const char *detail, double ms)
{
	Row			row = {.n = 0};

	put_text(&row, step);
	put(&row, BoolGetDatum(ok), true);
	put_text(&row, detail);
	put_ms(&row, ms);
	store_row(check->fcinfo, &row);
}

static const char *
failure_text(const ChatcryptKmsJob *job)
{
	const char *outcome = cc_kms_outcome_text(job->outcome);

	return job->error[0] != '\0' ? psprintf("%s: %s", outcome, job->error) : outcome;
}

static ChatcryptKmsJob
new_job(Check *check, uint8 *wrapped_out)
{
	ChatcryptKmsJob job = {
		.kms_key = check->kms_key,
		.wrapped = check->wrapped,
		.wrapped_len = check->wrapped_len,
		.wrapped_out = wrapped_out,
		.fresh = true,
		.unpinned = true,
	};

	memcpy(job.context, check->context, CC_CONTEXT_LEN);
	return job;
}

static double
run_job(cc_kms_op op, ChatcryptKmsJob *job)
{
	int64		start = chatcrypt_clock_us();

	chatcrypt_requests_run(op, job, 1);
	return (chatcrypt_clock_us() - start) / 1000.0;
}

/* Wraps a random key, or has the KMS make one. */
static cc_kms_outcome
check_new_key(Check *check, cc_kms_op op, const char *step)
{
	uint8		wrapped_out[CC_KMS_WRAPPED_MAX];
	ChatcryptKmsJob job = new_job(check, wrapped_out);
	double		ms;

	if (op == CC_KMS_WRAP && !pg_strong_random(job.dek, CC_DEK_LEN))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not get random bytes")));
	ms = run_job(op, &job);
	cc_sha256(job.dek, CC_DEK_LEN, check->dek_digest);
	cc_wipe(job.dek, CC_DEK_LEN);
	if (job.outcome == CC_KMS_OK)
	{
		memcpy(check->wrapped, wrapped_out, job.wrapped_out_len);
		check->wrapped_len = job.wrapped_out_len;
		report(check, step, true, psprintf("%u bytes", job.wrapped_out_len), ms);
	}
	else
		report(check, step, false, failure_text(&job), ms);
	return job.outcome;
}

static void
check_unwrap(Check *check, const char *step)
{
	ChatcryptKmsJob job = new_job(check, NULL);
	uint8		digest[CC_SHA256_LEN];
	double		ms = run_job(CC_KMS_UNWRAP, &job);

	cc_sha256(job.dek, CC_DEK_LEN, digest);
	cc_wipe(job.dek, CC_DEK_LEN);
	if (job.outcome != CC_KMS_OK)
		report(check, step, false, failure_text(&job), ms);
	else if (!cc_equal(digest, check->dek_digest, CC_SHA256_LEN))
		report(check, step, false, "another key came back than the one that was wrapped", ms);
	else
		report(check, step, true, "the same key came back", ms);
}

/* The purpose of the context: a wrapped key that was moved to another chat must not unwrap. */
static void
check_binding(Check *check)
{
	static const char *const step = "refuse to unwrap for another chat";
	ChatcryptKmsJob job = new_job(check, NULL);
	double		ms;

	job.context[0] ^= 1;
	ms = run_job(CC_KMS_UNWRAP, &job);
	cc_wipe(job.dek, CC_DEK_LEN);
	if (job.outcome == CC_KMS_OK)
		report(check, step, false, "it unwrapped: the key of the KMS binds nothing to its chat",
			   ms);
	else if (cc_kms_outcome_is_of_item(job.outcome))
		report(check, step, true, "refused", ms);
	else
		report(check, step, false, failure_text(&job), ms);
}

static void
check_rewrap(Check *check)
{
	uint8		wrapped_out[CC_KMS_WRAPPED_MAX];
	ChatcryptKmsJob job = new_job(check, wrapped_out);
	double		ms = run_job(CC_KMS_REWRAP, &job);

	if (job.outcome != CC_KMS_OK)
	{
		report(check, "re-wrap", false, failure_text(&job), ms);
		return;
	}
	memcpy(check->wrapped, wrapped_out, job.wrapped_out_len);
	check->wrapped_len = job.wrapped_out_len;
	report(check, "re-wrap", true, psprintf("%u bytes", job.wrapped_out_len), ms);
	check_unwrap(check, "unwrap what was re-wrapped");
}

static bool
check_worker_and_uri(Check *check)
{
	const cc_kms_provider *provider = cc_kms_provider_for(check->kms_key);
	ChatcryptWorkerStatus status;

	chatcrypt_slotdirectory_status(&status);
	report(check, "KMS worker", status.pid != 0,
		   status.pid != 0 ? psprintf("running as process %d", status.pid) :
		   "not running: see the server's log", -1);
	if (provider == NULL || provider->check_uri(check->kms_key) != CC_OK)
	{
		report(check, "key URI", false,
			   provider == NULL ? "no provider has this scheme" : "not a key URI of this provider",
			   -1);
		return false;
	}
	report(check, "key URI", true, psprintf("provider %s", provider->scheme), -1);
	return true;
}

PG_FUNCTION_INFO_V1(chatcrypt_kms_check);

/* kms_check(kms_key text): a row for each step that was tried */
Datum
chatcrypt_kms_check(PG_FUNCTION_ARGS)
{
	Check		check = {.fcinfo = fcinfo};
	cc_kms_outcome made;

	chatcrypt_rights_require_steward();
	check.kms_key = text_to_cstring(PG_GETARG_TEXT_PP(0));
	InitMaterializedSRF(fcinfo, 0);
	if (!pg_strong_random(check.context, CC_CONTEXT_LEN))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not get random bytes")));
	if (!check_worker_and_uri(&check))
		return (Datum) 0;
	made = check_new_key(&check, CC_KMS_GENERATE, "make a data key");
	if (made == CC_KMS_OK)
		check_unwrap(&check, "unwrap it");
	else if (cc_kms_outcome_is_transient(made))
		return (Datum) 0;		/* a worker that is not there will not wrap either */
	if (check_new_key(&check, CC_KMS_WRAP, "wrap") == CC_KMS_OK)
	{
		check_unwrap(&check, "unwrap");
		check_binding(&check);
		check_rewrap(&check);
	}
	return (Datum) 0;
}
