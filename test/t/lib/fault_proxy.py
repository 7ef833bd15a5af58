#!/usr/bin/python3
"""A TLS proxy between chatcrypt's KMS worker and an OpenBao or Vault, that injects faults on request.

    fault_proxy.py --upstream https://127.0.0.1:8200 --upstream-ca FILE --folder FOLDER

It listens on a free port of 127.0.0.1 with TLS, and on another one for control without, and
prints one line of JSON when it is ready:

    {"port": 41234, "control": 41235, "ca": "FOLDER/ca.pem"}

It ends when its standard input ends, so that it cannot outlive the test that started it.

CONTROL, all bodies JSON (Chatcrypt::FaultProxy in Perl wraps it):

  POST /fault        adds a rule and answers {"rule": N}.  The first rule that matches a request
                     and has not been used up is applied; without one a request is passed on.
      path           regular expression for the path of the request; all where absent
      skip           requests that match and are let through first; 0
      times          requests that it applies to after that; without end where absent
      delay_ms       waits so long first; alone, or with a fault
      fault          one of:
        status       answers by itself: code, retry_after (text of the header), body
        reset        takes the request, then resets the connection
        close        takes the request, then closes the connection without an answer
        hang         takes the request and never answers
        half         passes the request on; sends half of the answer's body, then closes
        garbage      answers 200 with body, or else JSON that breaks off
        endless      answers 200 with a body that never ends
        oversized    answers 200 with a Content-Length of `bytes`, and sends as many
        redirect     answers 307 with Location: location
        wrong_key    passes on; replaces every plaintext of the answer by another key
        shuffle      passes on; turns batch_results by one place
        drop_item    passes on; leaves out the last of batch_results
        item_error   passes on; item `item` of batch_results becomes {"error": error}
  POST /clear        forgets all rules
  POST /certificate  {"name": N} for connections from now on; those that are open are closed
        good         of this proxy's authority, for localhost and 127.0.0.1
        other_name   of the authority, for another host
        expired      of the authority, and out of date
        self_signed  right name, nobody's authority
        other_ca     right name, of another authority: FOLDER/other-ca.pem
      ending       good for another 2 days
      ending_authority   good for 30, of an authority between that is good for another 3
        tls1_1       good, and that version of TLS alone; tls1_2 likewise
  POST /listen       {"how": H}
        accept       as usual
        refuse       nothing listens: connection refused.  Open connections are reset.
        silent       connections are taken, and no TLS handshake ever happens
  GET  /counts       what arrived since the start or the last POST /reset:
      requests       {"POST /v1/transit/decrypt/chat": 3, ...}
      items          items of batch_input (1 for a request without), by the same names
      answers        {"200": 7, "reset": 1, ...}: what was sent, faults by their own names
      connections    TLS connections that came to a handshake
      handshakes_failed
      concurrent     the most requests under way at once
      endless_bytes  what the faults `endless` and `oversized` got rid of
      times          arrival of each request, in seconds since the reset
      repeated_headers   headers that a request had more than once, with the number of such requests
  POST /reset        sets the counts to nought

Tokens and bodies are passed on and kept nowhere.
"""
import argparse
import base64
import datetime
import http.client
import ipaddress
import json
import os
import re
import select
import socket
import ssl
import struct
import sys
import threading
import time
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade",
              "proxy-authorization", "proxy-connection", "host", "content-length", "accept-encoding"}
REQUEST_MAX = 16 * 1024 * 1024
ENDLESS_MAX = 256 * 1024 * 1024


# Certificates -------------------------------------------------------------------------

