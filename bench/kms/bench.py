"""How long a change of KMS keys takes; called by ./run."""

import argparse
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "sql"))

from openbao import OpenBao  # noqa: E402
from server import Server  # noqa: E402

VAULT = "vault:transit/bench"
OTHER = "vault:transit/other"

# One request of each kind, as large as chatcrypt makes them.
WRAPPED, PLAIN = 240, 128
SECONDS = 3
CONNECTIONS = (1, 2, 4)


def say(text):
    print(f"-- {text}", file=sys.stderr, flush=True)


class Bench:
    def __init__(self, options):
        self.keys = options.keys
        self.bao = OpenBao(options.bao, os.path.join(options.home, "bao"))
        self.bao.make_key("bench")
        self.bao.make_key("other")
        self.server = Server(options.bin, options.home, options.sockets)
        self.server.restart(chatcrypt__vault_addr=self.bao.address, chatcrypt__vault_ca_file=self.bao.ca_file,
                            chatcrypt__vault_token_file=self.bao.token_file, chatcrypt__default_kms_key=VAULT,
                            chatcrypt__kms_timeout="60s", synchronous_commit="on")
        self.session = self.server.session("postgres")
        self.session.run("CREATE EXTENSION chatcrypt")
        self.results = {}

    def load(self):
        say(f"{self.keys} chats")
        for first in range(1, self.keys + 1, 10_000):
            last = min(first + 9_999, self.keys)
            self.session.run(f"SELECT chatcrypt.create_chats(array_agg(n)) FROM generate_series({first}::bigint, {last}) AS n")
        self.session.run("VACUUM ANALYZE chatcrypt.dek; CHECKPOINT")

    def calls(self):
        return int(self.session.value("SELECT coalesce(sum(calls), 0) FROM chatcrypt.kms_status WHERE kms_key LIKE 'vault:%'"))

    def limits(self):
        """The KMS by itself, with the best of several numbers of connections for each operation."""
        best = {}
        for verb, size in (("rewrap", WRAPPED), ("decrypt", WRAPPED), ("encrypt", PLAIN)):
            best[verb] = max(self.bao.rate(verb, "bench", size, connections, SECONDS) for connections in CONNECTIONS)
        return best

    def measure(self, name, sql, expected, limit):
        """limit: keys a second of the KMS alone, for the same operations one after the other."""
        before = self.calls()
        start = time.perf_counter()
        rows = self.session.run(sql)
        seconds = time.perf_counter() - start
        if rows != expected:
            raise RuntimeError(f"{sql}: {rows[:3]}, not {expected}")
        rate = self.keys / seconds
        self.results.setdefault(name, []).append((seconds, rate, self.calls() - before, limit, rate / limit))
        say(f"{name}: {seconds:.1f} s, {rate:.0f} keys/s, KMS alone {limit:.0f}, {self.results[name][-1][2]} calls")

    def round(self):
        limits = self.limits()
        say(", ".join(f"{verb} {rate:.0f}/s" for verb, rate in limits.items()))

        def after_each_other(*verbs):
            return 1 / sum(1 / limits[verb] for verb in verbs)

        done = [[str(self.keys), "0"]]
        self.bao.rotate_key("bench")
        self.measure("`rewrap`", f"CALL chatcrypt.rewrap(kms_key => '{VAULT}')", done, after_each_other("rewrap", "decrypt"))
        self.session.run("VACUUM chatcrypt.dek")
        self.measure("`verify_keys`", "SELECT * FROM chatcrypt.verify_keys()", [], limits["decrypt"])
        warnings = "SET client_min_messages = error; "
        self.measure("`move_kms_key`, Vault to Vault", f"{warnings}CALL chatcrypt.move_kms_key('{VAULT}', '{OTHER}')", done,
                     after_each_other("decrypt", "encrypt", "decrypt"))
        self.session.run("VACUUM chatcrypt.dek")
        self.measure("`move_kms_key`, Vault to a key file", f"{warnings}CALL chatcrypt.move_kms_key('{OTHER}', 'local:main')", done,
                     limits["decrypt"])
        self.session.run("VACUUM chatcrypt.dek")
        self.measure("`move_kms_key`, a key file to Vault", f"{warnings}CALL chatcrypt.move_kms_key('local:main', '{VAULT}')", done,
                     after_each_other("encrypt", "decrypt"))
        self.session.run("VACUUM chatcrypt.dek")

    def report(self):
        print(f"| {self.keys:,} data keys | seconds | keys a second | the KMS alone | of that | calls |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
        for name, runs in self.results.items():
            seconds, rate, calls, limit, share = (statistics.median(column) for column in zip(*runs))
            print(f"| {name} | {seconds:.1f} | {rate:,.0f} | {limit:,.0f} | {share:.0%} | {calls:,.0f} |")

    def close(self):
        self.session.close()
        self.server.stop()
        self.bao.stop()


def main():
    parser = argparse.ArgumentParser()
    for name in ("bin", "home", "sockets", "bao"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    bench = Bench(options)
    try:
        bench.load()
        for _ in range(options.rounds):
            bench.round()
        bench.report()
    finally:
        bench.close()


if __name__ == "__main__":
    main()
