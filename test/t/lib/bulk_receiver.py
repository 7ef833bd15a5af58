#!/usr/bin/env python3
"""A receiver of the _bulk API that is stricter than the search engines it stands for.

usage: bulk_receiver.py PORT_FILE

Applies index and delete with external versions as Elasticsearch and OpenSearch do: a version that
is not above the last one of the document, deleted ones included, is a conflict.  A request whose
form is wrong changes nothing.

	POST /_bulk[?filter_path=errors,items.*._id,items.*.status]
	GET  /_state    documents, counters, and what was wrong with requests
	POST /_faults   {"reject": N, "mute": N}: every Nth item is answered with 429 and not applied,
	                every Nth request is applied and its connection closed without an answer
"""
import json
import os
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ACTION_FIELDS = {"_index", "_id", "version", "version_type"}


class Wrong(Exception):
    pass


def no_duplicates(pairs):
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise Wrong("a field comes twice")
    return dict(pairs)


def parse_object(line):
    try:
        value = json.loads(line.decode("utf-8"), object_pairs_hook=no_duplicates)
    except ValueError as error:
        raise Wrong(f"not JSON: {error}")
    if not isinstance(value, dict):
        raise Wrong("not an object")
    return value


def parse_action(line):
    action = parse_object(line)
    if len(action) != 1 or next(iter(action)) not in ("index", "delete"):
        raise Wrong("an action line has index or delete, and nothing else")
    verb, fields = next(iter(action.items()))
    if not isinstance(fields, dict) or set(fields) != ACTION_FIELDS:
        raise Wrong(f"an action has {sorted(ACTION_FIELDS)}")
    if fields["version_type"] != "external" or type(fields["version"]) is not int or fields["version"] < 1:
        raise Wrong("versions are external, and numbers")
    if not fields["_index"] or not fields["_id"]:
        raise Wrong("no index or no id")
    return verb, fields


def parse_bulk(body):
    """[(verb, fields, document or None)], or Wrong."""
    if not body.endswith(b"\n"):
        raise Wrong("The bulk request must be terminated by a newline")
    lines = iter(body[:-1].split(b"\n"))
    actions = []
    for line in lines:
        verb, fields = parse_action(line)
        document = None
        if verb == "index":
            line = next(lines, None)
            if line is None:
                raise Wrong("an index action without a document")
            document = parse_object(line)
            if document.get("message_id") != fields["_id"]:
                raise Wrong("a document of another message")
        actions.append((verb, fields, document))
    return actions


class Index:
    def __init__(self):
        self.lock = threading.Lock()
        self.versions = {}
        self.documents = {}
        self.counts = dict(requests=0, items=0, conflicts=0, rejected=0, muted=0)
        self.wrong = []
        self.faults = dict(reject=0, mute=0)

    def due(self, fault, count):
        return self.faults[fault] > 0 and self.counts[count] % self.faults[fault] == 0

    def apply(self, verb, fields, document):
        key = fields["_index"] + "/" + fields["_id"]
        answer = {"_index": fields["_index"], "_id": fields["_id"]}
        self.counts["items"] += 1
        if self.due("reject", "items"):
            self.counts["rejected"] += 1
            return {verb: {**answer, "status": 429, "error": {"type": "rejected_execution_exception"}}}
        if self.versions.get(key, 0) >= fields["version"]:
            self.counts["conflicts"] += 1
            return {verb: {**answer, "status": 409, "error": {"type": "version_conflict_engine_exception"}}}
        existed = key in self.documents
        self.versions[key] = fields["version"]
        answer["_version"] = fields["version"]
        if verb == "delete":
            self.documents.pop(key, None)
            return {verb: {**answer, "status": 200 if existed else 404, "result": "deleted" if existed else "not_found"}}
        self.documents[key] = document
        return {verb: {**answer, "status": 200 if existed else 201, "result": "updated" if existed else "created"}}

    def bulk(self, body):
        """The reply, and whether it must be withheld."""
        actions = parse_bulk(body)
        self.counts["requests"] += 1
        items = [self.apply(*action) for action in actions]
        mute = self.due("mute", "requests")
        self.counts["muted"] += mute
        return {"took": 1, "errors": any("error" in next(iter(i.values())) for i in items), "items": items}, mute

    def state(self):
        return {"documents": self.documents, "counts": self.counts, "wrong": self.wrong}


index = Index()


def filtered(answer, paths):
    if paths is None:
        return answer
    wanted = {path.split(".")[-1] for path in paths.split(",") if path.startswith("items.*.")}
    return {"errors": answer["errors"],
            "items": [{verb: {k: v for k, v in item.items() if k in wanted}}
                      for each in answer["items"] for verb, item in each.items()]}


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def reply(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        with index.lock:
            self.reply(200, index.state())

    def bulk(self, body, query):
        if self.headers.get("Content-Type") != "application/x-ndjson":
            raise Wrong("Content-Type is not application/x-ndjson")
        answer, mute = index.bulk(body)
        if mute:
            self.close_connection = True
            return
        self.reply(200, filtered(answer, query.get("filter_path", [None])[0]))

    def do_POST(self):
        url = urllib.parse.urlparse(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with index.lock:
            try:
                if url.path == "/_faults":
                    index.faults.update(json.loads(body))
                    self.reply(200, {})
                elif url.path == "/_bulk":
                    self.bulk(body, urllib.parse.parse_qs(url.query))
                else:
                    self.reply(404, {})
            except Wrong as wrong:
                index.wrong.append(str(wrong))
                self.reply(400, {"error": str(wrong), "status": 400})


def main():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with open(sys.argv[1] + ".new", "w", encoding="ascii") as out:
        out.write(str(server.server_address[1]))
    os.rename(sys.argv[1] + ".new", sys.argv[1])
    server.serve_forever()


main()
