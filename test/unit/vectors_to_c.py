#!/usr/bin/env python3
"""Turns test/vectors/envelope.json into tables that the C tests include."""
import json
import sys

FIELDS = ("dek", "dek_version", "chat_id", "message_id", "salt", "aad", "plaintext", "envelope",
          "kcv", "deployment_id", "wrap_context", "wrap_context_search", "blind_token_word_hello")


def quoted(value):
    return '"%s"' % value


def table(struct, name, fields, rows):
    print("typedef struct %s\n{" % struct)
    for field in fields:
        print("\tconst char *%s;" % field)
    print("} %s;\n\nstatic const %s %s[] = {" % (struct, struct, name))
    for row in rows:
        # A field that is missing or new would be a test that silently does not run.
        if set(row) != set(fields):
            sys.exit("unexpected fields: %s" % sorted(set(row) ^ set(fields)))
        print("\t{" + ", ".join(".%s = %s" % (f, quoted(row[f])) for f in fields) + "},")
    print("};\n")


with open(sys.argv[1], encoding="ascii") as file:
    data = json.load(file)
print("/* Made from %s; do not edit. */" % sys.argv[1])
table("envelope_vector", "envelope_vectors", FIELDS, data["vectors"])
table("id_vector", "id_vectors", ("bigint", "uuid"), data["bigint_ids"])
