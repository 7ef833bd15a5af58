"""Databases with chats and messages, and the statements that fill tables.

The tables of schema bench stand for what an application had without chatcrypt.  They have
the columns and indexes of chatcrypt.sealed_message, the body where that has encrypted_message, and
neither its constraint nor its row-level security.  All writing and reading that is timed is
done by role app, a member of chatcrypt_writer and chatcrypt_reader, never by a superuser.
"""

from measure import say
from server import APP

BODY = 128
BATCH = 10000

ROLES = f"""
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{APP}') THEN
        CREATE ROLE {APP} LOGIN IN ROLE chatcrypt_writer, chatcrypt_reader;
    END IF;
END $$
"""

TABLE = """
CREATE TABLE bench.{name} (
    message_id uuid PRIMARY KEY,
    chat_id uuid NOT NULL,
    sender text,
    body {type},
    dek_version integer,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz
);
CREATE INDEX {name}_by_chat ON bench.{name} (chat_id, created_at);
ALTER TABLE bench.{name} OWNER TO {owner};
"""

# For reads: what the view chatcrypt.messages would be over a plain table.
PLAIN_VIEW = f"""
CREATE VIEW bench.plain_messages AS
    SELECT * FROM bench.plain WHERE expires_at IS NULL OR expires_at > now();
ALTER VIEW bench.plain_messages OWNER TO {APP};
"""

# A message's id rises with its time, as a UUIDv7 does; the order of chats is random.
SOURCE = """
CREATE UNLOGGED TABLE bench.source AS
    SELECT n, chatcrypt.to_uuid(n) AS message_id,
           chatcrypt.to_uuid(1 + (hashint8extended(n, 0) & 9223372036854775807) % {chats}) AS chat_id,
           'user-' || n % 500 AS sender,
           left(md5(n::text) || md5((n + 1)::text) || md5((n + 2)::text) || md5((n + 3)::text) || md5((n + 4)::text),
                {body}) AS body,
           timestamptz '2025-01-01' + n * interval '1 second' AS created_at
    FROM generate_series(1, {messages}) AS n;
"""

COLUMNS = "message_id, chat_id, sender, {body}, created_at"
GIVEN = COLUMNS.format(body="body")

# INSERT ... SELECT of the whole source, by the name of what is measured.
FILL = {
    "plain": f"INSERT INTO bench.plain ({GIVEN}) SELECT {GIVEN} FROM bench.source ORDER BY n",
    "function": f"INSERT INTO bench.sealed ({GIVEN}) SELECT "
                + COLUMNS.format(body="chatcrypt.encrypt(chat_id, message_id, body)")
                + " FROM bench.source ORDER BY n",
    "view": f"INSERT INTO chatcrypt.messages ({GIVEN}) SELECT {GIVEN} FROM bench.source ORDER BY n",
}

TABLES = {"plain": "bench.plain", "function": "bench.sealed", "view": "chatcrypt.sealed_message"}


def open_database(server, database, module):
    """A superuser's session in a new database that has everything but data."""
    with server.session("postgres") as session:
        session.run(f"CREATE DATABASE {database}")
    admin = server.session(database)
    admin.run("SET client_min_messages = warning; CREATE EXTENSION chatcrypt; CREATE EXTENSION pgcrypto")
    admin.run(ROLES)
    admin.run(f"CREATE SCHEMA bench; GRANT ALL ON SCHEMA bench TO {APP}")
    for result, name in (("text", "copy"), ("bytea", "copy_bytea")):
        admin.run(f"CREATE FUNCTION bench.{name}(uuid, uuid, bytea) RETURNS {result} LANGUAGE c "
                  f"STABLE PARALLEL SAFE COST 50 AS '{module}', 'bench_copy'")
    for name, kind in (("plain", "text"), ("sealed", "bytea")):
        admin.run(TABLE.format(name=name, type=kind, owner=APP))
    admin.run("ALTER TABLE bench.sealed ALTER COLUMN body SET STORAGE EXTERNAL")
    admin.run(PLAIN_VIEW)
    return admin


def make_chats(app, chats):
    """The seconds that it took."""
    taken = 0.0
    for first in range(1, chats + 1, BATCH):
        last = min(first + BATCH - 1, chats)
        taken += app.seconds(f"SELECT chatcrypt.create_chats(ARRAY(SELECT generate_series({first}::bigint, {last})))",
                             expect=last - first + 1)
    say(f"    {chats} chats made in {taken:.1f} s")
    return taken


def make_source(admin, chats, messages, body=BODY):
    admin.run("DROP TABLE IF EXISTS bench.source")
    admin.run(SOURCE.format(chats=chats, messages=messages, body=body))
    admin.run(f"GRANT SELECT ON bench.source TO {APP}; VACUUM ANALYZE bench.source")


def empty(admin, name):
    admin.run(f"TRUNCATE {TABLES[name]}; CHECKPOINT")


def settle(admin):
    """Does what autovacuum would have done before the first read."""
    admin.run("VACUUM (FREEZE, ANALYZE)")
    admin.run("CHECKPOINT")


def warm(app, chats):
    """The seconds that it took; all keys are in the key cache afterwards if it has room."""
    return sum(app.seconds(f"SELECT count(reason) FROM chatcrypt.warm_keys(ARRAY(SELECT "
                           f"generate_series({first}::bigint, {min(first + BATCH - 1, chats)})))", expect=0)
               for first in range(1, chats + 1, BATCH))
