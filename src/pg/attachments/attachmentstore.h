/*
 * attachmentstore.h
 *		Writes the rows of chatcrypt.sealed_attachment and chatcrypt.sealed_attachment_part.
 *		Not here: reading files (attachmentread.c).
 *
 * All functions run inside an owner scope (pg/store/owner.h), by callers who have checked
 * rights.  The rows are written as the tables' owner: a user who puts a file has no right on
 * the tables, and so cannot get around the quota.
 *
 * Locks, in this order.  A session that makes a file locks its chat's row.  It shares the lock,
 * so that a shred waits for the session and then deletes what it made, or the session waits for
 * the shred and then finds no key.  Under a quota it locks the row alone, so that what was
 * counted stays true.  A session that puts a part shares the file's row with other such
 * sessions; a session that finishes or deletes the file locks that row alone.
 */
#ifndef CHATCRYPT_ATTACHMENTSTORE_H
#define CHATCRYPT_ATTACHMENTSTORE_H

#include "utils/uuid.h"

#include "pg/attachments/attachmentseal.h"
#include "pg/compat.h"
#include "pg/store/owner.h"

/* A file, as its row describes it. */
typedef struct ChatcryptFile
{
	pg_uuid_t	id;
	pg_uuid_t	chat_id;
	text	   *sender;			/* NULL for none */
	bytea	   *envelope;		/* of its metadata */
	bool		complete;
} ChatcryptFile;

/* What goes into the row of a file as it is given. */
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

/* Fills in the file from its row; the id is set.  Raises an error where there is no such file. */
extern void chatcrypt_attachmentstore_fetch(ChatcryptFile *file, ChatcryptFileLock lock);

/* Opens the metadata of the file.  The caller closes the plaintext, which is the result. */
extern bytea *chatcrypt_attachmentstore_open(const ChatcryptFile *file, cc_filemeta *meta);

pg_noreturn extern void chatcrypt_no_such_file(const pg_uuid_t *file_id);

/*
 * The number of bytes that the files of a chat may take.  Where there is a quota, takes the
 * lock that counting needs.  For making a file, chatcrypt_attachmentstore_enter_chat() locks
 * the chat in any case.
 */
#define CHATCRYPT_NO_QUOTA	(-1)
extern int64 chatcrypt_attachmentstore_enter_chat(const pg_uuid_t *chat_id);
extern int64 chatcrypt_attachmentstore_lock_quota(const pg_uuid_t *chat_id);

/* Raises an error where incoming more bytes, in place of one part, would exceed the quota. */
extern void chatcrypt_attachmentstore_check_quota(const ChatcryptFile *file, int64 quota,
												  int64 incoming, int32 replaced_part);

extern void chatcrypt_attachmentstore_insert(const ChatcryptFile *file, const cc_filemeta *meta,
											 const ChatcryptFileArgs *args);
extern void chatcrypt_attachmentstore_complete(const ChatcryptFile *file, const cc_filemeta *meta);

/* Stores a part; one with the same number is replaced. */
extern void chatcrypt_attachmentstore_put_part(const ChatcryptFile *file, const cc_part_id *id,
											   const bytea *sealed);

#endif
