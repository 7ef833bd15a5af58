/*
 * local.c
 *		The provider `local`: master keys in files on the server itself, for
 *		development and for installations without a key service.
 *
 * Its key URIs are local:NAME, where NAME has 1 to 63 characters of a-z 0-9 _ -.  The
 * newest version of NAME wraps, and every version unwraps.  Master keys are read again for
 * each batch and wiped after it, so that a changed or removed file counts at once and no
 * master key stays in memory between calls.
 */
#define _XOPEN_SOURCE 700

#include <stdlib.h>
#include <string.h>

#include "core/kdf.h"
#include "core/localwrap.h"
#include "core/random.h"
#include "kms/errtext.h"
#include "kms/local/keyfolder.h"
#include "kms/providers.h"

#define SCHEME "local:"

enum
{
	KEY_DIR,
	SETTINGS
};

static const cc_kms_setting settings[SETTINGS] = {
	[KEY_DIR] = {"chatcrypt.local_key_dir",
		"Folder of the master key files of the local key provider.",
		CC_KMS_SETTING_TEXT, ""},
};

typedef struct local_session
{
	char	   *key_dir;
	char	   *data_directory;
	cc_aead    *aead;
} local_session;

/* What one batch works with. */
typedef struct local_work
{
	const cc_keyfolder *folder;
	const char *name;
	cc_aead    *aead;
	uint32_t	newest;			/* version of the newest master key; 0 if the batch only unwraps */
	uint32_t	version;		/* version of master; 0 while none has been read */
	uint8_t		master[CC_MASTER_KEY_LEN];	/* secret */
	cc_file_stamp stamp;		/* stamp of the file that master was read from */
} local_work;

static cc_status
local_check_uri(const char *kms_key)
{
	const char *name = kms_key + strlen(SCHEME);
	size_t		len;

	if (strncmp(kms_key, SCHEME, strlen(SCHEME)) != 0)
		return CC_ERR_SYNTAX;
	len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-");
	return len >= 1 && len <= CC_KEY_NAME_MAX && name[len] == '\0' ? CC_OK : CC_ERR_SYNTAX;
}

static void
local_close(cc_kms_session *handle)
{
	local_session *session = (local_session *) handle;

	if (session == NULL)
		return;
	cc_aead_free(session->aead);
	free(session->key_dir);
	free(session->data_directory);
	free(session);
}

static cc_kms_session *
local_open(const cc_kms_config *config, char error[CC_KMS_ERROR_MAX])
{
	const char *key_dir = config->values[KEY_DIR].text;
	local_session *session;

	if (key_dir == NULL || key_dir[0] != '/')
	{
		cc_kms_say(error, "chatcrypt.local_key_dir is not set to an absolute path");
		return NULL;
	}
	session = calloc(1, sizeof(*session));
	if (session != NULL)
	{
		session->key_dir = strdup(key_dir);
		session->data_directory =
			strdup(config->data_directory != NULL ? config->data_directory : "");
		session->aead = cc_aead_new(CC_AEAD_AUTO);
	}
	if (session == NULL || session->key_dir == NULL || session->data_directory == NULL ||
		session->aead == NULL)
	{
		cc_kms_say(error, "out of memory");
		local_close((cc_kms_session *) session);
		return NULL;
	}
	return (cc_kms_session *) session;
}

/* Turns a failure of the core into an item's outcome and error text. */
static cc_kms_outcome
outcome_of(cc_status status, char error[CC_KMS_ERROR_MAX])
{
	switch (status)
	{
		case CC_OK:
			return CC_KMS_OK;
		case CC_ERR_NO_MEMORY:
		case CC_ERR_CRYPTO:
		case CC_ERR_RANDOM:
			cc_kms_say(error, "%s", cc_status_text(status));
			return CC_KMS_TRANSIENT;
		default:
			cc_kms_say(error, "the wrapped key does not open: it is damaged, "
					   "belongs to another data key, or the master key is a different one");
			return CC_KMS_NOT_OPENED;
	}
}

/* Reads the master key of a version, unless it was the last one read, as in most batches. */
static cc_kms_outcome
use_master(local_work *work, uint32_t version, char error[CC_KMS_ERROR_MAX])
{
	cc_kms_outcome outcome;

	if (work->version == version)
		return CC_KMS_OK;
	work->version = 0;
	outcome = cc_keyfolder_read(work->folder, work->name, version, work->master, &work->stamp,
								error);
	if (outcome == CC_KMS_OK)
		work->version = version;
	return outcome;
}

static cc_kms_outcome
wrap(local_work *work, cc_kms_item *item, const uint8_t dek[CC_DEK_LEN])
{
	cc_kms_outcome outcome = use_master(work, work->newest, item->error);
	cc_status	status;

	if (outcome != CC_KMS_OK)
		return outcome;
	status = cc_localwrap_seal(work->aead, work->master, work->version, item->context, dek,
							   item->wrapped);
	if (status == CC_OK)
		item->wrapped_len = CC_LOCALWRAP_LEN;
	return outcome_of(status, item->error);
}

