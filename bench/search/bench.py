"""Search by blind tokens: queries, inserts and storage; see ./run, which calls this."""

import argparse
import random
import signal
import sys

from load import ROLES
from measure import interleave, median, ratio, say
from server import APP, Failed, Server

WORDS = 20
VOCABULARY = 20_000
FIXED_HITS = 10
OFF, ON, RICH = 1, 2, 3			# chats that are written to
FIRST_SEARCHED = 11

# A message is a line of words, whose frequencies are like those of a natural language.  Some
# messages hold two words more: "fixed" in ten messages of each chat, "grows" in one message of a
# hundred, and "often" in one of ten.
FILL = """
INSERT INTO chatcrypt.messages (chat_id, sender, body, created_at)
SELECT chatcrypt.to_uuid({chat}), 'user-7',
       bench.line(n) || CASE WHEN n % {step} = 0 THEN ' fixedone fixedtwo' ELSE '' END
                     || CASE WHEN n % 100 = 0 THEN ' growsone growstwo' ELSE '' END
                     || CASE WHEN n % 10 = 0 THEN ' oftenone oftentwo' ELSE '' END,
       timestamptz '2025-01-01' + n * interval '1 second'
FROM generate_series(1, {messages}) AS n
"""

# Word k of n is drawn with a probability of 1 / (k ln n).
LINE = f"""
CREATE FUNCTION bench.line(n bigint) RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT string_agg(substr(md5(k::text), 1, 3 + k % 7), ' ')
    FROM (SELECT floor({VOCABULARY} ^ random())::int AS k FROM generate_series(1, {WORDS} + 0 * n)) AS drawn
$$
"""

QUERIES = {
    "two words in 10 messages": "fixedone fixedtwo",
    "two words in 1 % of messages": "growsone growstwo",
    "two words in 10 % of messages": "oftenone oftentwo",
    "a frequent word and one in 10": "fixedone c4ca",
    "a phrase in 10": '"fixedone fixedtwo"',
    "a word in 10, and not another": "fixedone -growsone",
    "no message": "fixedone nothing",
}


def set_up(admin):
    admin.run("SET client_min_messages = warning; CREATE EXTENSION chatcrypt")
    admin.run(ROLES)
    admin.run(f"CREATE SCHEMA bench; GRANT USAGE ON SCHEMA bench TO {APP}")
    admin.run(LINE)


def make_chat(admin, chat, options):
    admin.run(f"SELECT chatcrypt.create_chat({chat})")
    if options is not None:
        admin.run(f"SELECT chatcrypt.set_search({chat}, 'blind'{options})")
        admin.run(f"CALL chatcrypt.reindex_search({chat})")


def settle(admin):
    admin.run("VACUUM (ANALYZE)")
    admin.run("CHECKPOINT")


