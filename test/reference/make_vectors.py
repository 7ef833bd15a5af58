#!/usr/bin/python3
"""Writes test/vectors/*.json from the reference, always the same bytes.

It writes the files that do not exist yet.  A file that exists is never written
again: data of users depends on what it says.  New vectors go into a new file,
with a function of its own in VECTORS.  check_reference.py makes all of them
again and compares.
"""
import hashlib
import json
import pathlib
import uuid

import chatcrypt_formats as cc

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "vectors"
RULE = "byte i of a plaintext given by its length is i mod 251"
MESSAGE = "message envelope"


class Seed:
    """Bytes that look random and are the same in every run."""

    def __init__(self, name):
        self.name, self.count = name, 0

    def take(self, length):
        self.count += 1
        text = "chatcrypt vectors %s %d" % (self.name, self.count)
        return hashlib.shake_256(text.encode()).digest(length)


def ramp(length):
    return bytes(i % 251 for i in range(length))


def plain(vector):
    """A vector as JSON: bytes in hex, ids as uuids."""
    def text(name, value):
        if not isinstance(value, bytes):
            return value
        is_id = name == "uuid" or name.endswith("_id")
        return str(uuid.UUID(bytes=value)) if is_id else value.hex()
    return {name: text(name, value) for name, value in vector.items()}


def spoil(data, at):
    """The same bytes with one bit of one of them turned."""
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


def with_header(data, suite=None, version=None):
    suite = data[:1] if suite is None else bytes([suite])
    return suite + (data[1:5] if version is None else cc.u32(version)) + data[5:]


def refusals(base, field, parts, least):
    """Spoilt copies of base[field] that every format must refuse, as vectors."""
    def refused(name, data, status):
        return dict(base, name=name, status=status, **{field: data})
    good = base[field]
    out = [refused(name + " changed", spoil(good, at), "AUTH") for name, at in parts.items()]
    out += [refused("cut to %d bytes" % n, good[:n], "TRUNCATED") for n in (0, 1, 4, 5, least - 1)]
    out += [refused("suite %d" % n, with_header(good, suite=n), "SUITE") for n in (0, 4, 255)]
    out += [refused("version 0", with_header(good, version=0), "VERSION")]
    out += [refused("version of another key", with_header(good, version=6), "VERSION")]
    return out


def to_open(vector):
    """What one has who opens: not the plaintext, and the salt only in the sealed bytes."""
    return {name: value for name, value in vector.items()
            if name not in ("plaintext", "salt", "nonce")}


def wrong(base, name, status="AUTH", **fields):
    """base opened with something else than it was sealed with."""
    return dict(base, name=name, status=status, **fields)


# --- One function for each file ---------------------------------------------------

def key_schedule():
    seed, vectors = Seed("key schedule"), []
    for version in (1, 2, 1000000000, 2147483647, 4294967295):
        dek, chat_id = seed.take(32), seed.take(16)
        vector = {"dek": dek, "chat_id": chat_id, "dek_version": version, "prk": cc.prk_of(dek)}
        for use in cc.USES:
            vector["key_" + use] = cc.derive(dek, chat_id, version, use)
        vectors.append(vector)
    return "key schedule; key_kcv is the key check value", vectors, [
        wrong({"dek": seed.take(32), "chat_id": seed.take(16)}, "version 0", "VERSION",
              dek_version=0)]


def wrap_context():
    seed, vectors = Seed("wrap context"), []
    for version in (1, 2, 2147483647):
        deployment_id, chat_id = seed.take(16), seed.take(16)
        for purpose in cc.PURPOSES:
            vectors.append({
                "deployment_id": deployment_id, "chat_id": chat_id, "purpose": purpose,
                "dek_version": version,
                "context": cc.wrap_context(deployment_id, chat_id, purpose, version)})
    refused = [wrong({"deployment_id": seed.take(16), "chat_id": seed.take(16),
                      "purpose": "data"}, "version 0", "VERSION", dek_version=0)]
    return "wrap context", vectors, refused


def message_vector(seed, name, plaintext, aad=b"", version=5):
    vector = {"name": name, "dek": seed.take(32), "chat_id": seed.take(16),
              "dek_version": version, "message_id": seed.take(16),
              "salt": seed.take(cc.SALT_LEN), "aad": aad, "plaintext": plaintext}
    vector["envelope"] = cc.envelope_seal(
        vector["dek"], vector["chat_id"], version, vector["message_id"], plaintext, aad,
        vector["salt"])
    return vector


