-- Two columns of one row that hold envelopes: an envelope that was sealed for one does not open in
-- the other.
\set VERBOSITY terse
\set ON_ERROR_STOP 0
SELECT chatcrypt.create_chat(4400);
CREATE TABLE two (id bigint, chat bigint, note bytea, reply bytea, other_id bigint);
INSERT INTO two VALUES (1, 4400, chatcrypt.encrypt(4400, 1, 'a note'), chatcrypt.encrypt(4400, 1, 'a reply'), 2);

-- Without additional data of their own, two envelopes could be exchanged without notice: so the
-- columns are not registered.
SELECT chatcrypt.register_envelopes('two', 'note', 'chat', 'id') IS NOT NULL AS registered;
\set VERBOSITY default
SELECT chatcrypt.register_envelopes('two', 'reply', 'chat', 'id') IS NOT NULL AS registered;
\set VERBOSITY terse
SELECT chatcrypt.register_envelopes('two', 'reply', 'chat', 'id', '') IS NOT NULL AS registered;
UPDATE two SET note = reply, reply = note;
SELECT chatcrypt.decrypt(chat, id, note) AS note, chatcrypt.decrypt(chat, id, reply) AS reply FROM two;
SELECT relation, message_id, reason FROM chatcrypt.verify_chat(4400);
-- Writing the registration past the function is refused too.
INSERT INTO chatcrypt.envelope_column (relation, envelope_column, chat_column, message_column) VALUES ('two', 'reply', 'chat', 'id');
-- Another id column distinguishes the columns as well.
SELECT chatcrypt.register_envelopes('two', 'reply', 'chat', 'other_id') IS NOT NULL AS registered;
SELECT count(chatcrypt.unregister_envelopes(registry_id)) FROM chatcrypt.envelope_column WHERE relation = 'two'::regclass;

-- With additional data of each column, an exchange is detected.
UPDATE two SET note = chatcrypt.encrypt(4400, 1, 'a note', 'note'), reply = chatcrypt.encrypt(4400, 1, 'a reply', 'reply');
SELECT chatcrypt.register_envelopes('two', 'note', 'chat', 'id', 'note') IS NOT NULL AS registered,
	   chatcrypt.register_envelopes('two', 'reply', 'chat', 'id', 'reply') IS NOT NULL AS registered;
SELECT relation, message_id, reason FROM chatcrypt.verify_chat(4400);
UPDATE two SET note = reply, reply = note;
SELECT relation, message_id, reason FROM chatcrypt.verify_chat(4400);
UPDATE two SET note = reply, reply = note;

-- Additional data that begins like the extension's own, in a column that an administrator filled.
SELECT count(chatcrypt.unregister_envelopes(registry_id)) FROM chatcrypt.envelope_column WHERE relation = 'two'::regclass;
UPDATE two SET note = chatcrypt.encrypt(4400, 1, 'a note', '\x636f6c0044000000000000000000000000000001'::bytea);
SELECT chatcrypt.register_envelopes('two', 'note', 'chat', 'id', '\x636f6c0044000000000000000000000000000001', '44000000-0000-0000-0000-000000000001');
SELECT relation, message_id, reason FROM chatcrypt.verify_chat(4400);
SELECT chatcrypt.unregister_envelopes('44000000-0000-0000-0000-000000000001');
DROP TABLE two;
