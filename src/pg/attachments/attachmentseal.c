/*
 * attachmentseal.c
 *		Seals and opens parts of files, and the metadata of files: see attachmentseal.h.
 *
 * As in seal.c: allocate, fetch what is needed, then the key, work, wipe, and only then report.
 * A part is sealed or opened in one go, without a check for interrupts: 16 MB take 10 ms.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "core/envelope.h"
#include "pg/attachments/attachmentseal.h"
#include "pg/base/errors.h"
#include "pg/base/ids.h"
#include "pg/compat.h"
#include "pg/keys/cipher.h"
#include "pg/keys/failedopens.h"
#include "pg/keys/keyaccess.h"
#include "pg/messages/diagnosis.h"

void
chatcrypt_raise_part(cc_status status, const uint8 *chat_id)
{
	chatcrypt_failedopens_note_bytes(status);
	switch (status)
	{
		case CC_ERR_AUTH:
			ereport(ERROR,
					(errcode(ERRCODE_EXTERNAL_ROUTINE_INVOCATION_EXCEPTION),
					 errmsg("the attachment does not open"),
					 errdetail("The chat, the file id, the number of the part, whether it is the last one, or the additional data is wrong, or the bytes are damaged.")));
		case CC_ERR_TRUNCATED:
		case CC_ERR_TRAILING:
		case CC_ERR_SUITE:
		case CC_ERR_VERSION:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("this is not a part of an attachment: %s", cc_status_text(status))));
		case CC_ERR_TOO_LARGE:
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("the part of the attachment or its additional data is too large"),
					 errdetail("A part holds up to 512 MB, additional data up to 64 kB.")));
		default:
			chatcrypt_raise(status, chat_id);
	}
	pg_unreachable();
}

/* ---------- parts ---------- */

bytea *
chatcrypt_attachmentseal_part(const uint8 chat_id[CC_ID_LEN], const cc_part_id *id,
							  const uint8 *plaintext, Size len)
{
	Size		sealed_len;
	cc_status	status = cc_part_sealed_len(len, &sealed_len);
	const ChatcryptKey *key;
	bytea	   *sealed;

	if (status != CC_OK)
		chatcrypt_raise_part(status, chat_id);
	sealed = palloc(VARHDRSZ + sealed_len);
	SET_VARSIZE(sealed, VARHDRSZ + sealed_len);
	chatcrypt_cipher_fresh_randomness();
	key = chatcrypt_keyaccess_active(chat_id, CHATCRYPT_FOR_ATTACHMENTS);
	status = cc_part_seal(chatcrypt_cipher_aead(), key->secret.attachment, key->version, id,
						  plaintext, len, (uint8 *) VARDATA(sealed));
	if (status != CC_OK)
		chatcrypt_raise_part(status, chat_id);
	return sealed;
}

/* The version that the beginning of a part names. */
static cc_status
version_of(const bytea *header, Size sealed_len, uint32 *version)
{
	cc_envelope_info info;
	cc_status	status;

	if (VARSIZE_ANY_EXHDR(header) < Min(sealed_len, CC_PART_HEADER_LEN))
		return CC_ERR_TRUNCATED;
	status = cc_envelope_inspect((const uint8 *) VARDATA_ANY(header), sealed_len, &info);
	if (status != CC_OK)
		return status;
	if (info.suite != CC_SUITE_ATTACHMENT)
		return CC_ERR_SUITE;
	if (info.dek_version > PG_INT32_MAX)
		return CC_ERR_VERSION;
	*version = info.dek_version;
	return CC_OK;
}

/* Allocates a bytea of the length of the plaintext of a part. */
static cc_status
allocate_plaintext(const bytea *sealed, bytea **plaintext)
{
	Size		len;
	cc_status	status = cc_part_plaintext_len(VARSIZE_ANY_EXHDR(sealed), &len);

	if (status != CC_OK)
		return status;
	*plaintext = palloc(VARHDRSZ + len);
	SET_VARSIZE(*plaintext, VARHDRSZ + len);
	return CC_OK;
}

