#!/usr/bin/python3
"""A stand-in for a Kubernetes API server: answers TokenReview, and makes such tokens.

    token_review.py --namespace db --account chatdb

Prints one line of JSON when it is ready: {"port": 41234, "token": "..."}; the token is the one
that it calls genuine.  Ends when its standard input ends.
"""
import argparse
import base64
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

UID = "c2b6a1f2-0000-4000-8000-000000000001"


def part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def make_token(namespace, account):
    """The claims of a service account.  Only this server checks the signature."""
    claims = {"iss": "kubernetes/serviceaccount",
              "kubernetes.io/serviceaccount/namespace": namespace,
              "kubernetes.io/serviceaccount/secret.name": account + "-token",
              "kubernetes.io/serviceaccount/service-account.name": account,
              "kubernetes.io/serviceaccount/service-account.uid": UID,
              "sub": "system:serviceaccount:%s:%s" % (namespace, account)}
    signature = base64.urlsafe_b64encode(b"s" * 256).rstrip(b"=").decode()
    return ".".join((part({"alg": "RS256", "typ": "JWT"}), part(claims), signature))


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        genuine = json.loads(body).get("spec", {}).get("token") == self.server.token
        status = {"authenticated": genuine}
        if genuine:
            status["user"] = {
                "username": "system:serviceaccount:%s:%s" % (self.server.namespace, self.server.account),
                "uid": UID, "groups": ["system:serviceaccounts", "system:authenticated"]}
        answer = json.dumps({"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1",
                             "status": status}).encode()
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--account", required=True)
    arguments = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.namespace, server.account = arguments.namespace, arguments.account
    server.token = make_token(server.namespace, server.account)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"port": server.server_port, "token": server.token}), flush=True)
    sys.stdin.read()


main()
