-- Every right on one screen.  Nobody but these roles has any.

REVOKE ALL ON ALL TABLES IN SCHEMA chatcrypt FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA chatcrypt FROM PUBLIC;
REVOKE ALL ON ALL ROUTINES IN SCHEMA chatcrypt FROM PUBLIC;
GRANT USAGE ON SCHEMA chatcrypt TO chatcrypt_writer, chatcrypt_reader, chatcrypt_admin, chatcrypt_auditor, chatcrypt_keyholder, chatcrypt_feeder;

-- Writers write, and see all of a message but its body: ciphertext at most.  What the trigger of the
-- view and put_message() write they have no right to write in the table.  UPDATE of one column is
-- what SELECT ... FOR UPDATE asks for, and DELETE is what that of the view asks for.
GRANT INSERT, UPDATE, DELETE ON chatcrypt.messages TO chatcrypt_writer;
GRANT DELETE, UPDATE (expires_at) ON chatcrypt.message TO chatcrypt_writer;
GRANT SELECT (message_id, chat_id, sender, dek_version, created_at, expires_at, chat_number, message_number) ON chatcrypt.messages TO chatcrypt_writer;
GRANT SELECT ON chatcrypt.message TO chatcrypt_writer;

GRANT SELECT ON chatcrypt.attachment TO chatcrypt_writer;

-- Readers read.
GRANT SELECT ON chatcrypt.messages, chatcrypt.wire_messages, chatcrypt.message TO chatcrypt_reader;
GRANT SELECT ON chatcrypt.attachments, chatcrypt.attachment, chatcrypt.attachment_part TO chatcrypt_reader;

-- Auditors see what is known of keys, and no wrapped key.
GRANT SELECT ON chatcrypt.deployment, chatcrypt.tenant, chatcrypt.chat, chatcrypt.participant, chatcrypt.chats TO chatcrypt_auditor, chatcrypt_admin;
GRANT SELECT (dek_id, chat_id, purpose, dek_version, state, kms_key, kms_key_version, kcv, valid_from, valid_to, created_at)
	ON chatcrypt.dek TO chatcrypt_auditor, chatcrypt_admin;
GRANT SELECT ON chatcrypt.protected_column, chatcrypt.upkeep, chatcrypt.unopened, chatcrypt.search_policy TO chatcrypt_auditor, chatcrypt_admin;
GRANT UPDATE (kms_key, rotate_after, rotate_messages, rotate_on_removal, retention, reencrypt_after, attachment_quota) ON chatcrypt.tenant TO chatcrypt_admin;
GRANT UPDATE (external_envelopes, rotate_after, rotate_messages, rotate_on_removal, retention, reencrypt_after, attachment_quota, moderation) ON chatcrypt.chat, chatcrypt.chats TO chatcrypt_admin;
-- What the view does about them asks for the right of a writer as well.
GRANT UPDATE (participants) ON chatcrypt.chats TO chatcrypt_admin;

GRANT SELECT ON chatcrypt.key_event, chatcrypt.event_seal TO chatcrypt_auditor;
GRANT SELECT (kms_key, kcv, sealed, created_at) ON chatcrypt.event_chain TO chatcrypt_auditor, chatcrypt_admin;

-- The feed of a search engine outside: ids, and no text.  How far it is behind, also for who takes it.
GRANT SELECT ON chatcrypt.search_feed, chatcrypt.search_feed_chat, chatcrypt.search_feed_status TO chatcrypt_auditor, chatcrypt_admin, chatcrypt_feeder;
GRANT SELECT (chat_id, mode, feed) ON chatcrypt.search_policy TO chatcrypt_feeder;

-- How things are, for who looks after them.
GRANT SELECT ON chatcrypt.kms_status, chatcrypt.kms_calls, chatcrypt.kms_latency, chatcrypt.kms_worker, chatcrypt.kms_waits, chatcrypt.cache_status, chatcrypt.progress,
	chatcrypt.maintenance_status, chatcrypt.key_state, chatcrypt.tenant_state, chatcrypt.health TO chatcrypt_auditor, chatcrypt_admin;

-- Functions and procedures, by name: every overload of it.
DO $$
DECLARE
	grants CONSTANT jsonb := '{
		"chatcrypt_writer": ["create_chat", "create_chats", "warm_keys", "encrypt", "put_message", "put_messages", "new_message_id", "default_expiry",
							 "add_participant", "remove_participant", "set_participants", "my_chats", "act_as",
							 "accept_wire_message",
							 "put_attachment", "begin_attachment", "put_attachment_part", "finish_attachment",
							 "attachment_progress", "delete_attachment", "encrypt_attachment", "ensure_attachment_key"],
		"chatcrypt_reader": ["decrypt", "decrypt_bytea", "try_decrypt", "search", "search_tokens", "my_chats", "act_as",
							 "wire_message", "message_wire", "conversation_key",
							 "read_attachment", "read_attachment_part", "attachment_metadata", "decrypt_attachment"],
		"chatcrypt_keyholder": ["conversation_key"],
		"chatcrypt_admin": ["create_tenant", "rotate_chat", "due_for_rotation", "rotate_due",
							"rewrap", "move_key", "kms_key_usage", "verify_keys", "import_dek", "import_conversation_keys", "shred_chat", "shred_tenant",
							"register_envelopes", "unregister_envelopes", "reseal", "try_reseal", "reencrypt_chat", "reencrypt_due",
							"purge_unused_deks", "purge_chat", "apply_retention", "delete_chat", "delete_messages_of",
							"check_envelope", "check_message", "verify_chat", "verify_all", "kms_check", "doctor",
							"read_kms_status", "read_kms_calls", "read_kms_latency", "read_kms_worker", "read_kms_waits", "read_cache_status",
							"set_search", "set_tenant_search", "reindex_search", "resend_search_feed",
							"run_maintenance", "seal_events", "reapply_shreds", "move_event_key", "note_progress", "read_progress",
							"read_maintenance_status", "read_key_state", "read_tenant_state", "read_health"],
		"chatcrypt_feeder": ["drain_search_feed", "ack_search_feed", "nack_search_feed"],
		"chatcrypt_auditor": ["doctor", "read_kms_status", "read_kms_calls", "read_kms_latency", "read_kms_worker", "read_kms_waits", "read_cache_status", "read_progress",
							  "read_maintenance_status", "read_key_state", "read_tenant_state", "read_health",
							  "verify_events", "check_envelope", "check_message", "verify_chat", "verify_all",
							  "verify_keys", "kms_check", "kms_key_usage", "due_for_rotation"]
	}';
	everyone CONSTANT text[] := ARRAY['id', 'any_id', 'any_id_in', 'any_id_out', 'number_of', 'dek_version', 'is_sealed', 'is_key_uri', 'row_aad', 'kms_key_version', 'message_body',
									  'current_actor', 'may_see', 'may_change', 'visible_chats', 'wire_envelope'];
	one record;
BEGIN
	FOR one IN
		SELECT holder, f.oid::regprocedure AS signature
		FROM jsonb_each(grants) AS g (holder, names), jsonb_array_elements_text(names) AS n (name)
		JOIN pg_proc AS f ON f.proname = n.name AND f.pronamespace = 'chatcrypt'::regnamespace
		UNION ALL
		SELECT 'chatcrypt_writer, chatcrypt_reader, chatcrypt_admin, chatcrypt_auditor, chatcrypt_keyholder', f.oid::regprocedure
		FROM pg_proc AS f WHERE f.proname = ANY (everyone) AND f.pronamespace = 'chatcrypt'::regnamespace
	LOOP
		EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO %s', one.signature, one.holder);
	END LOOP;
END
$$;