def make_certificate(name, key, issuer, issuer_key, hosts, days=30, authority=False):
    now = datetime.datetime.now(datetime.timezone.utc)
    since = now - datetime.timedelta(days=60)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (x509.CertificateBuilder()
               .subject_name(subject).issuer_name(issuer or subject)
               .public_key(key.public_key()).serial_number(x509.random_serial_number())
               .not_valid_before(since).not_valid_after(now + datetime.timedelta(days=days))
               .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True))
    builder = builder.add_extension(
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    if authority:
        builder = builder.add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True,
                          content_commitment=False, key_encipherment=False, data_encipherment=False,
                          key_agreement=False, encipher_only=False, decipher_only=False), critical=True)
    else:
        names = [x509.IPAddress(ipaddress.ip_address(h)) if h[0].isdigit() else x509.DNSName(h)
                 for h in hosts]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def write_pem(path, certificate, key=None):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(certificate.public_bytes(serialization.Encoding.PEM))
        if key is not None:
            out.write(key.private_bytes(serialization.Encoding.PEM,
                                        serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))


def make_authority(name, path):
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = make_certificate(name, key, None, key, [], authority=True)
    write_pem(path, certificate)
    return certificate, key


def make_contexts(folder):
    """Writes the certificates of the authorities into FOLDER; returns a server context for each name of certificate."""
    ca, ca_key = make_authority("chatcrypt test authority", os.path.join(folder, "ca.pem"))
    other, other_key = make_authority("another authority", os.path.join(folder, "other-ca.pem"))

    between_key = ec.generate_private_key(ec.SECP256R1())
    between = make_certificate("an authority between", between_key, ca.subject, ca_key, [], 3, authority=True)

    local = ["localhost", "127.0.0.1"]
    contexts = {}
    for name, hosts, days, issuer, issuer_key in (("good", local, 30, ca, ca_key),
                                                  ("other_name", ["vault.example"], 30, ca, ca_key),
                                                  ("expired", local, -1, ca, ca_key),
                                                  ("ending", local, 2, ca, ca_key),
                                                  ("ending_authority", local, 30, between, between_key),
                                                  ("self_signed", local, 30, None, None),
                                                  ("other_ca", local, 30, other, other_key)):
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = make_certificate(hosts[0], key, issuer and issuer.subject,
                                       issuer_key or key, hosts, days)
        path = os.path.join(folder, name + ".pem")
        write_pem(path, certificate, key)
        if issuer is between:
            with open(path, "ab") as out:
                out.write(between.public_bytes(serialization.Encoding.PEM))
        contexts[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        contexts[name].minimum_version = ssl.TLSVersion.TLSv1_2
        contexts[name].load_cert_chain(path)
        if name == "good":
            contexts["tls1_1"], contexts["tls1_2"] = old_tls(path, "TLSv1_1"), old_tls(path, "TLSv1_2")
    return contexts


def old_tls(path, version):
    """A context for one version alone, with whatever ciphers and signatures that needs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.load_cert_chain(path)
    return context


# State that control changes and connections read --------------------------------------

class Rule:
    def __init__(self, number, spec):
        unknown = set(spec) - {"path", "skip", "times", "delay_ms", "fault", "code", "retry_after", "body",
                               "bytes", "location", "item", "error"}
        if unknown:
            raise ValueError("unknown: " + ", ".join(sorted(unknown)))
        if spec.get("fault") not in (None,) + tuple(FAULTS):
            raise ValueError("no such fault: %s" % spec["fault"])
        self.number = number
        self.spec = spec
        self.path = re.compile(spec.get("path", ""))
        self.skip = spec.get("skip", 0)
        self.left = spec.get("times")

    def take(self, path):
        """Does the rule apply to this request?  Counts the request if so."""
        if not self.path.search(path) or self.left == 0:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.left is not None:
            self.left -= 1
        return True


class State:
    def __init__(self, contexts):
        self.lock = threading.Lock()
        self.contexts = contexts
        self.certificate = "good"
        self.rules = []
        self.rule_number = 0
        self.open = set()
        self.under_way = 0
        self.reset_counts()

    def reset_counts(self):
        self.started = time.monotonic()
        self.counts = {"requests": {}, "items": {}, "answers": {}, "connections": 0,
                       "handshakes_failed": 0, "concurrent": 0, "endless_bytes": 0, "times": [],
                       "repeated_headers": {}}

    def add(self, group, name, number=1):
        with self.lock:
            self.counts[group][name] = self.counts[group].get(name, 0) + number

    def bump(self, name, number=1):
        with self.lock:
            self.counts[name] += number

    def arrived(self, what, items):
        with self.lock:
            self.under_way += 1
            self.counts["concurrent"] = max(self.counts["concurrent"], self.under_way)
            self.counts["times"].append(round(time.monotonic() - self.started, 4))
        self.add("requests", what)
        self.add("items", what, items)

    def left(self):
        with self.lock:
            self.under_way -= 1

    def rule_for(self, path):
        with self.lock:
            for rule in self.rules:
                if rule.take(path):
                    return rule
        return None


# The proxy ----------------------------------------------------------------------------

class Gone(Exception):
    """The connection was ended on purpose."""


def batch_size(body):
    try:
        return max(1, len(json.loads(body)["batch_input"]))
    except (ValueError, KeyError, TypeError):
        return 1


def reset_socket(sock):
    """Closes with a linger of zero, which sends a reset; the TLS layer must not speak first."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
    close_socket(sock, socket.SHUT_RD)


def close_socket(sock, how=socket.SHUT_RDWR):
    try:
        if how is not None:
            sock.shutdown(how)
    except OSError:
        pass
    try:
        sock.close()
    except OSError:
        pass


def wait_for_peer(sock):
    """Reads until the peer goes away, and throws away what it sends."""
    try:
        while sock.recv(4096):
            pass
    except OSError:
        pass


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def setup(self):
        super().setup()
        self.upstream = None

    def finish(self):
        if self.upstream:
            self.upstream.close()
        try:
            super().finish()
        except (OSError, ValueError):
            pass

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.relay()

    do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_GET
    do_LIST = do_GET

    def relay(self):
        state = self.server.state
        length = int(self.headers.get("Content-Length", 0))
        if length > REQUEST_MAX:
            raise ValueError("request too long")
        body = self.rfile.read(length)
        path = urlsplit(self.path).path
        state.arrived("%s %s" % (self.command, path), batch_size(body))
        names = [name.lower() for name in self.headers.keys()]
        for name in {name for name in names if names.count(name) > 1}:
            state.add("repeated_headers", name)
        try:
            rule = state.rule_for(path)
            spec = rule.spec if rule else {}
            if spec.get("delay_ms"):
                time.sleep(spec["delay_ms"] / 1000.0)
            FAULTS.get(spec.get("fault"), pass_on)(self, spec, body)
        except Gone:
            self.close_connection = True
        except (OSError, http.client.HTTPException):
            state.add("answers", "broken")
            self.close_connection = True
        finally:
            state.left()

    def ask_upstream(self, body):
        """(status, headers, body) of the real server, over a connection that is kept."""
        headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP_BY_HOP}
        for attempt in (1, 2):
            if self.upstream is None:
                self.upstream = self.server.connect_upstream()
            try:
                self.upstream.request(self.command, self.path, body if body else None, headers)
                reply = self.upstream.getresponse()
                content = reply.read()
                return (reply.status,
                        [(k, v) for k, v in reply.getheaders() if k.lower() not in HOP_BY_HOP], content)
            except (http.client.RemoteDisconnected, ConnectionError):
                self.upstream.close()
                self.upstream = None
                if attempt == 2:
                    raise

    def answer(self, status, headers, body, length=None, label=None):
        self.server.state.add("answers", label or str(status))
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()


