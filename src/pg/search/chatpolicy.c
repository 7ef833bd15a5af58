/*
 * chatpolicy.c
 *		set_search(): sets the policy by which a chat is searched.  reindex_search() brings
 *		messages that exist already in line with it (reindex.c).
 *
 * A transaction that is running, or that begins before this one commits, may write a message
 * without knowing the policy.  The index of a chat without messages is therefore not complete,
 * unless the current transaction made the chat and no other one can write to it yet.  Such a
 * message is rare, so the policy says that the chat began empty, and search() checks whether
 * there is one (search.c).
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/base/errors.h"
#include "pg/base/ids.h"
#include "pg/history/events.h"
#include "pg/keys/chatkeys.h"
#include "pg/search/feed.h"
#include "pg/search/policy.h"
#include "pg/search/policyrequest.h"
#include "pg/search/tokenrows.h"
#include "pg/store/chatmemory.h"
#include "pg/store/owner.h"
#include "pg/store/store.h"

static void
require_searchable(const uint8 *chat_id)
{
	ChatcryptMode mode;

	if (!chatcrypt_store_chat_mode(chat_id, &mode))
		chatcrypt_no_such_chat(chat_id);
	if (mode == CHATCRYPT_MODE_E2EE)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("chat %s is end-to-end encrypted and cannot be searched here",
						chatcrypt_id_text(chat_id)),
				 errhint("Its clients can search what they have decrypted.")));
}

/* Did the current transaction make the chat?  Then no other one can have written to it. */
static bool
is_new_chat(const uint8 *chat_id)
{
	TupleDesc	desc;
	HeapTuple	row = chatcrypt_store_find_row("chat", "chat_pkey", InvalidOid, F_UUID_EQ,
											   PointerGetDatum(chat_id), &desc);

	return row != NULL && !(row->t_data->t_infomask & HEAP_UPDATED) &&
		TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(row->t_data));
}

static bool
has_messages(const uint8 *chat_id)
{
	ChatcryptArg arg = {UUIDOID, PointerGetDatum(chat_id), false};

	return chatcrypt_owner_execute("SELECT FROM chatcrypt.sealed_message WHERE chat_id = $1 LIMIT 1",
								   &arg, 1) > 0;
}

/* Must all messages be indexed again?  A change of feed alone is left to tell_feed(). */
static bool
needs_new_index(const ChatcryptSearchPolicy *before, const ChatcryptSearchPolicy *after)
{
	return before == NULL || before->mode != after->mode || before->config != after->config ||
		before->prefixes != after->prefixes || before->trigrams != after->trigrams ||
			before->bits != after->bits;
}

/* Inside an owner scope, with the chat locked. */
static void
write_policy(const uint8 *chat_id, const ChatcryptPolicyRequest *request)
{
	const ChatcryptSearchPolicy *policy = &request->policy;
	ChatcryptArg args[] = {
		{UUIDOID, PointerGetDatum(chat_id), false},
		{TEXTOID, CStringGetTextDatum(chatcrypt_policy_mode_text(policy->mode)), false},
		{TEXTOID, CStringGetTextDatum(request->config), false},
		{INT4OID, Int32GetDatum(policy->prefixes), false},
		{BOOLOID, BoolGetDatum(policy->trigrams), false},
		{INT4OID, Int32GetDatum(policy->bits), false},
		{BOOLOID, BoolGetDatum(policy->feed), false},
		{BOOLOID, BoolGetDatum(policy->complete), false},
		{BOOLOID, BoolGetDatum(policy->began_empty), false}
	};

	chatcrypt_owner_execute("INSERT INTO chatcrypt.search_policy "
							"(chat_id, mode, config, prefixes, trigrams, bits, feed, complete, "
							"began_empty) "
							"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) "
							"ON CONFLICT (chat_id) DO UPDATE "
							"SET mode = excluded.mode, config = excluded.config, "
							"prefixes = excluded.prefixes, trigrams = excluded.trigrams, "
							"bits = excluded.bits, feed = excluded.feed, "
							"generation = excluded.generation, complete = excluded.complete, "
							"began_empty = excluded.began_empty, updated_at = now()",
							args, lengthof(args));
}

