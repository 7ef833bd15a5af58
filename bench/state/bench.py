"""What a monitor and doctor() cost; see ./run, which calls this."""

import argparse
import os
import re
import signal
import sys

from measure import interleave, median, say
from server import Failed, Server

VIEWS = ("kms_status", "kms_worker", "cache_status", "key_state", "tenant_state", "health", "progress", "maintenance_status")
QUERIES = os.path.join(os.path.dirname(__file__), "..", "..", "monitoring", "queries.yml")
TENANTS = 50
ROLES = 100
MOST_MS = 100


def scrape():
    """The queries in postgres_exporter's file: indented blocks below "query: |"."""
    with open(QUERIES, encoding="utf-8") as file:
        found = re.findall(r"^  query: \|\n((?:    .*\n)+)", file.read(), re.M)
    if len(found) < 5:
        raise Failed("queries.yml has no queries")
    return found


def set_up(server, name, chats):
    """Chats of many tenants with one message each, a tenth of whose keys were rotated."""
    with server.session("postgres") as session:
        session.run(f"CREATE DATABASE {name}")
    admin = server.session(name)
    admin.run("SET client_min_messages = warning; CREATE EXTENSION chatcrypt")
    admin.run(f"SELECT chatcrypt.create_tenant('tenant-' || n) FROM generate_series(1, {TENANTS}) AS n")
    admin.run(f"SELECT chatcrypt.create_chats(array_agg(n), tenant => 'tenant-' || 1 + n % {TENANTS}) "
              f"FROM generate_series(1::bigint, {chats}) AS n GROUP BY n % {TENANTS}")
    admin.run("INSERT INTO chatcrypt.messages (chat_id, body) "
              f"SELECT chatcrypt.to_uuid(n), 'body' FROM generate_series(1::bigint, {chats}) AS n")
    admin.run("UPDATE chatcrypt.tenant SET rotate_after = '90 days'")
    admin.run(f"CALL chatcrypt.rotate_due(max_messages => 1, max_chats => {chats // 10})")
    admin.run("SELECT chatcrypt.seal_events(100000)")
    admin.run("VACUUM (ANALYZE)")
    return admin


def milliseconds(admin, sql):
    """Times of the backend alone, at the second call, since a monitor stays connected."""
    admin.run(sql)
    return 1000 * admin.cpu_seconds(sql)


def measure(admin, rounds):
    cases = {view: (lambda view=view: milliseconds(admin, f"SELECT * FROM chatcrypt.{view}")) for view in VIEWS}
    cases["all of queries.yml"] = lambda: sum(milliseconds(admin, query) for query in scrape())
    cases["doctor()"] = lambda: milliseconds(admin, "SELECT * FROM chatcrypt.doctor()")
    return {name: median(taken) for name, taken in interleave(cases, rounds).items()}


def check(admin, chats):
    """Checks that the queries measured what they should: no result is empty."""
    counted = admin.run("SELECT (SELECT sum(data_keys) FROM chatcrypt.key_state), (SELECT sum(chats) FROM chatcrypt.tenant_state), "
                        "(SELECT count(*) > 5 FROM chatcrypt.doctor())")
    if counted != [[str(chats + chats // 10), str(chats), "t"]]:
        raise Failed(f"the views count {counted}")


def report(taken):
    print("| milliseconds of processor time, with | " + " | ".join(f"{chats:,} chats" for chats in taken) + " |")
    print("| --- |" + " ---: |" * len(taken))
    for name in next(iter(taken.values())):
        shown = name if name.startswith("all") else f"`{name}`"
        print(f"| {shown} | " + " | ".join(f"{times[name]:.1f}" for times in taken.values()) + " |")


def main():
    parser = argparse.ArgumentParser()
    for name in ("bin", "home", "sockets"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    server = Server(options.bin, options.home, options.sockets)
    taken = {}
    try:
        server.restart()
        with server.session("postgres") as session:
            session.run("".join(f"CREATE ROLE app_{n} LOGIN; " for n in range(ROLES)))
        for chats in (1000,) if options.quick else (10_000, 100_000):
            say(f"{chats:,} chats")
            with set_up(server, f"chats_{chats}", chats) as admin:
                check(admin, chats)
                taken[chats] = measure(admin, 1 if options.quick else 7)
        if not options.quick:
            report(taken)
            slow = [f"{name} {taken[100_000][name]:.0f} ms" for name in ("all of queries.yml", "doctor()")
                    if taken[100_000][name] > MOST_MS]
            if slow:
                raise Failed(f"more than {MOST_MS} ms: {', '.join(slow)}")
    except Failed as failure:
        sys.exit(f"bench: {failure}")
    finally:
        server.stop()


if __name__ == "__main__":
    main()