static cc_status
open_whole(const ChatcryptKey *key, const cc_part_id *id, const bytea *sealed, bytea *plaintext)
{
	return cc_part_open_all(chatcrypt_cipher_aead(), key->secret.attachment, key->version, id,
							(const uint8 *) VARDATA_ANY(sealed), VARSIZE_ANY_EXHDR(sealed),
							(uint8 *) VARDATA(plaintext));
}

bytea *
chatcrypt_attachmentseal_open_part(const uint8 chat_id[CC_ID_LEN], const cc_part_id *id,
								   const bytea *sealed)
{
	uint32		version;
	bytea	   *plaintext;
	cc_status	status = version_of(sealed, VARSIZE_ANY_EXHDR(sealed), &version);

	if (status == CC_OK)
		status = allocate_plaintext(sealed, &plaintext);
	if (status == CC_OK)
		status = open_whole(chatcrypt_keyaccess_open(chat_id, CHATCRYPT_FOR_ATTACHMENTS, version),
							id, sealed, plaintext);
	if (status != CC_OK)
		chatcrypt_raise_part(status, chat_id);
	return plaintext;
}

/* Wipes the plaintext, also where it cannot be sealed, and frees it. */
static bytea *
seal_and_wipe(const uint8 *chat_id, const cc_part_id *id, bytea *plaintext)
{
	bytea	   *sealed;

	PG_TRY();
	{
		sealed = chatcrypt_attachmentseal_part(chat_id, id, (uint8 *) VARDATA(plaintext),
											   VARSIZE(plaintext) - VARHDRSZ);
	}
	PG_CATCH();
	{
		cc_wipe(VARDATA(plaintext), VARSIZE(plaintext) - VARHDRSZ);
		PG_RE_THROW();
	}
	PG_END_TRY();
	cc_wipe(VARDATA(plaintext), VARSIZE(plaintext) - VARHDRSZ);
	pfree(plaintext);
	return sealed;
}

bytea *
chatcrypt_attachmentseal_reseal_part(const uint8 chat_id[CC_ID_LEN], const cc_part_id *id,
									 const bytea *sealed, cc_status *why)
{
	const ChatcryptKey *key;
	uint32		version;
	bytea	   *plaintext;

	*why = version_of(sealed, VARSIZE_ANY_EXHDR(sealed), &version);
	if (*why == CC_OK)
		*why = allocate_plaintext(sealed, &plaintext);
	if (*why != CC_OK)
		return NULL;
	key = chatcrypt_keyaccess_find(chat_id, CHATCRYPT_FOR_ATTACHMENTS, version);
	*why = key == NULL ? CC_ERR_NO_KEY : open_whole(key, id, sealed, plaintext);
	if (*why == CC_OK)
		return seal_and_wipe(chat_id, id, plaintext);
	pfree(plaintext);
	return NULL;
}

/* Opens the header of a part.  The caller closes the part where this succeeds. */
static cc_status
open_header(const ChatcryptKey *key, const cc_part_id *id, const bytea *header, Size sealed_len,
			cc_part *part)
{
	return cc_part_open(part, key->secret.attachment, key->version, id,
						(const uint8 *) VARDATA_ANY(header), sealed_len);
}

static bool
fits(const ChatcryptKey *key, const cc_part_id *id, const bytea *header, Size sealed_len)
{
	cc_part		part;

	if (open_header(key, id, header, sealed_len, &part) != CC_OK)
		return false;
	cc_part_close(&part);
	return true;
}

bool
chatcrypt_attachmentseal_part_is_committed(const uint8 chat_id[CC_ID_LEN], const cc_part_id *id,
										   const bytea *header, Size sealed_len)
{
	uint32		version;

	return version_of(header, sealed_len, &version) == CC_OK &&
		fits(chatcrypt_keyaccess_open(chat_id, CHATCRYPT_FOR_ATTACHMENTS, version), id, header,
			 sealed_len);
}

