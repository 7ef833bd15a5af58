"""Statements for one row or a few, as most of an application's are, run by pgbench."""

import load
from measure import interleave, median, medians, ratio, say

BODY = "0123456789abcdef" * (load.BODY // 16)
MULTI = 100
PAGE = 50

# All of these statements are given the id, the chat and the time.
VALUES = f"(chatcrypt.to_uuid({{n}}), chatcrypt.to_uuid(:chat), 'user-7', {{body}}, now())"
SEALED = f"chatcrypt.encrypt(chatcrypt.to_uuid(:chat), chatcrypt.to_uuid({{n}}), '{BODY}')"
TARGETS = {
    "plain": ("bench.plain", f"'{BODY}'"),
    "function": ("bench.sealed", SEALED),
    "view": ("chatcrypt.messages", f"'{BODY}'"),
}


def insert_script(target, chats, rows=1):
    table, body = TARGETS[target]
    tuples = []
    for row in range(rows):
        n = ":n" if rows == 1 else f":n + {row}"
        tuples.append(VALUES.format(n=n, body=body.format(n=n)))
    return (f"\\set n :n + {rows}\n\\set chat random(1, {chats})\n"
            f"INSERT INTO {table} ({load.GIVEN}) VALUES {', '.join(tuples)};\n")


class Ids:
    """The first id of each run: no id is used twice, and ids rise as those of UUIDv7 do."""

    def __init__(self, first):
        self.next = first

    def take(self):
        self.next += 10**9
        return self.next


def insert_cases(bench, database, chats, ids, names=("plain", "function", "view"), **options):
    rows = options.pop("rows", 1)
    transactions = options.pop("transactions", bench.turn)
    clients = options.get("clients", 1)

    def case(name):
        script = insert_script(name, chats, rows)
        if clients > 1:
            script = f"\\if :begun = 0\n\\set n :n + :client_id * 100000000\n\\set begun 1\n\\endif\n{script}"
        return lambda: rows * bench.server.pgbench(database, script, transactions=transactions,
                                                   define={"n": ids.take(), "begun": 0}, **options)

    return {name: case(name) for name in names}


def compare(cases, rounds, before=None):
    """Rows or transactions a second, and their ratio to those of the plain table."""
    taken = interleave(cases, rounds, before)
    return {"tps": medians(taken),
            "to_plain": {name: ratio(taken[name], taken["plain"]) for name in taken if name != "plain"}}


POINT = "\\set m random(1, {messages})\nSELECT body FROM {source} WHERE message_id = chatcrypt.to_uuid(:m);\n"
PAGES = ("\\set chat random(1, {chats})\nSELECT message_id, sender, body, created_at FROM {source} "
         f"WHERE chat_id = chatcrypt.to_uuid(:chat) ORDER BY created_at DESC LIMIT {PAGE};\n")
SOURCES = {"plain": "bench.plain_messages", "view": "chatcrypt.messages"}


def read_cases(bench, database, template, messages, chats, **options):
    transactions = options.pop("transactions", bench.turn)

    def case(source):
        script = template.format(source=source, messages=messages, chats=chats)
        return lambda: bench.server.pgbench(database, script, transactions=transactions, **options)

    return {name: case(source) for name, source in SOURCES.items()}


def inserts(bench, ids):
    result = {}
    for protocol in ("simple", "prepared"):
        say(f"  INSERT of one row, one client, asynchronous commit, {protocol} protocol")
        result[f"async_{protocol}"] = compare(
            insert_cases(bench, bench.main, bench.chats, ids, protocol=protocol,
                         options="-c synchronous_commit=off"), bench.turns)
    say("  INSERT of one row, two clients, synchronous commit")
    result["sync"] = compare(
        insert_cases(bench, bench.main, bench.chats, ids, clients=2, transactions=bench.turn // 8,
                     options="-c synchronous_commit=on"),
        bench.turns)
    say(f"  INSERT of {MULTI} rows")
    result["multi"] = compare(
        insert_cases(bench, bench.main, bench.chats, ids, rows=MULTI, transactions=max(1, bench.turn // 20),
                     options="-c synchronous_commit=off"),
        bench.turns)
    return result


def superuser_inserts(bench, ids):
    """The same as a superuser, who bypasses row-level security, to see what that costs."""
    say("  INSERT of one row by a superuser")
    return compare(insert_cases(bench, bench.main, bench.chats, ids, names=("plain", "view"), user="postgres",
                                options="-c synchronous_commit=off"), max(1, bench.turns // 2))


def run(bench):
    ids = Ids(10**15)
    say("rows: a row or a few at a time")
    result = inserts(bench, ids)
    result["superuser"] = superuser_inserts(bench, ids)
    for protocol in ("simple", "prepared"):
        say(f"  point reads and pages, {protocol} protocol")
        for name, template in (("point", POINT), ("page", PAGES)):
            result[f"{name}_{protocol}"] = compare(
                read_cases(bench, bench.main, template, bench.messages, bench.chats, protocol=protocol,
                           transactions=bench.turn // (4 if name == "page" else 1)), bench.turns)
    say("  a new connection for each point read")
    result["connect"] = compare(
        read_cases(bench, bench.main, POINT, bench.messages, bench.chats, connect=True,
                   transactions=max(1, bench.turn // 40)), bench.turns)
    return result
