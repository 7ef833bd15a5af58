"""The two implementations of the formats, behind one call.

call(command, fields) gives the fields of the answer, or raises FormatError with
the name of the status.  Commands and fields are those of test/unit/coretool.c:
bytes are bytes, numbers are int, kind and purpose are str.
"""
import subprocess

import chatcrypt_formats as cc


def _reference_commands():
    def keyed(f):
        return f["dek"], f["chat"], f["version"]

    return {
        "envelope_seal": lambda f: {"envelope": cc.envelope_seal(
            *keyed(f), f["message"], f["plaintext"], f["aad"], f["salt"])},
        "envelope_open": lambda f: {"plaintext": cc.envelope_open(
            *keyed(f), f["message"], f["envelope"], f["aad"])},
        "inspect": lambda f: dict(zip(
            ("suite", "version", "plaintext_len"), cc.inspect(f["envelope"]))),
        "row_aad": lambda f: {"aad": cc.row_aad(
            f["created_at"], f["sender"] if f["has_sender"] else None)},
        "kcv": lambda f: {"kcv": cc.kcv(*keyed(f))},
        "context": lambda f: {"context": cc.wrap_context(
            f["deployment"], f["chat"], f["purpose"], f["version"])},
        "blind": lambda f: {"token": cc.blind_token(
            *keyed(f), f["kind"], f["token"], f["bits"])},
        "part_seal": lambda f: {"sealed": cc.part_seal(
            *keyed(f), f["file"], f["part"], f["last"], f["plaintext"], f["aad"], f["salt"])},
        "part_open": lambda f: {"plaintext": cc.part_open(
            *keyed(f), f["file"], f["part"], f["last"], f["sealed"], f["aad"])},
        "chunked_open": lambda f: {"plaintext": cc.chunked_open(f["key"], f["context"], f["sealed"])},
        "secretbox_seal": lambda f: {"message": cc.secretbox_seal(
            f["dek"], f["version"], f["plaintext"], f["nonce"])},
        "secretbox_open": lambda f: {"plaintext": cc.secretbox_open(
            f["dek"], f["version"], f["message"])},
        "local_seal": lambda f: {"wrapped": cc.local_seal(
            f["master"], f["master_version"], f["context"], f["dek"], f["salt"])},
        "local_open": lambda f: {"dek": cc.local_open(
            f["master"], f["master_version"], f["context"], f["wrapped"])},
        "id": lambda f: {"id": cc.id_of_bigint(f["number"], f["space"])},
        "id_back": lambda f: _id_back(f["id"])}


def _id_back(id16):
    found = cc.bigint_of_id(id16)
    cc.need(found is not None, "SYNTAX")
    return {"space": found[0], "number": found[1]}


class Reference:
    name = "reference"
    _commands = _reference_commands()

    def call(self, command, fields):
        return self._commands[command](fields)


class CoreTool:
    """The C core, in a process that is asked one line at a time."""
    name = "C core"
    _numbers = ("suite", "version", "plaintext_len", "space", "number")

    def __init__(self, path):
        self._process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         text=True, encoding="ascii")

    def call(self, command, fields):
        answer = self._ask(" ".join([command] + ["%s=%s" % (key, self._text(value))
                                                 for key, value in fields.items()]))
        if answer[0] == "err" and answer[1] not in ("REQUEST", "COMMAND"):
            raise cc.FormatError(answer[1])
        if answer[0] != "ok":
            raise RuntimeError("coretool does not understand %s: %s" % (command, answer))
        return {key: self._value(key, text)
                for key, text in (field.split("=", 1) for field in answer[1:])}

    def close(self):
        """True where the tool ended well; under ASAN a leak counts as ending badly."""
        self._process.stdin.close()
        self._process.stdout.close()
        return self._process.wait(timeout=60) == 0

    def _ask(self, line):
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().split()
        if not answer:
            raise RuntimeError("coretool died of: " + line[:2000])
        return answer

    @staticmethod
    def _text(value):
        return (value.hex() or "-") if isinstance(value, bytes) else str(value)

    def _value(self, key, text):
        if key in self._numbers:
            return int(text)
        return b"" if text == "-" else bytes.fromhex(text)