/* Only administrators and auditors are told whether the key or the bytes are wrong. */
char *
chatcrypt_attachmentseal_diagnose_part(const uint8 chat_id[CC_ID_LEN], const cc_part_id *id,
									   const bytea *sealed)
{
	uint32		version;
	bytea	   *plaintext;
	const ChatcryptKey *key;
	ChatcryptKmsJob failure;
	cc_status	status = version_of(sealed, VARSIZE_ANY_EXHDR(sealed), &version);

	if (status == CC_OK)
		status = allocate_plaintext(sealed, &plaintext);
	if (status != CC_OK)
		return psprintf("not a part: %s", cc_status_text(status));
	key = chatcrypt_keyaccess_probe(chat_id, CHATCRYPT_FOR_ATTACHMENTS, version, &failure);
	if (key == NULL)
	{
		pfree(plaintext);
		return chatcrypt_diagnosis_of_key(chat_id, CHATCRYPT_FOR_ATTACHMENTS, version,
										  &failure);
	}
	status = open_whole(key, id, sealed, plaintext);
	cc_wipe(VARDATA(plaintext), VARSIZE(plaintext) - VARHDRSZ);
	pfree(plaintext);
	if (status == CC_OK)
		return NULL;
	if (status != CC_ERR_AUTH)
		return psprintf("not a part: %s", cc_status_text(status));
	if (fits(key, id, sealed, VARSIZE_ANY_EXHDR(sealed)))
		return psprintf("damaged: part %u begins as it should, and a chunk of it is damaged, "
						"or in the wrong place", id->part);
	return psprintf("wrong key: part %u was sealed under another key, "
					"for another file or as another part, or is damaged at its beginning",
					id->part);
}

/*
 * Opens one chunk: straight into its place in out where the whole chunk is wanted, otherwise
 * into room, from which the wanted bytes are copied.
 */
static cc_status
open_chunk(const cc_part *part, uint32 n, const uint8 *sealed, uint32 from, uint32 to, uint8 *room,
		   uint8 *out)
{
	uint32		begin = n * CC_CHUNK_LEN;
	uint32		end = Min(begin + CC_CHUNK_LEN, part->plaintext_len);
	uint32		wanted = Max(begin, from);
	cc_status	status;

	if (from <= begin && end <= to)
		return cc_part_open_chunk(chatcrypt_cipher_aead(), part, n, sealed, out + (begin - from));
	status = cc_part_open_chunk(chatcrypt_cipher_aead(), part, n, sealed, room);
	if (status == CC_OK && wanted < Min(end, to))
		memcpy(out + (wanted - from), room + (wanted - begin), Min(end, to) - wanted);
	cc_wipe(room, CC_CHUNK_LEN);
	return status;
}

static cc_status
open_chunks(const ChatcryptKey *key, const cc_part_id *id, const ChatcryptChunks *chunks,
			uint32 from, uint32 to, uint8 *room, uint8 *out)
{
	cc_part		part;
	cc_status	status = open_header(key, id, chunks->header, chunks->sealed_len, &part);
	Size		start = 0;

	if (status != CC_OK)
		return status;
	for (uint32 n = chunks->first; status == CC_OK && n < chunks->first + chunks->count; n++)
	{
		Size		offset;
		Size		sealed_len;
		Size		len;

		status = cc_part_chunk_range(&part, n, &offset, &sealed_len, &len);
		if (status == CC_OK && start + sealed_len > VARSIZE_ANY_EXHDR(chunks->sealed))
			status = CC_ERR_TRUNCATED;
		if (status == CC_OK)
			status = open_chunk(&part, n, (const uint8 *) VARDATA_ANY(chunks->sealed) + start, from,
								to, room, out);
		start += sealed_len;
	}
	cc_part_close(&part);
	return status;
}

void
chatcrypt_attachmentseal_open_chunks(const uint8 chat_id[CC_ID_LEN], const cc_part_id *id,
									 const ChatcryptChunks *chunks, uint32 from, uint32 to,
									 uint8 *out)
{
	uint8	   *room = palloc(CC_CHUNK_LEN);
	uint32		version;
	cc_status	status = version_of(chunks->header, chunks->sealed_len, &version);

	if (status == CC_OK)
		status = open_chunks(chatcrypt_keyaccess_open(chat_id, CHATCRYPT_FOR_ATTACHMENTS, version),
							 id, chunks, from, to, room, out);
	if (status != CC_OK)
	{
		cc_wipe(out, to - from);
		chatcrypt_raise_part(status, chat_id);
	}
	pfree(room);
}

/* ---------- metadata ---------- */

