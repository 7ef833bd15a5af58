"""Queries under an actor, and memberships; see ./run, which calls this."""

import argparse
import signal
import sys

from load import ROLES
from measure import interleave, median, ratio, say
from server import APP, Failed, Server

# Bodies are opened and summed up in the server, so that no time includes a client's work.
TAKE = "SELECT sum(length(sender) + length(body))"
UNDER_ACTOR = TAKE + " FROM chatcrypt.messages"
BY_JOIN = TAKE + " FROM chatcrypt.messages JOIN chatcrypt.participant USING (chat_id) WHERE participant = '{actor}'"

# The actor takes part in so many of 1,000 chats.
ACTORS = {"one": 1, "ten": 10, "hundred": 100, "most": 900}
CHATS = 1000


def set_up(admin, messages):
    admin.run("SET client_min_messages = warning; CREATE EXTENSION chatcrypt")
    admin.run(ROLES)
    lists = " || ".join(f"CASE WHEN n <= {count} THEN '[\"{actor}\"]'::jsonb ELSE '[]' END" for actor, count in ACTORS.items())
    admin.run(f"SELECT chatcrypt.create_chats(array_agg(n), participants_each => jsonb_agg({lists})) "
              f"FROM generate_series(1::bigint, {CHATS}) AS n")
    admin.run("INSERT INTO chatcrypt.messages (chat_id, sender, body, created_at) "
              f"SELECT chatcrypt.to_uuid(1 + n % {CHATS}), 'user-7', rpad('body ' || n, 128, 'x'), "
              "timestamptz '2025-01-01' + n * interval '1 second' "
              f"FROM generate_series(1, {messages}) AS n")
    admin.run("VACUUM (ANALYZE)")
    admin.run("CHECKPOINT")


def queries(app, admin, rounds, repeats):
    """By actor: the processor's seconds under it, and by the join as who may see everything."""
    taken = {}
    for actor in ACTORS:
        join = BY_JOIN.format(actor=actor)
        app.run("ROLLBACK")
        app.run(f"BEGIN; SELECT chatcrypt.act_as('{actor}')")
        expected = admin.value(join)
        if app.value(UNDER_ACTOR) != expected:
            raise Failed(f"{actor}: the actor sees other rows than the join has")

        def times(session, sql):
            return lambda: median([session.cpu_seconds(sql, expected) for _ in range(repeats)])

        taken[actor] = interleave({"actor": times(app, UNDER_ACTOR), "join": times(admin, join)}, rounds)
    app.run("ROLLBACK")
    return taken


def memberships(admin, names, rounds):
    """Seconds to write so many memberships of one chat, each set in one statement."""
    admin.run(f"CREATE TABLE names AS SELECT 'member-' || n AS name FROM generate_series(1, {names}) AS n")
    admin.run("CREATE TABLE plain (participant text COLLATE \"C\", chat_id uuid REFERENCES chatcrypt.chat, "
              "added_at timestamptz DEFAULT now(), PRIMARY KEY (participant, chat_id)); CREATE INDEX ON plain (chat_id)")
    number = iter(range(1_000_000, 2_000_000))
    chat = None

    def new_chat(_):
        nonlocal chat
        chat = next(number)
        admin.run(f"SELECT chatcrypt.create_chat({chat})")

    cases = {
        "plain INSERT into a table with the same indexes": "INSERT INTO plain SELECT name, chatcrypt.to_uuid({chat}) FROM names",
        "`set_participants()`": "SELECT chatcrypt.set_participants({chat}, array_agg(name)) FROM names",
        "`create_chat()` with them": "SELECT chatcrypt.create_chat({chat} + 5000000, array_agg(name)) FROM names",
        "as many calls of `add_participant()`": "SELECT count(chatcrypt.add_participant({chat}, name)) FROM names",
    }
    return interleave({name: (lambda sql=sql: admin.seconds(sql.format(chat=chat))) for name, sql in cases.items()}, rounds, new_chat)


def report(taken, members, names):
    print("| the actor takes part in | under the actor | by the join | times |")
    print("| --- | ---: | ---: | ---: |")
    for actor, cases in taken.items():
        times = [1000 * median(cases[case]) for case in ("actor", "join")]
        print(f"| {ACTORS[actor]} of {CHATS:,} chats | {times[0]:.2f} ms | {times[1]:.2f} ms | {ratio(cases['actor'], cases['join']):.2f} |")
    print(f"\n| {names:,} memberships of one chat | seconds |")
    print("| --- | ---: |")
    for name, numbers in members.items():
        print(f"| {name} | {median(numbers):.2f} |")


def main():
    parser = argparse.ArgumentParser()
    for name in ("bin", "home", "sockets"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    messages, rounds, repeats, names = (5000, 1, 3, 200) if options.quick else (200_000, 7, 5, 10_000)
    server = Server(options.bin, options.home, options.sockets)
    try:
        server.restart()
        with server.session("postgres") as session:
            session.run("CREATE DATABASE bench")
        with server.session("bench") as admin:
            say("actor: messages")
            set_up(admin, messages)
            say("  queries")
            with server.session("bench", APP) as app:
                taken = queries(app, admin, rounds, repeats)
            say("  memberships")
            members = memberships(admin, names, 1 if options.quick else 3)
        if not options.quick:
            report(taken, members, names)
            slow = [actor for actor in ACTORS if ratio(taken[actor]["actor"], taken[actor]["join"]) > 1.2]
            if slow:
                raise Failed(f"a query under the actor takes more than 1.2 times the join: {', '.join(slow)}")
    except Failed as failure:
        sys.exit(f"bench: {failure}")
    finally:
        server.stop()


if __name__ == "__main__":
    main()
