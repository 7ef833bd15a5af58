/*
 * keylookup.c
 *		Reads the row that holds a requested key: see keylookup.h.
 */
#include "postgres.h"

#include "pg/base/ids.h"
#include "pg/keys/keylookup.h"
#include "pg/service/requests.h"

bool
chatcrypt_keylookup_read(const uint8 chat_id[CC_ID_LEN], ChatcryptUse use, uint32 asked_version,
		 ChatcryptDekRow *row)
{
	ChatcryptMode mode;

	if (chatcrypt_keylookup_is_version(asked_version))
		return chatcrypt_store_dek(chat_id, chatcrypt_keyuse_purpose(use), asked_version, row);
	if (!chatcrypt_store_chat_mode(chat_id, &mode))
		return false;
	if (mode == CHATCRYPT_MODE_E2EE)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 asked_version == CHATCRYPT_THE_ACTIVE_ONE &&
				 chatcrypt_keyuse_purpose(use) == CHATCRYPT_PURPOSE_CONVERSATION ?
				 errmsg("chat %s is end-to-end encrypted and has no key here",
						chatcrypt_id_text(chat_id)) :
				 errmsg("chat %s is end-to-end encrypted and takes no plaintext",
						chatcrypt_id_text(chat_id)),
				 errhint("Its clients encrypt; the server only stores what they send.")));
	if (asked_version == CHATCRYPT_THE_ACTIVE_ONE)
		return chatcrypt_store_dek(chat_id, chatcrypt_keyuse_purpose(use), 0, row);
	return chatcrypt_store_dek(chat_id,
							   mode == CHATCRYPT_MODE_MANAGED ? CHATCRYPT_PURPOSE_DATA :
							   CHATCRYPT_PURPOSE_CONVERSATION, 0, row);
}

void
chatcrypt_keylookup_job(const ChatcryptDekRow *row, ChatcryptKmsJob *job)
{
	memset(job, 0, sizeof(*job));
	job->id = row->id;
	job->epoch = row->epoch;
	job->kms_key = row->kms_key;
	job->wrapped = row->wrapped;
	job->wrapped_len = row->wrapped_len;
	chatcrypt_store_context(&row->id, job->context);
}

void
chatcrypt_keylookup_refresh(const ChatcryptDekRow *row)
{
	ChatcryptKmsJob job;

	chatcrypt_keylookup_job(row, &job);
	chatcrypt_requests_refresh(&job);
}