const ChatcryptAad *
chatcrypt_attachmentseal_filemeta_aad(void)
{
	static const ChatcryptAad aad = {
		.bytes = (const uint8 *) CC_FILE_AAD, .len = sizeof(CC_FILE_AAD)	/* with its 00 */
	};

	return &aad;
}

bytea *
chatcrypt_attachmentseal_filemeta(const uint8 chat_id[CC_ID_LEN], const uint8 file_id[CC_ID_LEN],
								  const cc_filemeta *meta)
{
	Size		len = cc_filemeta_len(meta);
	uint8	   *plaintext = palloc(len);
	cc_status	status = cc_filemeta_write(meta, plaintext);
	bytea	   *volatile envelope = NULL;

	PG_TRY();
	{
		if (status == CC_OK)
			envelope = chatcrypt_seal_as_data(chat_id, file_id, (char *) plaintext, len,
											  chatcrypt_attachmentseal_filemeta_aad());
	}
	PG_FINALLY();
	{
		cc_wipe(plaintext, len);
	}
	PG_END_TRY();
	pfree(plaintext);
	if (status == CC_ERR_TOO_LARGE)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the name of the file or its content type is too long"),
				 errdetail("A name can have at most %d bytes of UTF-8, a content type at most %d.",
						   CC_FILE_NAME_MAX, CC_FILE_TYPE_MAX)));
	if (status != CC_OK)
		elog(ERROR, "could not write the metadata of a file: %s", cc_status_text(status));
	return envelope;
}

void
chatcrypt_attachmentseal_close_filemeta(bytea *plaintext)
{
	cc_wipe(VARDATA(plaintext), VARSIZE(plaintext) - VARHDRSZ);
	pfree(plaintext);
}

/*
 * Raises the error for metadata without a key, or for metadata that does not open under its
 * key.
 */
static void
raise_unopened(const uint8 *chat_id, const bytea *envelope)
{
	cc_envelope_info info;
	cc_status	status = cc_envelope_inspect((const uint8 *) VARDATA_ANY(envelope),
											 VARSIZE_ANY_EXHDR(envelope), &info);

	if (status == CC_OK && info.suite == CC_SUITE_MESSAGE && info.dek_version <= PG_INT32_MAX)
		(void) chatcrypt_keyaccess_open(chat_id, CHATCRYPT_FOR_MESSAGES, info.dek_version);
	chatcrypt_raise_part(CC_ERR_AUTH, chat_id);
}

bytea *
chatcrypt_attachmentseal_open_filemeta(const uint8 chat_id[CC_ID_LEN],
									   const uint8 file_id[CC_ID_LEN],
									   const bytea *envelope, ChatcryptOnFailure on_failure,
									   cc_filemeta *meta)
{
	bytea	   *plaintext = chatcrypt_seal_open(chat_id, file_id, envelope,
												chatcrypt_attachmentseal_filemeta_aad(),
												CHATCRYPT_FAIL_NULL);
	cc_status	status;

	if (plaintext == NULL && on_failure != CHATCRYPT_FAIL_NULL &&
		!(on_failure == CHATCRYPT_FAIL_RAISE_BUT_NULL_FOR_DESTROYED &&
		  chatcrypt_seal_was_destroyed(chat_id, envelope)))
		raise_unopened(chat_id, envelope);
	if (plaintext == NULL)
		return NULL;
	status = cc_filemeta_read((uint8 *) VARDATA(plaintext), VARSIZE(plaintext) - VARHDRSZ, meta);
	if (status == CC_OK)
		return plaintext;
	chatcrypt_attachmentseal_close_filemeta(plaintext);
	if (on_failure != CHATCRYPT_FAIL_NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("the metadata of attachment %s is not in its format: %s",
						chatcrypt_id_text(file_id), cc_status_text(status))));
	return NULL;
}

static uint64
sealed_len_of(const cc_filemeta *meta, uint32 part)
{
	Size		len;

	if (cc_part_sealed_len(cc_filemeta_part_len(meta, part), &len) != CC_OK)
		elog(ERROR, "a part has no length");
	return len;
}

uint64
chatcrypt_attachmentseal_filemeta_size(const cc_filemeta *meta)
{
	return (meta->parts - 1) * sealed_len_of(meta, 0) + sealed_len_of(meta, meta->parts - 1);
}
