/*
 * attachmentstore.h
 *		The rows of chatcrypt.sealed_attachment and chatcrypt.sealed_attachment_part, for who writes
 *		them.  All of it inside an owner scope (pg/store/owner.h), by callers who have checked
 *		rights; reading files is attachmentread.c's business.
 *
 * They are written as the tables' owner: who puts a file has no right on the tables, and
 * so no way around the quota.
 *
 * Locks, in this order.  Who makes a file locks its chat's row: shared, so that a shred
 * waits for it and then deletes what it made, or it waits for a shred and then finds no
 * key; under a quota alone, so that what is counted stays so.  Who puts a part shares
 * the file's row with others who do; who finishes or deletes the file has it alone.
 */
#ifndef CHATCRYPT_ATTACHMENTSTORE_H
#define CHATCRYPT_ATTACHMENTSTORE_H

#include "utils/uuid.h"

#include "pg/attachments/attachmentseal.h"
#include "pg/compat.h"
#include "pg/store/owner.h"

/* A file, as its row says. */
typedef struct ChatcryptFile
{
	pg_uuid_t	id;
	pg_uuid_t	chat_id;
	text	   *sender;			/* NULL for none */
	bytea	   *envelope;		/* of what is known of it */
	bool		complete;
} ChatcryptFile;

/* What goes into its row as it is given. */
typedef struct ChatcryptFileArgs
{
	ChatcryptArg message_id;
	ChatcryptArg sender;
	ChatcryptArg expires_at;
} ChatcryptFileArgs;

typedef enum ChatcryptFileLock
{
	CHATCRYPT_FILE_UNLOCKED,
	CHATCRYPT_FILE_SHARED,
	CHATCRYPT_FILE_ALONE
} ChatcryptFileLock;

/* Fills what its row says, from the id; raises where there is none. */
extern void chatcrypt_attachmentstore_fetch(ChatcryptFile *file, ChatcryptFileLock lock);

/* What is known of it.  The caller closes the plaintext, which is the result. */
extern bytea *chatcrypt_attachmentstore_open(const ChatcryptFile *file, cc_filemeta *meta);

pg_noreturn extern void chatcrypt_no_such_file(const pg_uuid_t *file_id);

/*
 * How many bytes the files of a chat may take, with the lock that counting them takes.
 * A chat that is entered to make a file is locked in any case.
 */
#define CHATCRYPT_NO_QUOTA	(-1)
extern int64 chatcrypt_attachmentstore_enter_chat(const pg_uuid_t *chat_id);
extern int64 chatcrypt_attachmentstore_lock_quota(const pg_uuid_t *chat_id);

/* Raises where so many bytes more, in place of one part, would be too many. */
extern void chatcrypt_attachmentstore_check_quota(const ChatcryptFile *file, int64 quota,
												  int64 incoming, int32 replaced_part);

extern void chatcrypt_attachmentstore_insert(const ChatcryptFile *file, const cc_filemeta *meta,
											 const ChatcryptFileArgs *args);
extern void chatcrypt_attachmentstore_complete(const ChatcryptFile *file, const cc_filemeta *meta);

/* One that is there already is replaced. */
extern void chatcrypt_attachmentstore_put_part(const ChatcryptFile *file, const cc_part_id *id,
											   const bytea *sealed);

#endif
