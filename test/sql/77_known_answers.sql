-- What the database keeps, against the answers of test/vectors: made by another implementation.
\set VERBOSITY terse
\set ON_ERROR_STOP 0
\set home :DBNAME
CREATE DATABASE regression_known;
\c regression_known
SET client_min_messages = warning;
CREATE EXTENSION chatcrypt;

-- Stored search tokens: stored_token.json.  bits is 64, then 9, then 8.
\set chat '''da142181-5468-0f87-6103-4ef5ad9e0cad'''
\set dek '''\\x930de0ab3afa18e87ef318404ea54e29e7f9a98f02979cd793687bf013c5022a'''
SELECT chatcrypt.create_chat(:chat::uuid) IS NOT NULL AS made;
SELECT chatcrypt.import_dek(:chat::uuid, :dek, 3, 'search');
SELECT chatcrypt.set_search(:chat::uuid, 'blind', config => 'simple', prefixes => 3, trigrams => true) IS NOT NULL AS set;
CALL chatcrypt.reindex_search(:chat::uuid);
SELECT chatcrypt.search_tokens(:chat::uuid, 'hello') AS hello, chatcrypt.search_tokens(:chat::uuid, 'grüße') AS utf8, chatcrypt.search_tokens(:chat::uuid, 'hel*') AS beginning, chatcrypt.search_tokens(:chat::uuid, '*hel*') AS part;
-- A word of five characters has itself, its beginnings of three to five, and three trigrams.
INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(1), :chat, 'hello');
SELECT cardinality(tokens) AS terms, tokens @> ARRAY[7333616313748008855] AS word_as_a_number FROM chatcrypt.search_token;
SELECT chatcrypt.set_search(:chat::uuid, 'blind', config => 'simple', bits => 9) IS NOT NULL AS set;
CALL chatcrypt.reindex_search(:chat::uuid);
SELECT chatcrypt.search_tokens(:chat::uuid, 'hello') AS hello_9_bits;
SELECT chatcrypt.set_search(:chat::uuid, 'blind', config => 'simple', bits => 8) IS NOT NULL AS set;
CALL chatcrypt.reindex_search(:chat::uuid);
SELECT chatcrypt.search_tokens(:chat::uuid, 'hello') AS hello_8_bits;
SELECT chatcrypt.set_search(:chat::uuid, 'blind', bits => 7);

-- The terms of a word: search_terms.json says how many of which kinds.
SELECT chatcrypt.create_chat(chat) IS NOT NULL AS made FROM generate_series(1, 4) AS chat;
SELECT chatcrypt.set_search(1, 'blind', prefixes => 3, trigrams => true), chatcrypt.set_search(2, 'blind', prefixes => 15),
	   chatcrypt.set_search(3, 'blind', prefixes => 2, trigrams => true), chatcrypt.set_search(4, 'blind', prefixes => 1, trigrams => true);
INSERT INTO chatcrypt.messages (chat_id, message_id, body) VALUES (chatcrypt.to_uuid(1), chatcrypt.to_uuid(11), 'lighthouse'), (chatcrypt.to_uuid(1), chatcrypt.to_uuid(12), 'an'),
	(chatcrypt.to_uuid(2), chatcrypt.to_uuid(13), 'antidisestablishmentarianism'), (chatcrypt.to_uuid(3), chatcrypt.to_uuid(14), 'grüße'), (chatcrypt.to_uuid(4), chatcrypt.to_uuid(15), '世界');
SELECT body, cardinality(tokens) AS terms FROM chatcrypt.search_token JOIN chatcrypt.messages USING (message_id) WHERE message_id > chatcrypt.to_uuid(10) ORDER BY message_id;

-- The digest of an event, as docs/format.md has it, against those that were sealed.
SELECT chatcrypt.seal_events() > 0 AS sealed;
CREATE FUNCTION field(bytea) RETURNS bytea IMMUTABLE RETURN CASE WHEN $1 IS NULL THEN '\xffffffff' ELSE int4send(length($1)) || $1 END;
CREATE FUNCTION field(text) RETURNS bytea IMMUTABLE RETURN field(convert_to($1, 'UTF8'));
CREATE FUNCTION field(bigint) RETURNS bytea IMMUTABLE RETURN field(int8send($1));
SELECT count(*) > 5 AS some, bool_and(digest = substr(event_digests, (n * 32 - 31)::int, 32)) AS same
FROM (SELECT row_number() OVER (ORDER BY event_id) AS n,
			 sha256('chatcrypt/v1/key_event'::bytea || '\x00' || field(event_id) || field(event) || field(uuid_send(chat_id)) || field(tenant) || field(purpose)
				|| field(dek_version::bigint) || field(kms_key) || field(detail) || field(role) || field(session_role) || field(actor)
				|| field(timestamptz_send(happened_at)) || field(xid8send(transaction_id))) AS digest
	  FROM chatcrypt.key_event) AS e, chatcrypt.event_seal;
\c :home
DROP DATABASE regression_known;