def message():
    seed = Seed("message")
    registry_id = seed.take(16)
    vectors = [
        message_vector(seed, "one byte", b"x"),
        message_vector(seed, "UTF-8 text", "Grüße, 世界 👋".encode()),
        message_vector(seed, "not valid text", b"\x00\xff\xfe\x80"),
        message_vector(seed, "last version of SQL", b"hello", version=2147483647),
        message_vector(seed, "name of a file", "Entwurf №1.pdf".encode(), aad=b"file\0"),
        message_vector(seed, "protected column", b"+49 30 901820", aad=b"col\0" + registry_id),
        message_vector(seed, "aad of 300 bytes", b"hello", aad=ramp(300))]
    vectors += [message_vector(seed, "%d bytes" % n, ramp(n)) for n in (15, 16, 17, 1023, 1024)]
    base = to_open(message_vector(seed, "", b"attack at dawn", aad=b"sender=alice"))
    parts = {"salt": 5, "commitment": 17, "end of the commitment": 32, "ciphertext": 33,
             "tag": -16, "last byte": -1}
    refused = refusals(base, "envelope", parts, cc.ENVELOPE_OVERHEAD) + [
        wrong(base, "one byte shorter", envelope=base["envelope"][:-1]),
        wrong(base, "one byte longer", envelope=base["envelope"] + b"\0"),
        wrong(base, "another DEK", dek=seed.take(32)),
        wrong(base, "another chat", chat_id=seed.take(16)),
        wrong(base, "another message", message_id=seed.take(16)),
        wrong(base, "another aad", aad=b"sender=alicf"),
        wrong(base, "no aad", aad=b""),
        wrong(base, "longer aad", aad=base["aad"] + b"\0"),
        wrong(base, "version and its keys both changed", dek_version=6,
              envelope=with_header(base["envelope"], version=6)),
        wrong(base, "suite of an attachment", "SUITE",
              envelope=with_header(base["envelope"], suite=2)),
        wrong(base, "suite of a conversation", "SUITE",
              envelope=with_header(base["envelope"], suite=3))]
    return MESSAGE + "; more than envelope.json has", vectors, refused


def row_vector(name, created_at, sender):
    """A row's additional data; sender is None for none, or a number of bytes that are a ramp."""
    vector = {"name": name, "created_at": str(created_at), "has_sender": int(sender is not None)}
    if isinstance(sender, int):
        return dict(vector, sender_len=sender)
    vector["sender"] = sender or b""
    return dict(vector, aad=cc.row_aad(created_at, sender))


def row_aad():
    noon = 1714564800000000
    vectors = [
        row_vector("sender and time", noon, b"alice"), row_vector("no sender", noon, None),
        row_vector("an empty sender", noon, b""),
        row_vector("UTF-8", noon, "Zoë 世界 👋".encode()),
        row_vector("a microsecond before 1970", -1, b"alice"), row_vector("1970", 0, b"alice"),
        row_vector("first moment of PostgreSQL", -210866803200000000, b"alice"),
        row_vector("last moment that has a number", (1 << 63) - 1, b"alice"),
        row_vector("first number", -(1 << 63), None),
        row_vector("a sender of 300 bytes", noon, ramp(300))]
    longest = cc.AAD_MAX - 13
    return "additional data of a message in a row; " + RULE.replace("plaintext", "sender"), vectors, [
        wrong(row_vector("", noon, longest + 1), "a sender of %d bytes" % (longest + 1),
              "TOO_LARGE")]


def aad_by_length(vector, length):
    """The same, with its long additional data given by its length."""
    del vector["aad"]
    return dict(vector, aad_len=length)


