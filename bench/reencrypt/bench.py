"""Re-encryption against the same UPDATE with a copying function; see ./run, which calls this."""

import argparse
import signal
import sys

import load
from measure import interleave, median, ratio, say
from server import Failed, Server, on_cpu

COPY = "bench.copy_bytea(chat_id, message_id, encrypted_message)"
UPDATE = f"UPDATE chatcrypt.sealed_message SET encrypted_message = {COPY}"


class Timed:
    """Seconds of the clock and of the backend's processor, from the same run."""

    def __init__(self, session):
        self.session = session
        self.pid = session.value("SELECT pg_backend_pid()")
        self.cpu = {}

    def run(self, name, sql):
        before = on_cpu(self.pid)
        taken = self.session.seconds(sql)
        self.cpu.setdefault(name, []).append(on_cpu(self.pid) - before)
        return taken


def fill(server, module, chats, messages):
    """A warm database in which each chat has a key that was replaced."""
    with load.open_database(server, "bench", module) as admin, server.session("bench", "app") as app:
        load.make_chats(app, chats)
        load.make_source(admin, chats, messages)
        app.run(load.FILL["view"])
        admin.run("DROP TABLE bench.source")


def rotate(admin, chats):
    """Makes every message outdated, and then leaves the table as after a vacuum."""
    admin.run("CALL chatcrypt.rotate_due(max_age => '0')")
    if int(admin.value("SELECT count(*) FROM chatcrypt.dek WHERE state = 'active'")) != chats:
        raise Failed("a chat was not rotated")


def check_moved(admin, messages):
    found = admin.value("SELECT count(*) FROM chatcrypt.sealed_message AS m JOIN chatcrypt.dek AS d "
                        "USING (chat_id, dek_version) WHERE d.state = 'active'")
    if int(found) != messages:
        raise Failed(f"{found} messages are under the newest key of their chat")


def settle(admin):
    admin.run("VACUUM (FREEZE, ANALYZE)")
    admin.run("CHECKPOINT")


def reencryption(server, chats, messages, rounds):
    with server.session("bench") as admin:
        timed = Timed(admin)

        def before(name):
            if name != "copy":
                rotate(admin, chats)
            settle(admin)

        def reencrypt():
            seconds = timed.run("reencrypt", "CALL chatcrypt.reencrypt_due('0')")
            check_moved(admin, messages)
            return seconds

        taken = interleave({"copy": lambda: timed.run("copy", UPDATE), "reencrypt": reencrypt}, rounds, before)
        settle(admin)
    return taken, timed.cpu


def verification(server, rounds):
    with server.session("bench") as admin:
        verify = "CALL chatcrypt.verify_all()"
        cases = {
            "one": lambda: admin.seconds(f"SET max_parallel_workers_per_gather = 0; {verify}"),
            "two": lambda: admin.seconds(f"SET max_parallel_workers_per_gather = 1; {verify}"),
        }
        taken = interleave(cases, rounds)
        if admin.value("SELECT count(*) FROM chatcrypt.verification_finding") != "0":
            raise Failed("not everything opens")
    return taken


def shown(name, seconds, messages, share=""):
    return f"| {name} | {median(seconds):.1f} | {messages / median(seconds):,.0f} | {share} |"


def report(messages, taken, cpu, verified):
    clock = ratio(taken["copy"], taken["reencrypt"])
    processor = ratio(cpu["copy"], cpu["reencrypt"])
    print(f"| {messages:,} messages of {load.BODY} bytes | seconds | messages a second | share |")
    print("| --- | ---: | ---: | ---: |")
    print(shown("`UPDATE` through a function that copies", taken["copy"], messages))
    print(shown("`reencrypt_due`", taken["reencrypt"], messages, f"{clock:.0%} of its rate"))
    print(shown("the processor's time of the `UPDATE`", cpu["copy"], messages))
    print(shown("that of `reencrypt_due`", cpu["reencrypt"], messages, f"{processor:.0%}"))
    print(shown("`verify_all`, one process", verified["one"], messages))
    print(shown("`verify_all`, two processes", verified["two"], messages,
                f"{ratio(verified['one'], verified['two']):.2f} times as fast"))
    if clock < 0.6 and processor < 0.6:
        raise Failed("re-encryption is slower than 60 % of the UPDATE")


def main():
    parser = argparse.ArgumentParser()
    for name in ("bin", "home", "sockets", "module"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    chats, messages, rounds = (100, 50_000, 1) if options.quick else (1000, 1_000_000, 5)
    server = Server(options.bin, options.home, options.sockets)
    try:
        server.restart(chatcrypt__cache_size=20_000, max_parallel_workers_per_gather=1)
        fill(server, options.module, chats, messages)
        say(f"re-encryption of {messages} messages in {chats} chats")
        taken, cpu = reencryption(server, chats, messages, rounds)
        verified = verification(server, rounds)
        if not options.quick:
            report(messages, taken, cpu, verified)
    except Failed as failure:
        sys.exit(f"bench: {failure}")
    finally:
        server.stop()


if __name__ == "__main__":
    main()