JSON_TYPE = [("Content-Type", "application/json")]


def pass_on(handler, spec, body):
    handler.answer(*handler.ask_upstream(body))


def fault_status(handler, spec, body):
    headers = list(JSON_TYPE)
    if "retry_after" in spec:
        headers.append(("Retry-After", str(spec["retry_after"])))
    text = spec.get("body", '{"errors":["told to by the test"]}')
    handler.answer(spec["code"], headers, text.encode())


def fault_reset(handler, spec, body):
    handler.server.state.add("answers", "reset")
    reset_socket(handler.connection)
    raise Gone


def fault_close(handler, spec, body):
    handler.server.state.add("answers", "close")
    raise Gone


def fault_hang(handler, spec, body):
    handler.server.state.add("answers", "hang")
    wait_for_peer(handler.connection)
    raise Gone


def fault_half(handler, spec, body):
    status, headers, content = handler.ask_upstream(body)
    handler.answer(status, headers, content[:len(content) // 2], len(content), "half")
    raise Gone


def fault_garbage(handler, spec, body):
    text = spec.get("body", '{"data":{"batch_results":[{"plaintext":"AAAA')
    handler.answer(200, JSON_TYPE, text.encode(), label="garbage")


def pour(handler, wanted):
    piece = b'{"data":{"x":"' + b"A" * 65522
    piece += b"A" * (65536 - len(piece))
    sent = 0
    try:
        while sent < wanted:
            part = piece[:min(len(piece), wanted - sent)]
            handler.wfile.write(part)
            handler.wfile.flush()
            sent += len(part)
    finally:
        handler.server.state.bump("endless_bytes", sent)


def fault_endless(handler, spec, body):
    handler.server.state.add("answers", "endless")
    handler.send_response_only(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Connection", "close")
    handler.end_headers()
    pour(handler, ENDLESS_MAX)
    raise Gone


def fault_oversized(handler, spec, body):
    wanted = spec.get("bytes", 8 * 1024 * 1024)
    handler.answer(200, JSON_TYPE, b"", wanted, "oversized")
    pour(handler, wanted)


def fault_redirect(handler, spec, body):
    handler.answer(307, JSON_TYPE + [("Location", spec["location"])], b"{}")


def results_of(reply):
    """The items of a Transit reply, one or many."""
    data = reply.get("data") or {}
    return data["batch_results"] if "batch_results" in data else [data]


def altered(label, change):
    """A fault that passes the request on and changes the JSON of the reply."""
    def fault(handler, spec, body):
        status, headers, content = handler.ask_upstream(body)
        reply = json.loads(content)
        harm = bool(reply.get("data"))      # Transit answers 400 with data where one item failed
        if harm:
            change(reply, spec)
            content = json.dumps(reply).encode()
        handler.answer(status, headers, content, label=label if harm else None)
    return fault


def change_keys(reply, spec):
    for item in results_of(reply):
        if item.get("plaintext"):
            item["plaintext"] = base64.b64encode(os.urandom(32)).decode()


def change_order(reply, spec):
    results = results_of(reply)
    results.append(results.pop(0))


def change_length(reply, spec):
    results_of(reply).pop()


def change_item(reply, spec):
    results_of(reply)[spec["item"]] = {"error": spec.get("error", "told to by the test")}


FAULTS = {
    "status": fault_status, "reset": fault_reset, "close": fault_close, "hang": fault_hang,
    "half": fault_half, "garbage": fault_garbage, "endless": fault_endless,
    "oversized": fault_oversized, "redirect": fault_redirect,
    "wrong_key": altered("wrong_key", change_keys), "shuffle": altered("shuffle", change_order),
    "drop_item": altered("drop_item", change_length), "item_error": altered("item_error", change_item),
}


class Proxy:
    """Accepts connections; a thread for each."""

    def __init__(self, state, upstream, upstream_ca):
        self.state = state
        self.upstream = urlsplit(upstream)
        self.upstream_context = ssl.create_default_context(cafile=upstream_ca)
        self.how = "accept"
        self.how_lock = threading.Lock()
        self.listener = self.bind(0)
        self.port = self.listener.getsockname()[1]
        self.accepting = self.start_accepting()

    @staticmethod
    def bind(port):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(256)
        return listener

    def start_accepting(self):
        thread = threading.Thread(target=self.accept_all, args=(self.listener,), daemon=True)
        thread.start()
        return thread

    def connect_upstream(self):
        return http.client.HTTPSConnection(self.upstream.hostname, self.upstream.port,
                                           context=self.upstream_context, timeout=60)

    def listen(self, how):
        if how not in ("accept", "refuse", "silent"):
            raise ValueError("no such way: %s" % how)
        with self.how_lock:
            if how == "refuse" and self.listener:
                listener, self.listener = self.listener, None
                close_socket(listener)      # the shutdown wakes accept(), which holds the port open
                self.accepting.join(10)
            if how != "refuse" and not self.listener:
                self.listener = self.bind(self.port)
                self.accepting = self.start_accepting()
            self.how = how
        if how != "accept":
            self.drop_connections()

    def drop_connections(self):
        with self.state.lock:
            connections = list(self.state.open)
        for sock in connections:
            reset_socket(sock)

    def accept_all(self, listener):
        while True:
            try:
                sock, address = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(sock, address), daemon=True).start()

    def serve(self, sock, address):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.state.lock:
            self.state.open.add(sock)
        try:
            if self.how == "silent":
                wait_for_peer(sock)
                return
            self.serve_tls(sock, address)
        finally:
            with self.state.lock:
                self.state.open.discard(sock)
            close_socket(sock, None)

    def serve_tls(self, sock, address):
        self.state.bump("connections")
        context = self.state.contexts[self.state.certificate]
        try:
            # A dup: the TLS layer detaches the descriptor from the socket that it wraps, and
            # drop_connections() must be able to reach this one.
            tls = context.wrap_socket(sock.dup(), server_side=True)
        except (OSError, ValueError):
            self.state.bump("handshakes_failed")
            return
        try:
            Handler(tls, address, self)
        except (OSError, ValueError):
            pass
        finally:
            close_socket(tls)


# Control ------------------------------------------------------------------------------

class Control(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def reply(self, status, value):
        content = json.dumps(value).encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != "/counts":
            return self.reply(404, {"error": "no such page"})
        with self.server.state.lock:
            counts = json.loads(json.dumps(self.server.state.counts))
        self.reply(200, counts)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            command = getattr(self, "post_" + self.path.lstrip("/"), None)
            if command is None:
                return self.reply(404, {"error": "no such command"})
            self.reply(200, command(json.loads(body or b"{}")) or {})
        except (ValueError, KeyError, re.error) as error:
            self.reply(400, {"error": str(error)})

    def post_fault(self, spec):
        state = self.server.state
        with state.lock:
            state.rule_number += 1
            state.rules.append(Rule(state.rule_number, spec))
            return {"rule": state.rule_number}

    def post_clear(self, spec):
        with self.server.state.lock:
            self.server.state.rules = []

    def post_certificate(self, spec):
        if spec["name"] not in self.server.state.contexts:
            raise ValueError("no such certificate: %s" % spec["name"])
        self.server.state.certificate = spec["name"]
        self.server.proxy.drop_connections()

    def post_listen(self, spec):
        self.server.proxy.listen(spec["how"])

    def post_reset(self, spec):
        with self.server.state.lock:
            self.server.state.reset_counts()


def main():
    parser = argparse.ArgumentParser(description="a TLS proxy that does harm on request")
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--upstream-ca", required=True)
    parser.add_argument("--folder", required=True)
    options = parser.parse_args()

    os.makedirs(options.folder, mode=0o700, exist_ok=True)
    state = State(make_contexts(options.folder))
    proxy = Proxy(state, options.upstream, options.upstream_ca)
    control = ThreadingHTTPServer(("127.0.0.1", 0), Control)
    control.daemon_threads = True
    control.state = state
    control.proxy = proxy
    threading.Thread(target=control.serve_forever, daemon=True).start()
    print(json.dumps({"port": proxy.port, "control": control.server_address[1],
                      "ca": os.path.join(options.folder, "ca.pem")}), flush=True)

    while True:
        select.select([sys.stdin], [], [])
        if not os.read(sys.stdin.fileno(), 4096):
            return


if __name__ == "__main__":
    main()
