// Tokens made by the library `jose`: as tokens.py, which says what is asked and answered.

import { CompactSign, exportJWK, generateKeyPair } from 'jose';

import { serve } from './lines.mjs';

const ALGORITHMS = ['ES256', 'ES384', 'EdDSA', 'PS256', 'RS256'];

await serve(async (question) => {
  const keys = [];
  const tokens = {};
  for (const alg of ALGORITHMS) {
    const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
    keys.push({ ...(await exportJWK(publicKey)), kid: alg, alg, use: 'sig' });
    const sign = (header, text) =>
      new CompactSign(new TextEncoder().encode(text)).setProtectedHeader(header).sign(privateKey);
    // A detached JWS over the canonical form (RFC 7515 appendix F, RFC 8785).
    const recorded = async (record) => {
      const canonical = JSON.stringify(record, Object.keys(record).sort());
      const [header, , signature] = (await sign({ alg, kid: alg }, canonical)).split('.');
      return { ...record, as_signature: `${header}..${signature}` };
    };
    for (const [name, { header, payload, records, after }] of Object.entries(question.tokens)) {
      const whole = { ...payload };
      if (records) {
        whole.delegation_chain = await Promise.all(records.map(recorded));
        Object.assign(whole.delegation_chain[0], after);
      }
      const token = await sign({ alg, kid: alg, ...header }, JSON.stringify(whole));
      tokens[name] = { ...tokens[name], [alg]: token };
    }
  }
  return { jwks: { keys }, tokens };
});