/* Inside an owner scope. */
static void
set_feed(const uint8 *chat_id, bool feed)
{
	ChatcryptArg args[] = {{UUIDOID, PointerGetDatum(chat_id), false},
						   {BOOLOID, BoolGetDatum(feed), false}};

	chatcrypt_owner_execute("UPDATE chatcrypt.search_policy SET feed = $2, updated_at = now() "
							"WHERE chat_id = $1 AND feed <> $2",
							args, lengthof(args));
}

/* Inside an owner scope. */
static void
turn_off(const uint8 *chat_id)
{
	ChatcryptArg arg = {UUIDOID, PointerGetDatum(chat_id), false};

	chatcrypt_tokenrows_remove_chat(chat_id);
	chatcrypt_owner_execute("DELETE FROM chatcrypt.search_policy WHERE chat_id = $1", &arg, 1);
}

/* Inside an owner scope, after the policy was written: tells the external index of all messages. */
static void
tell_feed(const uint8 *chat_id, bool was_fed, bool is_fed, bool is_new_index)
{
	if (is_fed && !was_fed)
		chatcrypt_feed_begin(PointerGetDatum(chatcrypt_id_array(chat_id, 1)));
	else if (was_fed && (!is_fed || is_new_index))
		chatcrypt_feed_again(chat_id);
}

/* Inside an owner scope: can search() find all messages that the chat has? */
static bool
is_ready(const uint8 *chat_id, const ChatcryptSearchPolicy *policy)
{
	return policy->complete || (policy->began_empty &&
								!chatcrypt_tokenrows_are_missing(chat_id, policy->generation));
}

/* Inside an owner scope, with the chat locked.  True if the chat can be searched at once. */
static bool
apply(const uint8 *chat_id, ChatcryptPolicyRequest *request, bool is_new)
{
	const ChatcryptSearchPolicy *before = chatcrypt_policy_find(chat_id);
	bool		was_fed = before != NULL && before->feed;

	if (request->policy.mode == CHATCRYPT_SEARCH_OFF)
	{
		turn_off(chat_id);
		tell_feed(chat_id, was_fed, false, false);
		return true;
	}
	if (!needs_new_index(before, &request->policy))
	{
		ChatcryptSearchPolicy as_it_is = *before;

		set_feed(chat_id, request->policy.feed);
		tell_feed(chat_id, was_fed, request->policy.feed, false);
		return is_ready(chat_id, &as_it_is);
	}
	if (request->policy.mode != CHATCRYPT_SEARCH_BLIND)
		chatcrypt_tokenrows_remove_chat(chat_id);
	request->policy.began_empty = !has_messages(chat_id);
	request->policy.complete = request->policy.mode != CHATCRYPT_SEARCH_BLIND ||
		(is_new && request->policy.began_empty);
	write_policy(chat_id, request);
	tell_feed(chat_id, was_fed, request->policy.feed, true);
	return request->policy.complete || request->policy.began_empty;
}

static bool
set_search(const uint8 *chat_id, ChatcryptPolicyRequest *request)
{
	ChatcryptEvent event = {
		.event = "policy", .chat_id = chat_id, .detail = chatcrypt_policyrequest_text(request)
	};
	ChatcryptOwnerScope scope;
	bool		is_new;
	bool		complete;

	require_searchable(chat_id);
	is_new = is_new_chat(chat_id);
	if (request->policy.mode == CHATCRYPT_SEARCH_BLIND)
		chatcrypt_chatkeys_ensure(chat_id, CHATCRYPT_PURPOSE_SEARCH);
	chatcrypt_owner_begin(&scope);
	chatcrypt_chatkeys_lock(chat_id);
	complete = apply(chat_id, request, is_new);
	chatcrypt_event_record(&scope, &event);
	chatcrypt_owner_end(&scope);
	return complete;
}

PG_FUNCTION_INFO_V1(chatcrypt_set_search);

/*
 * set_search(chat_id any_id, mode text, config, prefixes, trigrams, bits, feed): true if the chat
 * can be searched at once
 */
Datum
chatcrypt_set_search(PG_FUNCTION_ARGS)
{
	ChatcryptPolicyRequest request;

	chatcrypt_rights_require(CHATCRYPT_MAY_ADMINISTER);
	PreventCommandIfReadOnly("chatcrypt.set_search()");
	chatcrypt_policyrequest_parse(fcinfo, "set_search()", &request);
	PG_RETURN_BOOL(set_search(PG_GETARG_UUID_P(0)->data, &request));
}
