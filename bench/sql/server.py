"""A private server, with sessions and runs of pgbench on it."""

import os
import re
import subprocess
import tempfile
import time

APP = "app"

# The settings of every run.  Background work that would hit one case and not the next is off;
# what a write costs (WAL, fsync, full pages) is as PostgreSQL ships it.
BASE_SETTINGS = {
    "fsync": "on",
    "shared_buffers": "2GB",
    "maintenance_work_mem": "512MB",
    "work_mem": "64MB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "synchronous_commit": "off",
}


class Failed(Exception):
    pass


def on_cpu(pid):
    """The seconds of processor time that the process has used."""
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as stat:
        return int(stat.read().split()[0]) / 1e9


class Session:
    """One psql that stays connected, so that no time includes the start of a client."""

    MARK = "-- done --"

    def __init__(self, server, database, user):
        self.psql = subprocess.Popen(
            [server.program("psql"), "-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=0",
             "-d", database, "-U", user],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, env=server.environment, bufsize=1)

    def run(self, sql):
        """Rows, each a list of texts."""
        self.psql.stdin.write(f"{sql}\n;\n\\echo '{self.MARK}'\n")
        self.psql.stdin.flush()
        lines = []
        for line in self.psql.stdout:
            line = line.rstrip("\n")
            if line == self.MARK:
                break
            lines.append(line)
        else:
            raise Failed("the session ended: " + "\n".join(lines))
        for line in lines:
            if re.match(r"(psql:.*)?(ERROR|FATAL|PANIC): ", line):
                raise Failed("\n".join(lines) + "\n" + sql[:2000])
        return [line.split("\t") for line in lines]

    def value(self, sql):
        rows = self.run(sql)
        if len(rows) != 1:
            raise Failed(f"expected one row, not {rows[:5]}: {sql[:500]}")
        return rows[0][0]

    def seconds(self, sql, expect=None):
        """How long the statement takes; its one value must equal expect, where that is given."""
        start = time.perf_counter()
        rows = self.run(sql)
        taken = time.perf_counter() - start
        if expect is not None and rows != [[str(expect)]]:
            raise Failed(f"expected {expect}, not {rows[:5]}: {sql[:500]}")
        return taken

    def cpu_seconds(self, sql, expect=None):
        """How long the backend computes: for statements that neither write nor wait.

        Other load on the machine can keep a process from running, but is not in this time.
        """
        pid = self.value("SELECT pg_backend_pid()")
        before = on_cpu(pid)
        self.seconds(sql, expect)
        return on_cpu(pid) - before

    def close(self):
        self.psql.stdin.close()
        self.psql.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Server:
    def __init__(self, bin_folder, home, sockets):
        self.bin_folder = bin_folder
        self.data = os.path.join(home, "data")
        self.log = os.path.join(home, "log")
        self.sockets = sockets
        self.environment = dict(os.environ, PGHOST=sockets, PGOPTIONS="")

    def program(self, name):
        return os.path.join(self.bin_folder, name)

    def restart(self, **settings):
        """Restarts, which empties the key cache.  In names of settings '__' stands for '.'."""
        self.stop()
        path = os.path.join(self.data, "postgresql.auto.conf")
        with open(path, "w", encoding="utf-8") as conf:
            for name, value in {**BASE_SETTINGS, **settings}.items():
                conf.write(f"{name.replace('__', '.')} = '{value}'\n")
        self.pg_ctl("start", "--wait", f"--log={self.log}", "--options", f"-k '{self.sockets}'")

    def stop(self):
        if os.path.exists(os.path.join(self.data, "postmaster.pid")):
            self.pg_ctl("stop", "--wait", "--mode=fast")

    def pg_ctl(self, action, *options):
        done = subprocess.run([self.program("pg_ctl"), action, "--silent", f"--pgdata={self.data}", *options],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              text=True, check=False, close_fds=True)
        if done.returncode != 0:
            with open(self.log, encoding="utf-8", errors="replace") as log:
                raise Failed(f"pg_ctl {action}: {done.stderr}\n" + "".join(log.readlines()[-20:]))

    def session(self, database, user="postgres"):
        return Session(self, database, user)

    def pgbench(self, database, script, *, user=APP, clients=1, transactions,
                protocol="simple", connect=False, define=None, options=""):
        """Transactions a second; the time to connect counts only with connect, once for each."""
        with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
            file.write(script)
            file.flush()
            command = [self.program("pgbench"), "--no-vacuum", f"--client={clients}", f"--jobs={clients}",
                       f"--transactions={transactions}", f"--protocol={protocol}", f"--file={file.name}", f"--username={user}"]
            if connect:
                command.append("--connect")
            command += [f"--define={name}={value}" for name, value in (define or {}).items()]
            done = subprocess.run(command + [database], env=dict(self.environment, PGOPTIONS=options),
                                  capture_output=True, text=True, check=False)
        found = re.search(r"^tps = ([0-9.]+) \(", done.stdout, re.M)
        if done.returncode != 0 or not found or "ERROR" in done.stderr:
            raise Failed(f"pgbench: {done.stderr}{done.stdout}\n{script}")
        return float(found.group(1))
