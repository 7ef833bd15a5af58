"""Reading whole tables: what decrypting adds to a scan, and what other functions take.

All of it is in memory and nothing waits, so a scan's time is the time that its process ran.
"""

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import load
from measure import interleave, median, medians, ratio, say

SCANS = {
    "copy": "SELECT count(bench.copy(chat_id, message_id, encrypted_message)) FROM chatcrypt.sealed_message",
    "decrypt": "SELECT count(chatcrypt_internal.message_body(chat_id, message_id, created_at, sender, encrypted_message)) "
               "FROM chatcrypt.sealed_message",
    "view": "SELECT count(body) FROM chatcrypt.messages",
    "plain": "SELECT count(body) FROM bench.plain_messages",
    "sha256": "SELECT count(sha256(encrypted_message)) FROM chatcrypt.sealed_message",
}
# What takes turns with message_body(), which is decrypt() for a row; sha256 is PostgreSQL's own
# function on the same column, which costs about the same.
DECRYPTING = ("copy", "decrypt", "view", "plain")
PARALLEL_SCANS = ("decrypt", "sha256", "plain")

# The work of an envelope done with pgcrypto: a key for each message, encryption, and a MAC.
# Both keys are constants of the query, so that pgcrypto need not find the chat's key.
KEY = r"'\x{}'::bytea".format("5a" * 32)
MAC_KEY = r"'\x{}'::bytea".format("c3" * 32)
PGCRYPTO_TABLES = f"""
CREATE TABLE bench.pgp AS
    SELECT message_id, chat_id, sender, pgp_sym_encrypt(body, 'a passphrase') AS body, created_at
    FROM bench.source WHERE n <= {{pgp}};
CREATE TABLE bench.hmac_cbc AS
    SELECT message_id, chat_id, salt, iv, box, hmac(salt || iv || box, {MAC_KEY}, 'sha256') AS mac
    FROM (SELECT *, encrypt_iv(convert_to(body, 'UTF8'), hmac(salt || uuid_send(message_id), {KEY}, 'sha256'), iv,
                               'aes') AS box
          FROM (SELECT *, gen_random_bytes(12) AS salt, gen_random_bytes(16) AS iv FROM bench.source
                WHERE n <= {{hmac}} OFFSET 0) AS a OFFSET 0) AS b;
GRANT SELECT ON bench.pgp, bench.hmac_cbc TO app;
"""
PGCRYPTO = {
    "pgp": ("bench.pgp", "body", "SELECT count(pgp_sym_decrypt(body, 'a passphrase')) FROM bench.pgp"),
    "hmac": ("bench.hmac_cbc", "box",
             f"SELECT count(decrypt_iv(box, hmac(salt || uuid_send(message_id), {KEY}, 'sha256'), iv, 'aes')) "
             f"FROM bench.hmac_cbc WHERE mac = hmac(salt || iv || box, {MAC_KEY}, 'sha256')"),
}


def core_open(build, rounds=31):
    """Nanoseconds that the core takes to open 128 bytes, and that the primitives alone take."""
    done = subprocess.run([f"{build}/bench_core", str(rounds), "ratio"], capture_output=True, text=True, check=True)
    found = re.search(r"open of 128 bytes: (\d+) ns; .*compressions: (\d+) ns", done.stdout)
    if not found:
        raise SystemExit("this CPU has no AES for libsodium: " + done.stdout)
    return float(found.group(1)), float(found.group(2))


def decrypting(app, build, messages, rounds):
    """The scan against the same scan that only copies, and the core by itself, in turns."""
    bare = []

    def core():
        opened, primitives = core_open(build)
        bare.append(primitives)
        return opened

    cases = {name: (lambda sql=sql: app.cpu_seconds(sql, expect=messages) * 1e9 / messages)
             for name, sql in SCANS.items() if name in DECRYPTING}
    for run in cases.values():
        run()
    taken = interleave({**cases, "core": core}, rounds)
    added = [d - c for d, c in zip(taken["decrypt"], taken["copy"])]
    return {
        "ns": medians(taken),
        "added_ns": median(added),
        "added_to_core": ratio(added, taken["core"]),
        "core_to_bare": ratio(taken["core"], bare),
        "bare_ns": median(bare),
    }


