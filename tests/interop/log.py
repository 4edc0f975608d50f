"""A verifier of the audit log that shares nothing with the gate but its specifications: RFC 9162, C2SP
signed-note, tlog-checkpoint and tlog-proof. Reads lines of JSON, answers lines of JSON.

    {"directory": DIR, "key": VKEY}                 the whole log from its files
    {"record": FILE, "proof": FILE, "key": VKEY}    one record
"""

import base64
import hashlib
import json
import pathlib
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def leaf(record):
    return hashlib.sha256(b"\x00" + record).digest()


def node(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def tree(leaves):
    """MTH of RFC 9162, section 2.1.1, by layers: an odd node at the end goes up as it is."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    while len(leaves) > 1:
        pairs = [node(*leaves[n : n + 2]) for n in range(0, len(leaves) - 1, 2)]
        leaves = pairs + leaves[len(pairs) * 2 :]
    return leaves[0]


def opened(note, key):
    """The text of a signed note."""
    name, number, public = key.strip().split("+", 2)
    public = base64.b64decode(public, validate=True)
    assert public[0] == 1, "not Ed25519"
    assert hashlib.sha256(name.encode() + b"\n" + public).digest()[:4].hex() == number, "not the number of the key"
    text, signatures = note.rsplit("\n\n", 1)
    text += "\n"
    for line in signatures.splitlines():
        dash, who, signature = line.split(" ")
        assert dash == "\u2014"
        signature = base64.b64decode(signature, validate=True)
        if who == name and signature[:4].hex() == number:
            Ed25519PublicKey.from_public_bytes(public[1:]).verify(signature[4:], text.encode())
            return text
    raise AssertionError("not signed by the key")


def checkpoint(note, key):
    origin, size, root = opened(note, key).splitlines()[:3]
    assert origin == key.split("+", 1)[0]
    return int(size), base64.b64decode(root, validate=True)


def whole(directory, key):
    directory = pathlib.Path(directory)
    records = []
    for segment in sorted((directory / "seg").iterdir()):
        assert int(segment.stem) == len(records), "a segment is missing"
        records += segment.read_bytes().split(b"\n")[:-1]
    leaves = [leaf(record) for record in records]
    size, root = checkpoint((directory / "tree" / "checkpoint").read_text(), key)
    assert tree(leaves[:size]) == root, "the records do not hash to the checkpoint"
    history = (directory / "tree" / "checkpoints").read_text().split("\n\n")
    earlier = 0
    for text, signatures in zip(history[::2], history[1::2]):
        size_then, root_then = checkpoint(text + "\n\n" + signatures + "\n", key)
        assert tree(leaves[:size_then]) == root_then, "an earlier checkpoint is of another log"
        earlier += 1
    hashes = (directory / "tree" / "0").read_bytes()
    assert hashes == b"".join(leaves[:size]), "the tiles are of another log"
    return {"records": len(records), "signed": size, "earlier": earlier}


def one(record, proof, key):
    record = pathlib.Path(record).read_bytes()
    head, note = pathlib.Path(proof).read_text().split("\n\n", 1)
    header, index, *path = head.splitlines()
    assert header == "c2sp.org/tlog-proof@v1"
    index = int(index.removeprefix("index "))
    size, root = checkpoint(note, key)
    assert index < size
    # RFC 9162, section 2.1.3.2.
    at, last, found = index, size - 1, leaf(record)
    for sibling in (base64.b64decode(line, validate=True) for line in path):
        assert last != 0
        if at % 2 == 1 or at == last:
            found = node(sibling, found)
            while at % 2 == 0 and at != 0:
                at, last = at >> 1, last >> 1
        else:
            found = node(found, sibling)
        at, last = at >> 1, last >> 1
    assert last == 0 and found == root, "the record is not in the log"
    return {"seq": index, "of": size}


for line in sys.stdin:
    question = json.loads(line)
    try:
        answer = whole(**question) if "directory" in question else one(**question)
    except (AssertionError, InvalidSignature, ValueError, OSError) as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
