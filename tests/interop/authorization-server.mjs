// An authorization server that knows nothing of opgate: `oidc-provider`, on loopback, with an agent
// that runs the authorization code flow against it (RFC 6749, 7636, 8707, 9396, 9449).
//
// First line on standard output: {"issuer": ...}. Then lines of questions:
//   {"grant": {"resource", "scope", "details", "dpop": bool}}   -> the answer of the token endpoint
//   {"proof": {"method", "url", "token"}}                       -> {"proof"}: RFC 9449, by `dpop`
//   {"revoke": token}                                           -> {"status"} (RFC 7009)

import { createHash, randomBytes, webcrypto } from 'node:crypto';
import { createServer } from 'node:http';

import { serve } from './lines.mjs';

console.info = console.error; // standard output is for answers alone
globalThis.crypto ??= webcrypto; // older than Node.js 20

const { default: Provider } = await import('oidc-provider');
const { generateKeyPair: generateProofKey, generateProof } = await import('dpop');
const { exportJWK, generateKeyPair } = await import('jose');

const CALLBACK = 'https://agent.test/callback';
const SECRET = 'a-secret-of-the-gate-for-introspection-alone';

const server = createServer();
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const issuer = `http://127.0.0.1:${server.address().port}`;
const signing = await generateKeyPair('ES256', { extractable: true });
const granted = (ctx) => ctx.oidc.grant?.rar ?? ctx.oidc.entities.AuthorizationCode?.rar;

const provider = new Provider(issuer, {
  jwks: { keys: [{ ...(await exportJWK(signing.privateKey)), alg: 'ES256', use: 'sig', kid: 'as-1' }] },
  clientDefaults: {
    id_token_signed_response_alg: 'ES256',
    introspection_signed_response_alg: 'ES256',
  },
  clients: [
    {
      client_id: 'agent-1',
      token_endpoint_auth_method: 'none',
      redirect_uris: [CALLBACK],
      grant_types: ['authorization_code'],
      authorization_details_types: ['agent_operation'],
    },
    {
      client_id: 'gate',
      client_secret: SECRET,
      redirect_uris: [],
      response_types: [],
      grant_types: [],
    },
  ],
  enabledJWA: {
    idTokenSigningAlgValues: ['ES256'],
    introspectionSigningAlgValues: ['ES256'],
  },
  cookies: { keys: [randomBytes(16).toString('hex')] },
  findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  pkce: { required: () => true },
  features: {
    devInteractions: { enabled: false },
    dPoP: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    jwtIntrospection: { enabled: true },
    revocation: { enabled: true, allowedPolicy: () => true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_ctx, resource) => ({
        audience: resource,
        scope: 'orders.read orders.write tools',
        accessTokenTTL: 300,
        accessTokenFormat: new URL(resource).pathname.startsWith('/opaque') ? 'opaque' : 'jwt',
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
    richAuthorizationRequests: {
      enabled: true,
      ack: 'experimental-01',
      types: { agent_operation: { validate: () => {} } },
      rarForAuthorizationCode: granted,
      rarForCodeResponse: granted,
      rarForIntrospectionResponse: (_ctx, token) => token.rar,
    },
  },
});

/** The person at the consent page, who agrees to what is asked. */
async function consent(req, res) {
  const details = await provider.interactionDetails(req, res);
  const { client_id: clientId, resource, scope } = details.params;
  const grant = new provider.Grant({ accountId: 'alice', clientId });
  grant.addResourceScope(resource, scope ?? '');
  for (const detail of JSON.parse(details.params.authorization_details ?? '[]')) {
    grant.addRar(detail);
  }
  const result = { login: { accountId: 'alice' }, consent: { grantId: await grant.save() } };
  await provider.interactionFinished(req, res, result, { mergeWithLastSubmission: false });
}

const respond = provider.callback();
server.on('request', (req, res) => {
  if (!req.url.startsWith('/interaction/')) {
    respond(req, res);
    return;
  }
  consent(req, res).catch((error) => {
    console.error(error);
    res.writeHead(500).end();
  });
});

/** Follows redirects with a cookie jar until the agent's own address, as a browser would. */
async function browse(url) {
  const jar = new Map();
  let next = url;
  while (!next.startsWith(CALLBACK)) {
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
    const response = await fetch(next, { redirect: 'manual', headers: { cookie } });
    for (const line of response.headers.getSetCookie()) {
      const [pair] = line.split(';');
      jar.set(pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1));
    }
    const location = response.headers.get('location');
    if (!location) throw new Error(`${next}: ${response.status} ${await response.text()}`);
    next = new URL(location, next).href;
  }
  return new URL(next).searchParams;
}

const proofKey = await generateProofKey('ES256', { extractable: true });

async function grant({ resource, scope, details, dpop }) {
  const verifier = randomBytes(32).toString('base64url');
  const asked = new URLSearchParams({
    client_id: 'agent-1',
    response_type: 'code',
    redirect_uri: CALLBACK,
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    resource,
    scope,
    ...(details && { authorization_details: JSON.stringify(details) }),
  });
  const answered = await browse(`${issuer}/auth?${asked}`);
  const code = answered.get('code');
  if (!code) throw new Error(`no code: ${answered}`);
  const url = `${issuer}/token`;
  const response = await fetch(url, {
    method: 'POST',
    headers: dpop ? { DPoP: await generateProof(proofKey, url, 'POST') } : {},
    body: new URLSearchParams({
      client_id: 'agent-1',
      grant_type: 'authorization_code',
      code,
      code_verifier: verifier,
      redirect_uri: CALLBACK,
      resource,
    }),
  });
  return response.json();
}

async function revoke(token) {
  const body = new URLSearchParams({ client_id: 'agent-1', token });
  const { status } = await fetch(`${issuer}/token/revocation`, { method: 'POST', body });
  return { status };
}

process.stdout.write(`${JSON.stringify({ issuer, client: 'gate', secret: SECRET })}\n`);
await serve(async (question) => {
  if (question.grant) return grant(question.grant);
  if (question.revoke) return revoke(question.revoke);
  const { method, url, token } = question.proof;
  return { proof: await generateProof(proofKey, url, method, undefined, token) };
});
process.exit(0);
