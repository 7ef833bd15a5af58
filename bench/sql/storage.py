"""What a message of 130 bytes takes on disk: plain, sealed, and sealed by pgcrypto."""

import load
from measure import say

BODY = 130
PGCRYPTO = f"INSERT INTO bench.pgp_stored ({load.GIVEN}) SELECT " \
    + load.COLUMNS.format(body="pgp_sym_encrypt(body, 'a passphrase', 's2k-mode=0')") + " FROM bench.source ORDER BY n"
STORED = {
    "plain": ("bench.plain", "body"),
    "chatcrypt": ("chatcrypt.sealed_message", "encrypted_message"),
    "pgcrypto": ("bench.pgp_stored", "body"),
}


def run(bench):
    rows = bench.messages // 10
    say(f"storage: {rows} messages of {BODY} bytes")
    database = "storage"
    result = {"rows": rows, "body": BODY}
    with load.open_database(bench.server, database, bench.module) as admin, \
            bench.server.session(database, "app") as app:
        admin.run(load.TABLE.format(name="pgp_stored", type="bytea", owner="app"))
        load.make_chats(app, bench.chats)
        load.make_source(admin, bench.chats, rows, BODY)
        for sql in (load.FILL["plain"], load.FILL["view"], PGCRYPTO):
            app.run(sql)
        load.settle(admin)
        for name, (table, column) in STORED.items():
            total, heap, value = admin.run(
                f"SELECT pg_total_relation_size('{table}'), pg_relation_size('{table}'), "
                f"(SELECT avg(pg_column_size({column})) FROM {table})")[0]
            result[name] = {"row": int(total) / rows, "heap": int(heap) / rows, "value": float(value)}
            say(f"    {name}: {result[name]}")
    with bench.server.session("postgres") as admin:
        admin.run(f"DROP DATABASE {database}")
    for name in ("chatcrypt", "pgcrypto"):
        result[f"{name}_to_plain"] = result[name]["row"] / result["plain"]["row"]
    return result