def fill(admin, sizes):
    for number, messages in enumerate(sizes):
        chat = FIRST_SEARCHED + number
        make_chat(admin, chat, "")
        admin.run(FILL.format(chat=chat, messages=messages, step=messages // FIXED_HITS))
        say(f"    a chat of {messages} messages")
    settle(admin)


def queries(server, sizes, repeats):
    """Medians of the processor's milliseconds by query and size, and how many messages each page had."""
    found = {}
    with server.session("bench", APP) as app:
        for name, query in QUERIES.items():
            for number, size in enumerate(sizes):
                sql = f"SELECT count(*) FROM chatcrypt.search({FIRST_SEARCHED + number}, '{query}')"
                rows = app.value(sql)
                found[name, size] = (1000 * median([app.cpu_seconds(sql) for _ in range(repeats)]), int(rows))
            say(f"    {name}: " + ", ".join(f"{found[name, size][0]:.2f} ms" for size in sizes))
    return found


def check(found, sizes):
    for size in sizes:
        if found["two words in 10 messages", size][1] != FIXED_HITS or found["no message", size][1] != 0:
            raise Failed("a query did not find what is there")


def insert_script(chat, lines):
    return "".join(f"INSERT INTO chatcrypt.messages (chat_id, sender, body) VALUES (chatcrypt.to_uuid({chat}), 'user-7', '{line}');\n"
                   for line in lines)


def inserts(server, admin, statements, transactions, rounds, options):
    """Rows a second, with the three chats in turns."""
    lines = [row[0] for row in admin.run(f"SELECT bench.line(n) FROM generate_series(1, {statements}) AS n")]

    def case(chat):
        def run():
            random.shuffle(lines)
            return statements * server.pgbench("bench", insert_script(chat, lines), transactions=transactions,
                                               protocol="prepared", options=options)
        return run

    return interleave({"off": case(OFF), "on": case(ON), "rich": case(RICH)}, rounds)


def sizes_of(admin, chat):
    """Bytes a message: what the messages take with their indexes, and what the tokens take."""
    admin.run("VACUUM FULL chatcrypt.sealed_message, chatcrypt.search_token")
    row = admin.run("SELECT pg_total_relation_size('chatcrypt.sealed_message') / (SELECT count(*) FROM chatcrypt.sealed_message), "
                    "pg_total_relation_size('chatcrypt.search_token') / (SELECT count(*) FROM chatcrypt.search_token)")[0]
    return [int(value) for value in row]


def report_queries(found, sizes):
    print("| query | " + " | ".join(f"{size:,} messages" for size in sizes) + " |")
    print("| --- |" + " ---: |" * len(sizes))
    for name in QUERIES:
        cells = [f"{found[name, size][0]:.2f} ms" for size in sizes]
        print(f"| {name} | " + " | ".join(cells) + " |")


def report_inserts(name, taken):
    cells = [f"{1e6 / median(taken[case]):.0f} us" for case in ("off", "on", "rich")]
    print(f"| {name} | " + " | ".join(cells) + f" | {ratio(taken['off'], taken['on']):.2f} | {ratio(taken['off'], taken['rich']):.2f} |")


def main():
    parser = argparse.ArgumentParser()
    for name in ("bin", "home", "sockets"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sizes, repeats, statements, rounds = ([100, 1000], 3, 50, 1) if options.quick else ([1000, 10_000, 100_000], 300, 1000, 7)
    server = Server(options.bin, options.home, options.sockets)
    try:
        server.restart()
        with server.session("postgres") as session:
            session.run("CREATE DATABASE bench")
        with server.session("bench") as admin:
            set_up(admin)
            say("search: chats")
            fill(admin, sizes)
            say("  queries")
            found = queries(server, sizes, repeats)
            check(found, sizes)
            storage = sizes_of(admin, FIRST_SEARCHED)
            for chat, policy in ((OFF, None), (ON, ""), (RICH, ", prefixes => 2, trigrams => true")):
                make_chat(admin, chat, policy)
            settle(admin)
            say("  INSERT, asynchronous commit")
            lazy = inserts(server, admin, statements, 4, rounds, "-c synchronous_commit=off")
            say("  INSERT, synchronous commit")
            durable = inserts(server, admin, statements // 2, 1, rounds, "-c synchronous_commit=on")
        if not options.quick:
            report_queries(found, sizes)
            print("\n| INSERT of 20 words, prepared | off | words | words, prefixes, trigrams | words against off | all against off |")
            print("| --- | ---: | ---: | ---: | ---: | ---: |")
            report_inserts("asynchronous commit", lazy)
            report_inserts("synchronous commit", durable)
            print(f"\n{storage[0]} bytes a message, and {storage[1]} bytes of tokens")
            if median([found["two words in 10 messages", size][0] for size in sizes[-1:]]) > 5:
                raise Failed("a query in the largest chat takes more than 5 ms")
            if ratio(lazy["off"], lazy["on"]) > 2.5:
                raise Failed("search makes an INSERT more than 2.5 times as slow")
    except Failed as failure:
        sys.exit(f"bench: {failure}")
    finally:
        server.stop()


if __name__ == "__main__":
    main()
