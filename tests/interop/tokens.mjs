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
    for (const [name, { header, payload }] of Object.entries(question.tokens)) {
      const text = new TextEncoder().encode(JSON.stringify(payload));
      const signing = new CompactSign(text).setProtectedHeader({ alg, kid: alg, ...header });
      tokens[name] = { ...tokens[name], [alg]: await signing.sign(privateKey) };
    }
  }
  return { jwks: { keys }, tokens };
});