def against_pgcrypto(admin, app, build, messages, rounds, quick):
    """Each case's time for a row, less that of the same scan that only copies, in turns."""
    rows = {"pgp": 500 if quick else 10000, "hmac": 5000 if quick else 100000}
    admin.run(PGCRYPTO_TABLES.format(**rows))
    admin.run("VACUUM ANALYZE bench.pgp, bench.hmac_cbc")

    def row(sql, count):
        return lambda: app.cpu_seconds(sql, expect=count) * 1e9 / count

    cases = {"chatcrypt": row(SCANS["decrypt"], messages), "chatcrypt copy": row(SCANS["copy"], messages)}
    for name, (table, column, sql) in PGCRYPTO.items():
        cases[name] = row(sql, rows[name])
        cases[f"{name} copy"] = row(f"SELECT count(bench.copy_bytea(chat_id, message_id, {column})) FROM {table}",
                                    rows[name])
    taken = interleave(cases, rounds)
    added = {name: [a - b for a, b in zip(taken[name], taken[f"{name} copy"])] for name in ("chatcrypt", "pgp", "hmac")}
    return {
        "added_ns": medians(added),
        "times": {name: ratio(added[name], added["chatcrypt"]) for name in ("pgp", "hmac")},
    }


PARALLEL = """
SET max_parallel_workers_per_gather = {workers};
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0
"""


def in_parallel(server, database, messages, rounds):
    """Two processes, the leader and one worker, against one process."""
    taken, plans = {}, {}
    for name in PARALLEL_SCANS:
        with server.session(database, "app") as one, server.session(database, "app") as two:
            one.run(PARALLEL.format(workers=0))
            two.run(PARALLEL.format(workers=1))
            plans[name] = "\n".join(line[0] for line in two.run("EXPLAIN " + SCANS[name]))
            if "Workers Planned: 1" not in plans[name]:
                raise SystemExit("no parallel plan:\n" + plans[name])
            cases = {f"{name}, one process": lambda: one.seconds(SCANS[name], expect=messages),
                     f"{name}, two processes": lambda: two.seconds(SCANS[name], expect=messages)}
            taken.update(interleave(cases, rounds))
    return {
        name: {"one_s": median(taken[f"{name}, one process"]), "two_s": median(taken[f"{name}, two processes"]),
               "times": ratio(taken[f"{name}, one process"], taken[f"{name}, two processes"])}
        for name in PARALLEL_SCANS
    }


def side_by_side(server, database, messages, rounds):
    """How long a scan computes beside another that does the same, against a scan alone.

    The ratio is 1 for processes that share nothing: no lock, no counter, no cache line.
    Unlike the time of a parallel scan it is valid also on a machine that has other work to do.
    """
    with server.session(database, "app") as one, server.session(database, "app") as other:

        def beside(sql):
            with ThreadPoolExecutor(1) as at_once:
                company = at_once.submit(other.seconds, sql, messages)
                taken = one.cpu_seconds(sql, messages)
                company.result()
            return taken

        cases = {}
        for name in ("decrypt", "sha256"):
            sql = SCANS[name]
            for session in (one, other):
                session.seconds(sql, messages)
            cases[f"{name}, alone"] = lambda sql=sql: one.cpu_seconds(sql, messages)
            cases[f"{name}, beside another"] = lambda sql=sql: beside(sql)
        taken = interleave(cases, rounds)
    return {name: ratio(taken[f"{name}, beside another"], taken[f"{name}, alone"]) for name in ("decrypt", "sha256")}


def run(bench):
    say("scan: whole tables")
    with bench.server.session(bench.main, "app") as app:
        load.warm(app, bench.chats)
        result = {"messages": bench.messages, "decrypting": decrypting(app, bench.build, bench.messages, bench.rounds)}
        with bench.server.session(bench.main) as admin:
            result["pgcrypto"] = against_pgcrypto(admin, app, bench.build, bench.messages,
                                                  max(1, bench.rounds // 2), bench.quick)
    result["parallel"] = in_parallel(bench.server, bench.main, bench.messages, bench.rounds)
    result["side_by_side"] = side_by_side(bench.server, bench.main, bench.messages, bench.rounds)
    return result