/* The caller wipes dek. */
static cc_kms_outcome
unwrap(local_work *work, cc_kms_item *item, uint8_t dek[CC_DEK_LEN])
{
	uint32_t	version;
	cc_kms_outcome outcome;
	cc_status	status;

	if (item->wrapped_len > CC_KMS_WRAPPED_MAX)
		return outcome_of(CC_ERR_TRAILING, item->error);
	status = cc_localwrap_version(item->wrapped, item->wrapped_len, &version);
	if (status != CC_OK)
		return outcome_of(status, item->error);
	outcome = use_master(work, version, item->error);
	if (outcome != CC_KMS_OK)
		return outcome;
	return outcome_of(cc_localwrap_open(work->aead, work->master, version, item->context,
										item->wrapped, item->wrapped_len, dek), item->error);
}

/* Where anything fails, the item's wrapped bytes stay as they are. */
static cc_kms_outcome
rewrap(local_work *work, cc_kms_item *item)
{
	uint8_t		dek[CC_DEK_LEN] = {0};	/* secret */
	cc_kms_outcome outcome = unwrap(work, item, dek);

	if (outcome == CC_KMS_OK)
		outcome = wrap(work, item, dek);
	cc_wipe(dek, sizeof(dek));
	return outcome;
}

static cc_kms_outcome
generate(local_work *work, cc_kms_item *item)
{
	cc_kms_outcome outcome;

	outcome = outcome_of(cc_random_bytes(item->dek, CC_DEK_LEN), item->error);
	if (outcome == CC_KMS_OK)
		outcome = wrap(work, item, item->dek);
	if (outcome != CC_KMS_OK)
		cc_wipe(item->dek, CC_DEK_LEN);
	return outcome;
}

static cc_kms_outcome
perform_item(local_work *work, cc_kms_op op, cc_kms_item *item)
{
	cc_kms_outcome outcome;

	item->error[0] = '\0';
	switch (op)
	{
		case CC_KMS_UNWRAP:
			outcome = unwrap(work, item, item->dek);
			if (outcome != CC_KMS_OK)
				cc_wipe(item->dek, CC_DEK_LEN);
			return outcome;
		case CC_KMS_WRAP:
			return wrap(work, item, item->dek);
		case CC_KMS_GENERATE:
			return generate(work, item);
		case CC_KMS_REWRAP:
			return rewrap(work, item);
	}
	return CC_KMS_CONFIG;
}

/* A number for the newest master key: its version, and the file that it was read from. */
static uint64_t
identity_of_newest(const local_work *work)
{
	struct
	{
		cc_file_stamp stamp;
		uint64_t	version;
	}			named = {work->stamp, work->version};
	uint8_t		digest[CC_SHA256_LEN];
	uint64_t	identity;

	if (work->newest == 0 || work->version != work->newest)
		return 0;
	cc_sha256(&named, sizeof(named), digest);
	memcpy(&identity, digest, sizeof(identity));
	return identity;
}

/* Prepares what all items need; where this fails, every item fails. */
static cc_kms_outcome
begin(const local_session *session, const cc_kms_batch *batch, cc_keyfolder *folder,
	  local_work *work, char error[CC_KMS_ERROR_MAX])
{
	cc_kms_outcome outcome;

	folder->fd = -1;
	if (local_check_uri(batch->kms_key) != CC_OK)
	{
		cc_kms_say(error, "\"%s\" is not a key URI of the provider local", batch->kms_key);
		return CC_KMS_CONFIG;
	}
	outcome = cc_keyfolder_open(folder, session->key_dir, session->data_directory, error);
	if (outcome != CC_KMS_OK)
		return outcome;

	memset(work, 0, sizeof(*work));
	work->folder = folder;
	work->name = batch->kms_key + strlen(SCHEME);
	work->aead = session->aead;
	if (batch->op == CC_KMS_UNWRAP)
		return CC_KMS_OK;
	return cc_keyfolder_newest(folder, work->name, &work->newest, error);
}

static void
local_perform(cc_kms_session *handle, cc_kms_batch *batch)
{
	local_session *session = (local_session *) handle;
	cc_keyfolder folder;
	local_work	work;
	char		error[CC_KMS_ERROR_MAX] = "";
	cc_kms_outcome outcome = begin(session, batch, &folder, &work, error);

	if (outcome != CC_KMS_OK)
		cc_kms_batch_fail(batch, outcome, error);
	else
	{
		for (int i = 0; i < batch->nitems; i++)
			batch->items[i]->outcome = perform_item(&work, batch->op, batch->items[i]);
		batch->wrapped_by = identity_of_newest(&work);
	}

	cc_wipe(&work, sizeof(work));
	cc_aead_forget(session->aead);
	/* a machine that is cloned while the worker is idle must not make the same keys twice */
	cc_random_forget();
	cc_keyfolder_close(&folder);
}

static uint32_t
local_wrapped_version(const uint8_t *wrapped, size_t len)
{
	uint32_t	version;

	return cc_localwrap_version(wrapped, len, &version) == CC_OK ? version : 0;
}

const cc_kms_provider cc_kms_local = {
	.scheme = "local",
	.example_uri = "local:main",
	.batch_max = CC_KMS_BATCH_MAX,
	.batch_max_wrapped = CC_KMS_BATCH_MAX,
	.settings = settings,
	.nsettings = SETTINGS,
	.check_uri = local_check_uri,
	.wrapped_version = local_wrapped_version,
	.open = local_open,
	.close = local_close,
	.perform = local_perform,
};