def message_aad():
    """Additional data of a row, and of lengths that message.json does not have."""
    seed, noon = Seed("message aad"), 1714564800000000
    alice = cc.row_aad(noon, b"alice")
    vectors = [
        message_vector(seed, "row of alice", b"lunch at noon?", aad=alice),
        message_vector(seed, "row without a sender", b"lunch at noon?",
                       aad=cc.row_aad(noon, None)),
        message_vector(seed, "row with an empty sender", b"", aad=cc.row_aad(noon, b""))]
    lengths = (251, 252, 299, 301, 400, 507, 508, 509, 1019, 1024)
    vectors += [message_vector(seed, "aad of %d bytes" % n, b"hello", aad=ramp(n)) for n in lengths]
    vectors += [aad_by_length(message_vector(seed, "aad of %d bytes" % n, b"hello", aad=ramp(n)), n)
                for n in (4096, 65535, 65536)]
    row, long = to_open(vectors[0]), to_open(vectors[7])
    longest = to_open(vectors[-1])
    del longest["aad_len"]
    return MESSAGE + "; " + RULE.replace("a plaintext", "an aad"), vectors, [
        wrong(row, "another sender", aad=cc.row_aad(noon, b"bob")),
        wrong(row, "a sender with another last letter", aad=cc.row_aad(noon, b"alicf")),
        wrong(row, "no sender instead of alice", aad=cc.row_aad(noon, None)),
        wrong(row, "a microsecond later", aad=cc.row_aad(noon + 1, b"alice")),
        wrong(row, "no aad instead of a row's", aad=b""),
        wrong(to_open(vectors[1]), "an empty sender instead of none", aad=cc.row_aad(noon, b"")),
        wrong(to_open(vectors[2]), "none instead of an empty sender",
              aad=cc.row_aad(noon, None)),
        wrong(long, "last byte of 400 changed", aad=spoil(ramp(400), -1)),
        wrong(long, "last byte of 400 missing", aad=ramp(399)),
        wrong(long, "byte 300 of 400 changed", aad=spoil(ramp(400), 300)),
        dict(longest, name="last byte of 65536 missing", status="AUTH", aad_len=65535),
        dict(longest, name="one byte more than 65536", status="TOO_LARGE", aad_len=65537)]


def part_vector(seed, name, length, aad=b"", part=0, last=1):
    """A part; long ones are given by length and digest."""
    vector = {"name": name, "dek": seed.take(32), "chat_id": seed.take(16), "dek_version": 5,
              "file_id": seed.take(16), "part": part, "last": last, "aad": aad,
              "salt": seed.take(cc.CHUNK_SALT_LEN)}
    plaintext = ramp(length)
    sealed = cc.part_seal(vector["dek"], vector["chat_id"], 5, vector["file_id"], part, last,
                          plaintext, aad, vector["salt"])
    if length <= 64:
        return dict(vector, plaintext=plaintext, sealed=sealed)
    return dict(vector, plaintext_len=length, sealed_len=len(sealed),
                sealed_start=sealed[:cc.PART_HEADER_LEN + 16], sealed_end=sealed[-16:],
                sealed_sha256=hashlib.sha256(sealed).digest())


def attachment():
    seed = Seed("attachment")
    chunk = cc.CHUNK_LEN
    vectors = [
        part_vector(seed, "empty", 0),
        part_vector(seed, "one byte", 1),
        part_vector(seed, "64 bytes, not the last part, aad", 64, b"photo", 7, 0),
        part_vector(seed, "last part number", 3, part=4294967295)]
    vectors += [part_vector(seed, "%d bytes" % n, n) for n in (chunk - 1, chunk, chunk + 1)]
    vectors += [part_vector(seed, "three chunks", 2 * chunk + 7000, b"film", 2, 0),
                part_vector(seed, "257 chunks, so that two bytes of the nonce change",
                            256 * chunk + 5)]
    base = to_open(part_vector(seed, "", 40, b"photo", 3, 0))
    parts = {"salt": 5, "commitment": 29, "end of the commitment": 60, "ciphertext": 61,
             "tag": -16, "last byte": -1}
    refused = refusals(base, "sealed", parts, cc.PART_HEADER_LEN + cc.TAG_LEN) + [
        wrong(base, "one byte shorter", sealed=base["sealed"][:-1]),
        wrong(base, "one byte longer", sealed=base["sealed"] + b"\0"),
        wrong(base, "another DEK", dek=seed.take(32)),
        wrong(base, "another chat", chat_id=seed.take(16)),
        wrong(base, "another file", file_id=seed.take(16)),
        wrong(base, "another part", part=4), wrong(base, "called the last", last=1),
        wrong(base, "another aad", aad=b"phota"), wrong(base, "no aad", aad=b""),
        wrong(base, "suite of a message", "SUITE", sealed=with_header(base["sealed"], suite=1))]
    return "attachment part; " + RULE, vectors, refused + chunk_refusals()


