// Tokens, evidence and proofs made by the library `jose`: as tokens.py, which says what is asked and
// answered.

import { createHash, randomUUID } from 'node:crypto';

import { CompactSign, exportJWK, generateKeyPair } from 'jose';

import { serve } from './lines.mjs';

const ALGORITHMS = ['ES256', 'ES384', 'EdDSA', 'PS256', 'RS256'];

/** A key of one's own: its public half, and what signs with it. */
async function pair(alg) {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  const sign = (header, text) =>
    new CompactSign(new TextEncoder().encode(text)).setProtectedHeader(header).sign(privateKey);
  return { jwk: await exportJWK(publicKey), sign };
}

/** RFC 8785, for values without numbers that need it. */
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const member = (name) => `${JSON.stringify(name)}:${canonical(value[name])}`;
  return `{${Object.keys(value).sort().map(member).join(',')}}`;
}

async function tokens(question) {
  const keys = [];
  const made = {};
  for (const alg of ALGORITHMS) {
    const { jwk, sign } = await pair(alg);
    keys.push({ ...jwk, kid: alg, alg, use: 'sig' });
    // A detached JWS over the canonical form (RFC 7515 appendix F, RFC 8785).
    const recorded = async (record) => {
      const signed = await sign({ alg, kid: alg }, canonical(record));
      const [header, , signature] = signed.split('.');
      return { ...record, as_signature: `${header}..${signature}` };
    };
    for (const [name, asked] of Object.entries(question.tokens)) {
      const whole = { ...asked.payload };
      if (asked.records) {
        whole.delegation_chain = await Promise.all(asked.records.map(recorded));
        Object.assign(whole.delegation_chain[0], asked.after);
      }
      if (asked.evidence) {
        whole.evidence = { ...(await recorded(asked.evidence)), ...asked.evidence_after };
      }
      const token = await sign({ alg, kid: alg, ...asked.header }, JSON.stringify(whole));
      made[name] = { ...made[name], [alg]: token };
    }
  }
  return { jwks: { keys }, tokens: made };
}

async function workload({ identity, proof, cases }) {
  const keys = [];
  const workloads = {};
  for (const alg of ALGORITHMS) {
    const domain = await pair(alg);
    const own = await pair(alg);
    keys.push({ ...domain.jwk, kid: alg, alg, use: 'sig' });
    const claims = { ...identity, cnf: { jwk: { ...own.jwk, alg } } };
    const token = await domain.sign({ alg, kid: alg, typ: 'wit+jwt' }, JSON.stringify(claims));
    const wth = createHash('sha256').update(token).digest('base64url');
    const proofs = {};
    for (const [name, changes] of Object.entries(cases)) {
      const tied = { ...proof, wth, jti: randomUUID(), ...changes };
      proofs[name] = await own.sign({ alg, typ: 'wpt+jwt' }, JSON.stringify(tied));
    }
    workloads[alg] = { identity: token, proofs };
  }
  return { jwks: { keys }, workloads };
}

await serve((question) => (question.workload ? workload(question.workload) : tokens(question)));
