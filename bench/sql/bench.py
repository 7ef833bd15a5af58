"""Runs the groups of measurements and keeps their numbers; called by ./run."""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys

import bulk
import keys
import load
import report
import rows
import scale
import scan
import storage
from measure import say
from server import BASE_SETTINGS, Failed, Server

GROUPS = {"bulk": bulk, "scan": scan, "rows": rows, "keys": keys, "storage": storage, "scale": scale}


class Bench:
    """The settings and the server that every group uses."""

    main = "bench"

    def __init__(self, options):
        self.quick = options.quick
        self.build = options.build
        self.home = options.home
        self.module = os.path.join(options.build, "bench_sql.so")
        self.server = Server(options.bin, options.home, options.sockets)
        self.messages = options.messages or (50_000 if self.quick else 1_000_000)
        self.chats = 1000
        self.cold = 2000 if self.quick else 10_000
        self.sizes = [1000, 4000] if self.quick else [1000, 100_000, 1_000_000]
        self.rounds = 1 if self.quick else 7
        # Many short turns: other load on the machine then affects all cases alike.
        self.turns = 1 if self.quick else 21
        self.turn = 100 if self.quick else 4000
        # The cache has room for the keys of all databases that exist at the same time.
        self.settings = {"chatcrypt__cache_size": 20_000 if self.quick else 1_200_000}


def command(*words):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def cpu():
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        names = [line.split(":", 1)[1].strip() for line in info if line.startswith("model name")]
    return names[0] if names else platform.machine()


def memory_gb():
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)


def machine(bench):
    with bench.server.session("postgres") as admin:
        version = admin.value("SELECT version()")
    return {
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "memory_gb": memory_gb(),
        "kernel": f"{platform.system()} {platform.release()}",
        "postgres": version,
        "openssl": command("openssl", "version"),
        "load": os.getloadavg()[0],
        "settings": {**BASE_SETTINGS, **{name.replace("__", "."): str(value) for name, value in bench.settings.items()}},
    }


def open_main(bench):
    """The database that all groups but storage and scale use."""
    say(f"{bench.chats} chats and {bench.messages} messages to write")
    with load.open_database(bench.server, bench.main, bench.module) as admin, \
            bench.server.session(bench.main, "app") as app:
        load.make_chats(app, bench.chats)
        load.make_source(admin, bench.chats, bench.messages)


def fill_main(bench):
    with bench.server.session(bench.main) as admin, bench.server.session(bench.main, "app") as app:
        for sql in load.FILL.values():
            app.run(sql)
        load.settle(admin)


def measure(bench, groups, numbers):
    bench.server.restart(**bench.settings)
    try:
        numbers["machine"] = machine(bench)
        numbers["body"] = load.BODY
        if set(groups) - {"storage", "scale"}:
            open_main(bench)
            if "bulk" not in groups:
                fill_main(bench)
        for name in groups:
            numbers[name] = GROUPS[name].run(bench)
            keep(numbers, bench)
    finally:
        bench.server.stop()


def keep(numbers, bench):
    path = os.path.join(bench.numbers, "numbers.json")
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(numbers, file, indent=1)
    os.replace(path + ".new", path)


def last_numbers(folder):
    try:
        with open(os.path.join(folder, "numbers.json"), encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def parse_options():
    parser = argparse.ArgumentParser()
    for name in ("bin", "home", "sockets", "build", "numbers"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--messages", type=int)
    parser.add_argument("--only", default=",".join(GROUPS))
    options = parser.parse_args()
    options.only = options.only.split(",")
    for name in options.only:
        if name not in GROUPS:
            parser.error(f"no group is called {name}: {' '.join(GROUPS)}")
    return options


def main():
    options = parse_options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    bench = Bench(options)
    bench.numbers = options.numbers
    numbers = last_numbers(options.numbers)
    try:
        if not options.report:
            measure(bench, [name for name in GROUPS if name in options.only], numbers)
    except Failed as failure:
        sys.exit(f"bench: {failure}")
    report.write(numbers, options.numbers)
    say(f"report in {options.numbers}")


if __name__ == "__main__":
    main()