def chunk_refusals():
    """Edits of the vector "three chunks"; offsets are in the sealed part."""
    step = cc.CHUNK_LEN + cc.TAG_LEN
    head, whole = cc.PART_HEADER_LEN, cc.PART_HEADER_LEN + 2 * step + 7000 + cc.TAG_LEN
    edits = [
        ("first byte of chunk 1 changed", "AUTH", {"flip": head + step}),
        ("tag of chunk 1 changed", "AUTH", {"flip": head + 2 * step - 1}),
        ("last byte changed", "AUTH", {"flip": whole - 1}),
        ("chunks 0 and 1 swapped", "AUTH", {"swap": [0, 1]}),
        ("chunk 1 left out", "AUTH", {"cut": [head + step, head + 2 * step]}),
        ("last chunk left out", "TRUNCATED", {"cut": [head + 2 * step, whole]}),
        ("last chunk without its tag", "AUTH", {"cut": [whole - 16, whole]}),
        ("15 bytes of the last chunk", "TRUNCATED", {"cut": [head + 2 * step + 15, whole]}),
        ("16 bytes of the last chunk", "AUTH", {"cut": [head + 2 * step + 16, whole]}),
        ("only the header", "TRUNCATED", {"cut": [head, whole]})]
    return [{"name": name, "of": "three chunks", "edit": edit, "status": status}
            for name, status, edit in edits]


def secretbox_vector(seed, name, plaintext, version=5):
    dek, nonce = seed.take(32), seed.take(cc.SECRETBOX_NONCE_LEN)
    return {"name": name, "dek": dek, "dek_version": version, "nonce": nonce,
            "plaintext": plaintext, "message": cc.secretbox_seal(dek, version, plaintext, nonce)}


def secretbox():
    seed = Seed("secretbox")
    vectors = [secretbox_vector(seed, "empty", b""), secretbox_vector(seed, "one byte", b"x"),
               secretbox_vector(seed, "UTF-8 text", "Grüße, 世界 👋".encode()),
               secretbox_vector(seed, "last version of SQL", b"hello", 2147483647),
               secretbox_vector(seed, "300 bytes", ramp(300))]
    base = to_open(secretbox_vector(seed, "", b"attack at dawn"))
    parts = {"nonce": 5, "end of the nonce": 28, "tag": 29, "ciphertext": 45, "last byte": -1}
    return "conversation message", vectors, refusals(
        base, "message", parts, cc.SECRETBOX_OVERHEAD) + [
            wrong(base, "one byte shorter", message=base["message"][:-1]),
            wrong(base, "one byte longer", message=base["message"] + b"\0"),
            wrong(base, "another DEK", dek=seed.take(32)),
            wrong(base, "suite of a message", "SUITE",
                  message=with_header(base["message"], suite=1))]


def local_vector(seed, name, version):
    master, context, dek = seed.take(32), seed.take(32), seed.take(32)
    salt = seed.take(cc.LOCAL_SALT_LEN)
    return {"name": name, "master": master, "master_version": version, "context": context,
            "salt": salt, "dek": dek,
            "wrapped": cc.local_seal(master, version, context, dek, salt)}


def local():
    seed = Seed("local")
    vectors = [local_vector(seed, "master key version %d" % n, n) for n in (1, 2, 4294967295)]
    base = to_open(local_vector(seed, "", 5))
    del base["dek"]
    parts = {"salt": 5, "end of the salt": 20, "wrapped key": 21, "tag": -16, "last byte": -1}
    return "local wrapping", vectors, refusals(base, "wrapped", parts, cc.LOCAL_LEN) + [
        wrong(base, "one byte longer", "TRAILING", wrapped=base["wrapped"] + b"\0"),
        wrong(base, "another master key", master=seed.take(32)),
        wrong(base, "another context", context=seed.take(32))]


def blind():
    seed, vectors = Seed("blind"), []
    base = {"dek": seed.take(32), "chat_id": seed.take(16), "dek_version": 3}
    tokens = [b"hello", b"x", "grüße".encode(), "世界".encode(), b"hel", ramp(55), ramp(1024)]
    cases = [(kind, token, 64) for token in tokens for kind in "wpt"]
    cases += [("w", b"hello", bits) for bits in (1, 2, 7, 8, 9, 16, 24, 31, 32, 33, 48, 63)]
    for kind, token, bits in cases:
        vectors.append(dict(base, kind=kind, token=token, bits=bits, blind_token=cc.blind_token(
            *base.values(), kind, token, bits)))
    one = dict(base, kind="w", token=b"hello", bits=64)
    return "blind token", vectors, [
        wrong(one, "no bits", "ARGUMENT", bits=0), wrong(one, "65 bits", "ARGUMENT", bits=65),
        wrong(one, "kind x", "ARGUMENT", kind="x"),
        wrong(one, "1025 bytes", "TOO_LARGE", token=ramp(1025))]


