"""Reads test/vectors and asks an implementation for every one of them."""
import hashlib
import json
import pathlib
import uuid

import chatcrypt_formats as cc

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "vectors"

# Which fields of a vector are which of the commands, where the names differ.
RENAMED = {"chat_id": "chat", "dek_version": "version", "message_id": "message",
           "file_id": "file", "deployment_id": "deployment", "bigint": "number", "uuid": "id",
           "blind_token": "token"}

# File: (command that makes, its fields, what it gives), and the same for what opens.
KEYED = ("dek", "chat_id", "dek_version")
FORMATS = {
    "message": (
        ("envelope_seal", KEYED + ("message_id", "salt", "aad", "plaintext"), "envelope"),
        ("envelope_open", KEYED + ("message_id", "aad", "envelope"), "plaintext")),
    "row_aad": (("row_aad", ("created_at", "has_sender", "sender"), "aad"), None),
    "attachment": (
        ("part_seal", KEYED + ("file_id", "part", "last", "aad", "salt", "plaintext"), "sealed"),
        ("part_open", KEYED + ("file_id", "part", "last", "aad", "sealed"), "plaintext")),
    "secretbox": (
        ("secretbox_seal", ("dek", "dek_version", "nonce", "plaintext"), "message"),
        ("secretbox_open", ("dek", "dek_version", "message"), "plaintext")),
    "local": (
        ("local_seal", ("master", "master_version", "context", "salt", "dek"), "wrapped"),
        ("local_open", ("master", "master_version", "context", "wrapped"), "dek")),
    "wrap_context": (
        ("context", ("deployment_id", "chat_id", "purpose", "dek_version"), "context"), None),
    "key_schedule": (("kcv", KEYED, "key_kcv"), None),
    "blind": (("blind", KEYED + ("kind", "token", "bits"), "blind_token"), None),
    "bigint_id": (("id", ("space", "bigint"), "uuid"), ("id_back", ("uuid",), "bigint")),
}
FORMATS["message_aad"] = FORMATS["message"]
TEXT = ("name", "status", "purpose", "kind", "of", "edit")


def value_of(name, value):
    if not isinstance(value, str) or name in TEXT:
        return value
    if name in ("space", "bigint", "created_at"):
        return int(value)
    is_id = name == "uuid" or name.endswith("_id")
    return uuid.UUID(value).bytes if is_id else bytes.fromhex(value)


def load(name):
    content = json.loads((FOLDER / (name + ".json")).read_text())
    return [[{key: value_of(key, value) for key, value in vector.items()}
             for vector in content[part]] for part in ("vectors", "refused")]


def ask(implementation, operation, vector):
    command, fields, output = operation
    answer = implementation.call(
        command, {RENAMED.get(field, field): vector[field] for field in fields})
    output = {"key_kcv": "kcv"}.get(output, RENAMED.get(output, output))
    return answer[output]


def attempt(implementation, operation, vector):
    """What it gives, or the name of the status (a str, which nothing gives)."""
    try:
        return ask(implementation, operation, vector)
    except cc.FormatError as error:
        return error.status


def status_of(implementation, operation, vector):
    answer = attempt(implementation, operation, vector)
    return answer if isinstance(answer, str) else "OK"


def expand(vector):
    """What is long and tells nothing stands in the file as its length."""
    for field in ("plaintext", "aad", "sender"):
        if field + "_len" in vector:
            vector[field] = bytes(i % 251 for i in range(vector[field + "_len"]))
    return vector


def made_well(vector, output, made):
    """Is what was made what the vector says, whole or by its digest?"""
    if output in vector or isinstance(made, str):
        return made == vector.get(output)
    start, end = vector["sealed_start"], vector["sealed_end"]
    return (len(made) == vector["sealed_len"] and made.startswith(start) and made.endswith(end)
            and hashlib.sha256(made).digest() == vector["sealed_sha256"])


