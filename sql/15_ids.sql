-- The type of ids that functions take.  The tables have uuids; an application may number its chats
-- and messages instead, or send its ids as text, as drivers do that send parameters without a type.
-- Like regclass for relations, one type accepts all of these by implicit casts, so that there is
-- one function of each name instead of one for each combination of types.

CREATE TYPE chatcrypt.any_id;

CREATE FUNCTION chatcrypt_internal.any_id_in(cstring)
	RETURNS chatcrypt.any_id LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_any_id_in';
COMMENT ON FUNCTION chatcrypt_internal.any_id_in(cstring) IS 'Input of the type any_id.';

CREATE FUNCTION chatcrypt_internal.any_id_out(chatcrypt.any_id)
	RETURNS cstring LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_any_id_out';
COMMENT ON FUNCTION chatcrypt_internal.any_id_out(chatcrypt.any_id) IS 'Output of the type any_id.';

CREATE FUNCTION chatcrypt_internal.any_id_recv(internal)
	RETURNS chatcrypt.any_id LANGUAGE internal STRICT IMMUTABLE PARALLEL SAFE AS 'uuid_recv';
COMMENT ON FUNCTION chatcrypt_internal.any_id_recv(internal) IS
	'Binary input of the type any_id: a uuid''s.';

CREATE FUNCTION chatcrypt_internal.any_id_send(chatcrypt.any_id)
	RETURNS bytea LANGUAGE internal STRICT IMMUTABLE PARALLEL SAFE AS 'uuid_send';
COMMENT ON FUNCTION chatcrypt_internal.any_id_send(chatcrypt.any_id) IS
	'Binary output of the type any_id: a uuid''s.';

-- The type is in the category of strings, so that a parameter or literal without a type is one id,
-- and not an array of ids, if there is a function for each.
CREATE TYPE chatcrypt.any_id (
	INPUT = chatcrypt_internal.any_id_in,
	OUTPUT = chatcrypt_internal.any_id_out,
	RECEIVE = chatcrypt_internal.any_id_recv,
	SEND = chatcrypt_internal.any_id_send,
	LIKE = pg_catalog.uuid,
	CATEGORY = 'S'
);
COMMENT ON TYPE chatcrypt.any_id IS
	'The id of a chat, a message or a file, as arguments have it: a uuid, a bigint, or the text of '
	'either. Not for columns: keep ids there as uuid or bigint.';

-- LEAKPROOF, because it cannot fail.  A condition with this function can use an index in spite of a
-- policy or a security barrier; otherwise every message would be decrypted before the condition is
-- checked.
CREATE FUNCTION chatcrypt.to_uuid(number bigint)
	RETURNS uuid LANGUAGE c STRICT IMMUTABLE LEAKPROOF PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_to_uuid';
COMMENT ON FUNCTION chatcrypt.to_uuid(bigint) IS
	'Returns the uuid that stands for a bigint id, in id space 0.';

CREATE FUNCTION chatcrypt.to_uuid(number bigint, space bigint)
	RETURNS uuid LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_to_uuid_in_space';
COMMENT ON FUNCTION chatcrypt.to_uuid(bigint, bigint) IS
	'Returns the uuid that stands for a bigint id in an id space. Applications that share a '
	'database and number their chats from 1 use different spaces, from 0 to 2^62 - 1.';

CREATE FUNCTION chatcrypt.number_of(id uuid)
	RETURNS bigint LANGUAGE c STRICT IMMUTABLE LEAKPROOF PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_number_of';
COMMENT ON FUNCTION chatcrypt.number_of(uuid) IS
	'Returns the bigint id that a uuid stands for in id space 0, or NULL for any other uuid.';

CREATE FUNCTION chatcrypt.number_of(id uuid, space bigint)
	RETURNS bigint LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_number_in_space';
COMMENT ON FUNCTION chatcrypt.number_of(uuid, bigint) IS
	'Returns the bigint id that a uuid stands for in the given id space, or NULL for any other '
	'uuid.';

-- The cast does not use to_uuid(), whose result is a uuid, because pg_upgrade creates this cast
-- before the one from uuid.
CREATE FUNCTION chatcrypt_internal.any_id(number bigint)
	RETURNS chatcrypt.any_id LANGUAGE c STRICT IMMUTABLE LEAKPROOF PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_to_uuid';
COMMENT ON FUNCTION chatcrypt_internal.any_id(bigint) IS 'Cast of a bigint to any_id.';

CREATE FUNCTION chatcrypt_internal.any_id(number integer)
	RETURNS chatcrypt.any_id LANGUAGE c STRICT IMMUTABLE LEAKPROOF PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_any_id_integer';
COMMENT ON FUNCTION chatcrypt_internal.any_id(integer) IS 'Cast of an integer to any_id.';

CREATE FUNCTION chatcrypt_internal.any_id(number smallint)
	RETURNS chatcrypt.any_id LANGUAGE c STRICT IMMUTABLE LEAKPROOF PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'chatcrypt_any_id_smallint';
COMMENT ON FUNCTION chatcrypt_internal.any_id(smallint) IS 'Cast of a smallint to any_id.';

CREATE CAST (uuid AS chatcrypt.any_id) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (chatcrypt.any_id AS uuid) WITHOUT FUNCTION;
CREATE CAST (bigint AS chatcrypt.any_id) WITH FUNCTION chatcrypt_internal.any_id(bigint) AS IMPLICIT;
CREATE CAST (integer AS chatcrypt.any_id) WITH FUNCTION chatcrypt_internal.any_id(integer) AS IMPLICIT;
CREATE CAST (smallint AS chatcrypt.any_id) WITH FUNCTION chatcrypt_internal.any_id(smallint) AS IMPLICIT;
CREATE CAST (text AS chatcrypt.any_id) WITH INOUT AS IMPLICIT;
CREATE CAST (varchar AS chatcrypt.any_id) WITH INOUT AS IMPLICIT;
