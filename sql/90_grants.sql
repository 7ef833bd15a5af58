-- All rights in one place.  Only these roles have any.

REVOKE ALL ON ALL TABLES IN SCHEMA chatcrypt FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA chatcrypt FROM PUBLIC;
REVOKE ALL ON ALL ROUTINES IN SCHEMA chatcrypt, chatcrypt_internal FROM PUBLIC;
GRANT USAGE ON SCHEMA chatcrypt, chatcrypt_internal TO chatcrypt_writer, chatcrypt_reader, chatcrypt_admin, chatcrypt_auditor, chatcrypt_keyholder, chatcrypt_feeder;

-- Writers write, and see everything of a message except its body, of which they see at most the
-- ciphertext.  They have no right to write to the table what the view's trigger and put_message()
-- write.  SELECT ... FOR UPDATE requires UPDATE of a column, and DELETE of the view requires
-- DELETE.
GRANT INSERT, UPDATE, DELETE ON chatcrypt.messages TO chatcrypt_writer;
GRANT DELETE, UPDATE (expires_at) ON chatcrypt.sealed_message TO chatcrypt_writer;
GRANT SELECT (message_id, chat_id, sender, dek_version, created_at, expires_at, chat_number, message_number) ON chatcrypt.messages TO chatcrypt_writer;
GRANT SELECT ON chatcrypt.sealed_message TO chatcrypt_writer;

GRANT SELECT ON chatcrypt.sealed_attachment TO chatcrypt_writer;

-- Readers read messages and files.
GRANT SELECT ON chatcrypt.messages, chatcrypt.wire_messages, chatcrypt.sealed_message TO chatcrypt_reader;
GRANT SELECT ON chatcrypt.attachments, chatcrypt.sealed_attachment, chatcrypt.sealed_attachment_part TO chatcrypt_reader;

-- Auditors see everything about keys except the wrapped keys.
GRANT SELECT ON chatcrypt.deployment, chatcrypt.tenant, chatcrypt.chat, chatcrypt.participant, chatcrypt.chats TO chatcrypt_auditor, chatcrypt_admin;
GRANT SELECT (dek_id, chat_id, purpose, dek_version, state, kms_key, kms_key_version, kcv, valid_from, valid_to, created_at)
	ON chatcrypt.dek TO chatcrypt_auditor, chatcrypt_admin;
GRANT SELECT ON chatcrypt.envelope_column, chatcrypt.protected, chatcrypt.upkeep, chatcrypt.verification_finding, chatcrypt.search_policy TO chatcrypt_auditor, chatcrypt_admin;
GRANT UPDATE (kms_key, rotate_after, rotate_messages, rotate_on_removal, retention, reencrypt_after, attachment_quota) ON chatcrypt.tenant TO chatcrypt_admin;
GRANT UPDATE (external_envelopes, rotate_after, rotate_messages, rotate_on_removal, retention, reencrypt_after, attachment_quota, moderation) ON chatcrypt.chat, chatcrypt.chats TO chatcrypt_admin;
-- An UPDATE of the participants also requires the rights of a writer.
GRANT UPDATE (participants) ON chatcrypt.chats TO chatcrypt_admin;

GRANT SELECT ON chatcrypt.key_event, chatcrypt.event_seal TO chatcrypt_auditor;
GRANT SELECT (kms_key, kcv, sealed, created_at) ON chatcrypt.event_chain TO chatcrypt_auditor, chatcrypt_admin;

-- The feed of an external search engine, which has ids and no text.  Feeders may see its status
-- too.
GRANT SELECT ON chatcrypt.search_feed, chatcrypt.search_feed_chat, chatcrypt.search_feed_status TO chatcrypt_auditor, chatcrypt_admin, chatcrypt_feeder;
GRANT SELECT (chat_id, mode, feed) ON chatcrypt.search_policy TO chatcrypt_feeder;

-- The state of the system, for auditors and administrators.
GRANT SELECT ON chatcrypt.kms_status, chatcrypt.kms_calls, chatcrypt.kms_latency, chatcrypt.kms_worker, chatcrypt.kms_waits, chatcrypt.cache_status, chatcrypt.progress,
	chatcrypt.maintenance_status, chatcrypt.key_state, chatcrypt.tenant_state, chatcrypt.health TO chatcrypt_auditor, chatcrypt_admin;

-- Functions and procedures.

GRANT EXECUTE ON ROUTINE
	chatcrypt.create_chat, chatcrypt.create_chats, chatcrypt.warm_keys,
	chatcrypt.encrypt(chatcrypt.any_id, chatcrypt.any_id, text, bytea),
	chatcrypt.encrypt(chatcrypt.any_id, chatcrypt.any_id, bytea, bytea), chatcrypt.put_message,
	chatcrypt.put_messages, chatcrypt.new_message_id, chatcrypt.default_expiry, chatcrypt.add_participant,
	chatcrypt.remove_participant, chatcrypt.set_participants, chatcrypt.my_chats, chatcrypt.act_as,
	chatcrypt.accept_wire_message, chatcrypt.put_attachment, chatcrypt.begin_attachment,
	chatcrypt.put_attachment_part, chatcrypt.finish_attachment, chatcrypt.attachment_progress,
	chatcrypt.delete_attachment, chatcrypt.encrypt_attachment, chatcrypt.ensure_attachment_key
	TO chatcrypt_writer;