def edited(sealed, edit):
    """One of the edits that attachment.json names."""
    (kind, at), = edit.items()
    if kind == "flip":
        return sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1:]
    if kind == "cut":
        return sealed[:at[0]] + sealed[at[1]:]
    assert kind == "swap"
    step, head = cc.CHUNK_LEN + cc.TAG_LEN, cc.PART_HEADER_LEN
    order = {at[0]: at[1], at[1]: at[0]}
    chunks = [sealed[i:i + step] for i in range(head, len(sealed), step)]
    return sealed[:head] + b"".join(chunks[order.get(n, n)] for n in range(len(chunks)))


def shown(answer):
    return answer.hex()[:400] if isinstance(answer, bytes) else answer


def check_made(tap, implementation, name, vectors):
    makes, opens = FORMATS[name]
    for number, vector in enumerate(map(expand, vectors)):
        label = "%s: %s.json %s" % (implementation.name, name, vector.get("name", "#%d" % number))
        made = attempt(implementation, makes, vector)
        tap.check(label + " is made", made_well(vector, makes[2], made), shown(made))
        if opens and not isinstance(made, str):
            vector[makes[2]] = made
            opened = attempt(implementation, opens, vector)
            tap.check(label + " opens", opened == vector[opens[2]], shown(opened))


def check_refused(tap, implementation, name, vectors, refused):
    makes, opens = FORMATS[name]
    by_name = {vector.get("name"): vector for vector in vectors}
    for vector in map(expand, refused):
        if "of" in vector:
            whole = by_name[vector["of"]]
            vector = dict(whole, sealed=edited(whole["sealed"], vector["edit"]),
                          name=vector["name"], status=vector["status"])
        operation = opens if opens and opens[1][-1] in vector else makes
        status = status_of(implementation, operation, vector)
        expected = vector.get("status", "SYNTAX")
        tap.check("%s: %s.json refuses %s" % (implementation.name, name, vector["name"]),
                  status == expected, "%s instead of %s" % (status, expected))


def check_envelope_json(tap, implementation):
    """The known answers that the reference was first held against."""
    content = json.loads((FOLDER / "envelope.json").read_text())
    for number, vector in enumerate(content["vectors"]):
        vector = {key: value_of(key, value) for key, value in vector.items()}
        label = "%s: envelope.json #%d " % (implementation.name, number)
        makes, opens = FORMATS["message"]
        tap.check(label + "is made", attempt(implementation, makes, vector) == vector["envelope"])
        tap.check(label + "opens", attempt(implementation, opens, vector) == vector["plaintext"])
        vector.update(key_kcv=vector["kcv"], kind="w", token=b"hello", bits=64, purpose="data")
        kcv, context, blind = (FORMATS[f][0] for f in ("key_schedule", "wrap_context", "blind"))
        tap.check(label + "kcv", attempt(implementation, kcv, vector) == vector["kcv"])
        tap.check(label + "token",
                  attempt(implementation, blind, vector) == vector["blind_token_word_hello"])
        for purpose, key in (("data", "wrap_context"), ("search", "wrap_context_search")):
            tap.check(label + "context of " + purpose, vector[key] == attempt(
                implementation, context, dict(vector, purpose=purpose)))
    for row in content["bigint_ids"]:
        vector = {"space": 0, "bigint": int(row["bigint"]), "uuid": uuid.UUID(row["uuid"]).bytes}
        makes, reads = FORMATS["bigint_id"]
        made, back = (attempt(implementation, one, vector) for one in (makes, reads))
        tap.check("%s: envelope.json bigint %s" % (implementation.name, row["bigint"]),
                  (made, back) == (vector["uuid"], vector["bigint"]))


def check_all(tap, implementation):
    check_envelope_json(tap, implementation)
    for name in FORMATS:
        vectors, refused = load(name)
        check_made(tap, implementation, name, vectors)
        check_refused(tap, implementation, name, vectors, refused)
