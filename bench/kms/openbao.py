"""A private OpenBao or Vault, and how fast it is when it is called directly."""

import base64
import http.client
import json
import os
import socket
import ssl
import subprocess
import threading
import time

ROOT = "chatcrypt-bench-root"
MOUNT = "/v1/transit"


class OpenBao:
    def __init__(self, program, folder):
        os.makedirs(folder, exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.ca_file = os.path.join(folder, "vault-ca.pem")
        self.token_file = os.path.join(folder, "token")
        with open(os.open(self.token_file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
            file.write(ROOT)
        self.log = open(os.path.join(folder, "openbao.log"), "w", encoding="utf-8")
        self.process = subprocess.Popen(
            [program, "server", "-dev", "-dev-tls", f"-dev-tls-cert-dir={folder}", "-dev-no-store-token",
             f"-dev-root-token-id={ROOT}", f"-dev-listen-address=127.0.0.1:{self.port}", "-log-level=error"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=dict(os.environ, HOME=folder))
        self.wait_until_up()
        self.call("POST", "/v1/sys/mounts/transit", {"type": "transit"})

    @property
    def address(self):
        return f"https://127.0.0.1:{self.port}"

    def connect(self):
        context = ssl.create_default_context(cafile=self.ca_file)
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def wait_until_up(self):
        end = time.monotonic() + 30
        while True:
            try:
                self.call("GET", "/v1/sys/health")
                return
            except (OSError, http.client.HTTPException):
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def ask(self, connection, method, path, body=None):
        connection.request(method, path, body, {"X-Vault-Token": ROOT, "Content-Type": "application/json"})
        reply = connection.getresponse()
        text = reply.read()
        if reply.status >= 300:
            raise RuntimeError(f"{path}: {reply.status} {text[:300]!r}")
        return text

    def call(self, method, path, body=None):
        connection = self.connect()
        text = self.ask(connection, method, path, None if body is None else json.dumps(body))
        connection.close()
        return json.loads(text) if text else None

    def make_key(self, name):
        self.call("POST", f"{MOUNT}/keys/{name}", {"derived": True})

    def rotate_key(self, name):
        self.call("POST", f"{MOUNT}/keys/{name}/rotate", {})

    def rate(self, verb, name, size, connections, seconds):
        """Keys a second that it re-wraps, unwraps or wraps, by prepared requests of `size` keys."""
        fields = [{"context": random_base64(), "plaintext": random_base64()} for _ in range(size)]
        if verb != "encrypt":
            made = self.call("POST", f"{MOUNT}/encrypt/{name}", {"batch_input": fields[:120]})["data"]["batch_results"]
            made += self.call("POST", f"{MOUNT}/encrypt/{name}", {"batch_input": fields[120:]})["data"]["batch_results"] \
                if size > 120 else []
            fields = [{"context": field["context"], "ciphertext": result["ciphertext"]}
                      for field, result in zip(fields, made)]
        body = json.dumps({"batch_input": fields})
        counts = [0] * connections
        end = time.perf_counter() + seconds

        def drive(number):
            connection = self.connect()
            while time.perf_counter() < end:
                self.ask(connection, "POST", f"{MOUNT}/{verb}/{name}", body)
                counts[number] += size
            connection.close()

        start = time.perf_counter()
        threads = [threading.Thread(target=drive, args=(number,)) for number in range(connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(counts) / (time.perf_counter() - start)

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()


def random_base64():
    return base64.b64encode(os.urandom(32)).decode()
