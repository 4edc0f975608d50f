"""Tokens made by three Python libraries.

Reads lines of JSON, {"library": ..., "tokens": {name: {"header": ..., "payload": ...}}}, and answers
each with {"jwks": ..., "tokens": {name: {algorithm: compact JWS}}}: every token once for every
algorithm, under a new key of its own. A token may have "records" beside: delegations that are signed,
each for itself, and put into its `delegation_chain`; "after" then changes the newest. It may have
"evidence" beside, which is signed and put into its claim; "evidence_after" then changes it.

A question with "workload": {"identity": ..., "proof": ..., "cases": {name: changes}} is answered with
{"jwks": ..., "workloads": {algorithm: {"identity": compact JWS, "proofs": {name: compact JWS}}}}: the
identity token of a workload with a key of its own, and a proof for every case.
"""

import base64
import hashlib
import json
import sys
import uuid

import jwt
from jwt.algorithms import get_default_algorithms
from joserfc import jws as joserfc_jws
from joserfc.jwk import ECKey, OKPKey, RSAKey
from jwcrypto import jwk as jwcrypto_jwk, jws as jwcrypto_jws

ALGORITHMS = {
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "EdDSA": ("OKP", "Ed25519"),
    "PS256": ("RSA", 2048),
    "RS256": ("RSA", 2048),
}


def joserfc(kind, shape):
    maker = {"EC": ECKey, "OKP": OKPKey, "RSA": RSAKey}[kind]
    key = maker.generate_key(shape)

    def sign(header, payload):
        return joserfc_jws.serialize_compact(header, payload, key, algorithms=[header["alg"]])

    return key.as_dict(private=False), sign


def jwcrypto(kind, shape):
    options = {"size": shape} if kind == "RSA" else {"crv": shape}
    key = jwcrypto_jwk.JWK.generate(kty=kind, **options)

    def sign(header, payload):
        token = jwcrypto_jws.JWS(payload)
        token.allowed_algs = [header["alg"]]
        token.add_signature(key, protected=json.dumps(header))
        return token.serialize(compact=True)

    return key.export_public(as_dict=True), sign


def pyjwt(kind, shape):
    # PyJWT makes no keys, so the key is another library's and only its private form is shared.
    options = {"size": shape} if kind == "RSA" else {"crv": shape}
    private = jwcrypto_jwk.JWK.generate(kty=kind, **options)
    algorithms = get_default_algorithms()

    def sign(header, payload):
        key = algorithms[header["alg"]].from_jwk(private.export_private())
        return jwt.api_jws.encode(payload, key, algorithm=header["alg"], headers=header)

    return private.export_public(as_dict=True), sign


LIBRARIES = {"joserfc": joserfc, "jwcrypto": jwcrypto, "pyjwt": pyjwt}


def recorded(record, algorithm, sign):
    """The record with a detached JWS over its canonical form (RFC 7515 appendix F, RFC 8785)."""
    return {**record, "as_signature": detached(record, algorithm, sign)}


def detached(value, algorithm, sign):
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    signed = sign({"alg": algorithm, "kid": algorithm}, canonical.encode())
    header, _, signature = text(signed).split(".")
    return f"{header}..{signature}"


def workload(question):
    """A workload's identity token and its proofs (WIMSE), by one library from end to end."""
    library, asked = LIBRARIES[question["library"]], question["workload"]
    keys, workloads = [], {}
    for algorithm, shape in ALGORITHMS.items():
        domain, sign_identity = library(*shape)
        own, sign_proof = library(*shape)
        keys.append({**domain, "kid": algorithm, "alg": algorithm, "use": "sig"})
        confirmation = {"jwk": {**own, "alg": algorithm}}
        identity = text(
            sign_identity(
                {"alg": algorithm, "kid": algorithm, "typ": "wit+jwt"},
                json.dumps({**asked["identity"], "cnf": confirmation}).encode(),
            )
        )
        digest = base64.urlsafe_b64encode(hashlib.sha256(identity.encode()).digest())
        proofs = {}
        for name, changes in asked["cases"].items():
            tied = {"wth": digest.rstrip(b"=").decode(), "jti": str(uuid.uuid4())}
            proof = json.dumps({**asked["proof"], **tied, **changes}).encode()
            proofs[name] = text(sign_proof({"alg": algorithm, "typ": "wpt+jwt"}, proof))
        workloads[algorithm] = {"identity": identity, "proofs": proofs}
    return {"jwks": {"keys": keys}, "workloads": workloads}


def text(signed):
    return signed if isinstance(signed, str) else signed.decode()


def answer(question):
    library = LIBRARIES[question["library"]]
    keys, tokens = [], {name: {} for name in question["tokens"]}
    for algorithm, shape in ALGORITHMS.items():
        public, sign = library(*shape)
        keys.append({**public, "kid": algorithm, "alg": algorithm, "use": "sig"})
        for name, token in question["tokens"].items():
            header = {"alg": algorithm, "kid": algorithm, **token["header"]}
            payload = dict(token["payload"])
            if "records" in token:
                chain = [recorded(record, algorithm, sign) for record in token["records"]]
                chain[0].update(token.get("after", {}))
                payload["delegation_chain"] = chain
            if "evidence" in token:
                payload["evidence"] = recorded(token["evidence"], algorithm, sign)
                payload["evidence"].update(token.get("evidence_after", {}))
            tokens[name][algorithm] = text(sign(header, json.dumps(payload).encode()))
    return {"jwks": {"keys": keys}, "tokens": tokens}


for line in sys.stdin:
    asked = json.loads(line)
    print(json.dumps(workload(asked) if "workload" in asked else answer(asked)), flush=True)
