/*
 * cipher.c
 *		The cipher context of this process: see cipher.h.
 */
#include "postgres.h"

#include "access/xact.h"
#include "storage/ipc.h"

#include "core/random.h"
#include "pg/keys/cipher.h"

static cc_aead *aead;

/*
 * A re-keyed context remembers its last key, and drawn randomness must not outlive the
 * statement.
 */
static void
forget(void)
{
	cc_aead_forget(aead);
	cc_random_forget();
}

static void
forget_at_exit(int code, Datum arg)
{
	(void) code;
	(void) arg;
	forget();
}

static void
forget_at_end(XactEvent event, void *arg)
{
	(void) event;
	(void) arg;
	forget();
}

void
chatcrypt_cipher_fresh_randomness(void)
{
	static TimestampTz drawn_for;
	TimestampTz statement = GetCurrentStatementStartTimestamp();

	if (likely(statement == drawn_for))
		return;
	cc_random_forget();
	drawn_for = statement;
}

static void
make_context(void)
{
	aead = cc_aead_new(CC_AEAD_AUTO);
	if (aead == NULL)
		ereport(FATAL,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("could not set up the memory for keys")));
	on_proc_exit(forget_at_exit, (Datum) 0);
	RegisterXactCallback(forget_at_end, NULL);
}

cc_aead *
chatcrypt_cipher_aead(void)
{
	if (unlikely(aead == NULL))
		make_context();
	return aead;
}