def stored_token():
    """Tokens as the database and the feed have them; the key is that of blind.json."""
    seed, vectors = Seed("blind"), []
    base = {"dek": seed.take(32), "chat_id": seed.take(16), "dek_version": 3}
    cases = [("w", b"hello", bits) for bits in (64, 9, 8)]
    cases += [("p", b"hel", 64), ("t", b"hel", 64), ("w", "grüße".encode(), 64)]
    for kind, token, bits in cases:
        blind_token = cc.blind_token(*base.values(), kind, token, bits)
        stored = cc.stored_token(base["chat_id"], blind_token)
        vectors.append(dict(base, kind=kind, token=token, bits=bits, blind_token=blind_token,
                            mark="%016x" % cc.chat_mark(base["chat_id"]), stored="%016x" % stored,
                            stored_bigint=str(stored - (1 << 64) if stored >> 63 else stored)))
    return "stored search token", vectors, []


def search_terms():
    words = [("lighthouse", 3, True), ("lighthouse", 0, False), ("antidisestablishmentarianism", 15, False),
             ("an", 3, True), ("grüße", 2, True), ("世界", 1, True)]
    return "terms of one word: kind, then the token in hex", [
        {"word": word, "prefixes": prefixes, "trigrams": trigrams,
         "terms": ["%s %s" % (kind, token.hex()) for kind, token in cc.terms_of_word(
             word, prefixes, trigrams)]} for word, prefixes, trigrams in words], []


def event_chain():
    """One event, and the seals of it: the first of a chain, and the one after that."""
    seed, moment = Seed("event chain"), 767880000000000
    deployment_id, chat_id, key = seed.take(16), seed.take(16), seed.take(32)
    event = [1, "create", chat_id, "default", "data", 1, "local:main", None, "app", "app", "alice",
             moment, 742]
    digest = cc.event_digest(event)
    seal = dict(number=1, previous_mac=bytes(32), system_id=7351048329482752345, horizon=743,
                sealed_at=moment + 60000000, event_ids="{[1,2)}", digests=digest)
    after = dict(seal, number=2, horizon=0, event_ids="{[2,4),[5,6)}", digests=3 * digest)
    after["previous_mac"] = cc.seal_mac(key, **seal)
    seals = [dict(one, system_id=str(one["system_id"]), horizon=str(one["horizon"]),
                  sealed_at=str(one["sealed_at"]), mac=cc.seal_mac(key, **one))
             for one in (seal, after)]
    return ("event chain; columns of an event in their order, times in microseconds since 2000",
            [{"deployment_id": deployment_id, "chat_id": cc.NO_CHAT, "purpose": cc.EVENTS,
              "dek_version": 1, "key": key,
              "context": cc.wrap_context(deployment_id, cc.NO_CHAT, cc.EVENTS, 1),
              "kcv": cc.kcv(key, cc.NO_CHAT, 1)},
             {"event": [value.hex() if isinstance(value, bytes) else value for value in event],
              "digest": digest}] + seals, [])


def bigint_id():
    numbers = (0, 1, 42, -1, 1 << 61, (1 << 62) - 1, 1 << 62, -(1 << 62), (1 << 63) - 1, -(1 << 63))
    spaces = (0, 1, 42, 0x123456789abc, (1 << 48) - 1)
    vectors = [{"space": str(space), "bigint": str(number), "uuid": cc.id_of_bigint(number, space)}
               for space in spaces for number in numbers]
    not_one = ("00000000-0000-4000-8000-00000000002a", "00000000-0000-8000-c000-00000000002a",
               "00000000-0000-8004-8000-00000000002a", "00000000-0000-8000-0000-00000000002a")
    refused = [{"name": "space 2^48", "space": str(1 << 48), "bigint": "0", "status": "TOO_LARGE"}]
    refused += [{"name": "no bigint has this id", "uuid": uuid.UUID(text).bytes}
                for text in not_one]
    return "bigint id", vectors, refused


VECTORS = {"key_schedule": key_schedule, "wrap_context": wrap_context, "message": message,
           "attachment": attachment, "secretbox": secretbox, "local": local, "blind": blind,
           "bigint_id": bigint_id, "row_aad": row_aad, "message_aad": message_aad,
           "stored_token": stored_token, "search_terms": search_terms, "event_chain": event_chain}


def text_of(make):
    note, vectors, refused = make()
    content = {"note": note, "vectors": [plain(v) for v in vectors],
               "refused": [plain(v) for v in refused]}
    return json.dumps(content, indent=1) + "\n"


def main():
    for name, make in VECTORS.items():
        path = FOLDER / (name + ".json")
        if not path.exists():
            path.write_text(text_of(make))


if __name__ == "__main__":
    main()
