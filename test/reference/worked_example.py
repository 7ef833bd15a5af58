#!/usr/bin/python3
"""The worked bytes of docs/format.md: makes them, and checks that the page shows them.

Run by itself it prints the blocks for the page.
"""
import json
import pathlib
import re
import textwrap
import uuid

from cryptography.exceptions import InvalidTag

import chatcrypt_formats as cc
import vectors

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "format.md"
CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```text worked=(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def message():
    """The last of envelope.json, which has an aad."""
    content = json.loads((vectors.FOLDER / "envelope.json").read_text())["vectors"][-1]
    v = {key: vectors.value_of(key, value) for key, value in content.items()}
    ids = v["dek"], v["chat_id"], v["dek_version"]
    key, commitment, nonce, info = cc.message_secrets(*ids, v["message_id"], v["salt"])
    return dict(
        {name: v[name] for name in ("dek", "chat_id", "message_id", "salt", "aad", "plaintext")},
        dek_version=cc.u32(v["dek_version"]), prk=cc.prk_of(v["dek"]),
        info_message=cc.use_info("message", *ids[1:]), k_message=cc.derive(*ids, "message"),
        info_commit=cc.use_info("commit", *ids[1:]), k_commit=cc.derive(*ids, "commit"),
        info=info, key=key, commitment=commitment, nonce=nonce,
        header=v["envelope"][:5], gcm_aad=v["envelope"][:5] + v["aad"],
        ciphertext=v["envelope"][33:-16], tag=v["envelope"][-16:], envelope=v["envelope"],
        kcv=v["kcv"])


def row():
    """The additional data of a row: the first two of row_aad.json."""
    v, without = vectors.load("row_aad")[0][:2]
    return {"created_at": v["created_at"].to_bytes(8, "big", signed=True), "sender": v["sender"],
            "aad": cc.row_aad(v["created_at"], v["sender"]),
            "aad_no_sender": cc.row_aad(without["created_at"], None)}


def attachment():
    """The part of one byte."""
    v = vectors.load("attachment")[0][1]
    ids = v["dek"], v["chat_id"], v["dek_version"]
    context = cc.part_context(v["dek_version"], v["file_id"], v["part"], v["last"], v["aad"])
    input_key = cc.derive(*ids, "attachment")
    key, base_nonce, commitment = cc.chunk_secrets(input_key, v["salt"], context)
    return dict(
        {name: v[name] for name in ("dek", "chat_id", "file_id", "salt", "aad", "plaintext")},
        dek_version=cc.u32(v["dek_version"]), part=cc.u32(v["part"]), last=bytes([v["last"]]),
        k_attachment=input_key, context=context, key=key, base_nonce=base_nonce,
        commitment=commitment, header=v["sealed"][:5], chunk_0=v["sealed"][61:],
        sealed=v["sealed"])


def metadata():
    """The file of test/unit/test_filemeta.c."""
    name, content_type = "a.txt", "text/plain"
    return {"layout": b"\1", "complete": b"\1", "part_size": cc.u32(1024), "parts": cc.u32(3),
            "size": (2055).to_bytes(8, "big"), "name": name.encode(), "content_type": content_type.encode(),
            "plaintext": cc.file_metadata(True, 1024, 3, 2055, name, content_type)}


def conversation():
    v = vectors.load("secretbox")[0][1]
    return {"dek": v["dek"], "dek_version": cc.u32(v["dek_version"]), "nonce": v["nonce"],
            "plaintext": v["plaintext"], "tag": v["message"][29:45],
            "ciphertext": v["message"][45:], "message": v["message"]}


def local():
    v = vectors.load("local")[0][0]
    key, nonce = cc.local_secrets(v["master"], v["context"], v["salt"])
    return {"master": v["master"], "master_version": cc.u32(v["master_version"]),
            "context": v["context"], "salt": v["salt"], "dek": v["dek"],
            "prk": cc.hkdf_extract(v["salt"], v["master"]), "key": key, "nonce": nonce,
            "ciphertext": v["wrapped"][21:53], "tag": v["wrapped"][53:], "wrapped": v["wrapped"]}


def context():
    v = vectors.load("wrap_context")[0][0]
    hashed = (b"chatcrypt/v1/wrap\0" + v["deployment_id"] + v["chat_id"] + v["purpose"].encode()
              + b"\0" + cc.u32(v["dek_version"]))
    return {"deployment_id": v["deployment_id"], "chat_id": v["chat_id"],
            "purpose": v["purpose"].encode(), "dek_version": cc.u32(v["dek_version"]),
            "hashed": hashed, "context": v["context"]}


def token():
    v = next(v for v in vectors.load("blind")[0] if v["bits"] == 9)
    k_search = cc.derive(v["dek"], v["chat_id"], v["dek_version"], "search")
    hashed = v["kind"].encode() + v["token"]
    return {"dek": v["dek"], "chat_id": v["chat_id"], "dek_version": cc.u32(v["dek_version"]),
            "k_search": k_search, "hashed": hashed, "mac": cc.hmac_sha256(k_search, hashed),
            "token_64_bits": cc.blind_token(v["dek"], v["chat_id"], v["dek_version"], v["kind"],
                                            v["token"]),
            "token_9_bits": v["blind_token"]}


def stored():
    """The token of `token`, whole, as it is stored."""
    v = next(v for v in vectors.load("blind")[0] if v["bits"] == 9)
    token8 = cc.blind_token(v["dek"], v["chat_id"], v["dek_version"], v["kind"], v["token"])
    half = int.from_bytes(v["chat_id"][:8], "big")
    sum64 = (cc.mix64(half) + int.from_bytes(v["chat_id"][8:], "big")) % (1 << 64)
    return {name: value if isinstance(value, bytes) else value.to_bytes(8, "big") for name, value in (
        ("a", v["chat_id"][:8]), ("b", v["chat_id"][8:]), ("h_of_a", cc.mix64(half)), ("sum", sum64),
        ("mark", cc.chat_mark(v["chat_id"])), ("token_64_bits", token8),
        ("stored", cc.stored_token(v["chat_id"], token8)),
        ("stored_9_bits", cc.stored_token(v["chat_id"], v["blind_token"])))}


def chain():
    """The first seal of event_chain.json, and its event."""
    key, event, seal = json.loads((vectors.FOLDER / "event_chain.json").read_text())["vectors"][:3]
    values = [bytes.fromhex(value) if number == 2 else value
              for number, value in enumerate(event["event"])]
    hashed = b"chatcrypt/v1/key_event\0" + b"".join(cc.event_value(value) for value in values)
    fields = {name: int(seal[name]) for name in ("number", "system_id", "horizon", "sealed_at")}
    fields.update(previous_mac=bytes.fromhex(seal["previous_mac"]), event_ids=seal["event_ids"],
                  digests=cc.event_digest(values))
    secret = bytes.fromhex(key["key"])
    return {"deployment_id": uuid.UUID(key["deployment_id"]).bytes, "chat_id": cc.NO_CHAT,
            "context": cc.wrap_context(uuid.UUID(key["deployment_id"]).bytes, cc.NO_CHAT, cc.EVENTS, 1),
            "key": secret, "kcv": cc.kcv(secret, cc.NO_CHAT, 1), "event": hashed,
            "digest": cc.event_digest(values), "seal": cc.seal_bytes(**fields),
            "mac": cc.seal_mac(secret, **fields)}


EXAMPLES = {"message": message, "row": row, "attachment": attachment, "metadata": metadata, "conversation": conversation,
            "local": local, "context": context, "token": token, "stored": stored, "chain": chain}


def shown(block):
    """{name: bytes} of the lines `name  hex`; further lines of hex belong to the last name."""
    values, name = {}, None
    for line in block.splitlines():
        words = line.split()
        if not line.startswith(" "):
            name, words = words[0], words[1:]
            if name in values:
                raise ValueError("%s stands there twice" % name)
            values[name] = b""
        values[name] += bytes.fromhex("".join(word for word in words if word != "(empty)"))
    return values


def check_code(tap, page):
    """The page's own decryptor opens the page's own envelope, and no other."""
    (code,), names, v = CODE.findall(page), {}, message()
    exec(code, names)  # pylint: disable=exec-used

    def opened(envelope):
        try:
            return names["open_message"](
                v["dek"], v["chat_id"], v["message_id"], envelope, v["aad"])
        except (ValueError, InvalidTag):
            return None
    spoilt = [v["envelope"][:at] + bytes([v["envelope"][at] ^ 1]) + v["envelope"][at + 1:]
              for at in range(len(v["envelope"]))]
    tap.check("docs/format.md: its Python opens the worked envelope",
              opened(v["envelope"]) == v["plaintext"])
    tap.check("docs/format.md: its Python refuses a change of any byte",
              not any(map(opened, spoilt)))


def check(tap):
    page = PAGE.read_text()
    blocks = BLOCK.findall(page)
    check_code(tap, page)
    tap.check("docs/format.md shows every worked example once",
              sorted(name for name, _ in blocks) == sorted(EXAMPLES))
    for name, block in blocks:
        on_page, expected = shown(block), EXAMPLES[name]()
        wrong = [key for key in {**on_page, **expected} if on_page.get(key) != expected.get(key)]
        tap.check("docs/format.md: the bytes of %s are right" % name, not wrong, wrong)


def main():
    for name, example in EXAMPLES.items():
        print("```text worked=%s" % name)
        for key, value in example().items():
            lines = textwrap.wrap(value.hex(), 80) or ["(empty)"]
            print("%-14s %s" % (key, ("\n" + " " * 15).join(lines)))
        print("```\n")


if __name__ == "__main__":
    main()