GRANT EXECUTE ON ROUTINE
	chatcrypt.decrypt, chatcrypt.decrypt_bytea, chatcrypt.try_decrypt,
	chatcrypt.search(chatcrypt.any_id[], text, integer, timestamptz, chatcrypt.any_id),
	chatcrypt.search(chatcrypt.any_id, text, integer, timestamptz, chatcrypt.any_id), chatcrypt.search_tokens,
	chatcrypt.my_chats, chatcrypt.act_as, chatcrypt.wire_message, chatcrypt_internal.message_wire,
	chatcrypt.conversation_key, chatcrypt.read_attachment, chatcrypt.read_attachment_part,
	chatcrypt_internal.attachment_metadata, chatcrypt.decrypt_attachment
	TO chatcrypt_reader;

GRANT EXECUTE ON ROUTINE
	chatcrypt.conversation_key
	TO chatcrypt_keyholder;

GRANT EXECUTE ON ROUTINE
	chatcrypt.create_tenant, chatcrypt.rotate_chat, chatcrypt.due_for_rotation, chatcrypt.rotate_due,
	chatcrypt.rewrap, chatcrypt.move_kms_key, chatcrypt.kms_key_usage, chatcrypt.verify_keys, chatcrypt.import_dek,
	chatcrypt.import_conversation_keys, chatcrypt.shred_chat, chatcrypt.shred_tenant, chatcrypt.register_envelopes,
	chatcrypt.unregister_envelopes, chatcrypt.protect, chatcrypt.protect_rows, chatcrypt.unprotect, chatcrypt.verify_protected,
	chatcrypt.reencrypt_envelope, chatcrypt.try_reencrypt_envelope,
	chatcrypt.reencrypt_chat, chatcrypt.reencrypt_due, chatcrypt.purge_unused_keys, chatcrypt.purge_chat_keys,
	chatcrypt.apply_retention, chatcrypt.delete_chat, chatcrypt.delete_messages_of, chatcrypt.check_envelope,
	chatcrypt.check_message, chatcrypt.verify_chat, chatcrypt.verify_all, chatcrypt.kms_check, chatcrypt.doctor,
	chatcrypt_internal.read_kms_status, chatcrypt_internal.read_kms_calls, chatcrypt_internal.read_kms_latency,
	chatcrypt_internal.read_kms_worker, chatcrypt_internal.read_kms_waits, chatcrypt_internal.read_cache_status,
	chatcrypt.set_search, chatcrypt.set_tenant_search,
	chatcrypt.reindex_search(chatcrypt.any_id, integer, boolean, interval),
	chatcrypt.reindex_search(chatcrypt.any_id, integer, boolean, interval, bigint, bigint, bigint),
	chatcrypt.resend_search_feed(), chatcrypt.resend_search_feed(chatcrypt.any_id), chatcrypt.run_maintenance, chatcrypt.seal_events,
	chatcrypt.reapply_shreds, chatcrypt.move_event_key, chatcrypt.note_progress, chatcrypt_internal.read_progress,
	chatcrypt_internal.read_maintenance_status, chatcrypt_internal.read_key_state,
	chatcrypt_internal.read_tenant_state, chatcrypt_internal.read_health
	TO chatcrypt_admin;

GRANT EXECUTE ON ROUTINE
	chatcrypt.drain_search_feed, chatcrypt.ack_search_feed, chatcrypt.nack_search_feed
	TO chatcrypt_feeder;

GRANT EXECUTE ON ROUTINE
	chatcrypt.doctor, chatcrypt_internal.read_kms_status, chatcrypt_internal.read_kms_calls,
	chatcrypt_internal.read_kms_latency, chatcrypt_internal.read_kms_worker, chatcrypt_internal.read_kms_waits,
	chatcrypt_internal.read_cache_status, chatcrypt_internal.read_progress,
	chatcrypt_internal.read_maintenance_status, chatcrypt_internal.read_key_state,
	chatcrypt_internal.read_tenant_state, chatcrypt_internal.read_health, chatcrypt.verify_events,
	chatcrypt.check_envelope, chatcrypt.check_message, chatcrypt.verify_chat, chatcrypt.verify_all,
	chatcrypt.verify_protected, chatcrypt.verify_keys, chatcrypt.kms_check, chatcrypt.kms_key_usage, chatcrypt.due_for_rotation
	TO chatcrypt_auditor;

-- Functions that every role except chatcrypt_feeder may call.
GRANT EXECUTE ON ROUTINE
	chatcrypt.to_uuid(bigint), chatcrypt.to_uuid(bigint, bigint), chatcrypt_internal.any_id(bigint),
	chatcrypt_internal.any_id(integer), chatcrypt_internal.any_id(smallint), chatcrypt_internal.any_id_in,
	chatcrypt_internal.any_id_out, chatcrypt.number_of(uuid), chatcrypt.number_of(uuid, bigint),
	chatcrypt.dek_version, chatcrypt_internal.is_sealed, chatcrypt_internal.is_kms_key, chatcrypt.row_aad,
	chatcrypt_internal.kms_key_version, chatcrypt_internal.message_body, chatcrypt.current_actor, chatcrypt.may_see,
	chatcrypt.may_change, chatcrypt_internal.visible_chats, chatcrypt.wire_envelope
	TO chatcrypt_writer, chatcrypt_reader, chatcrypt_admin, chatcrypt_auditor, chatcrypt_keyholder;
