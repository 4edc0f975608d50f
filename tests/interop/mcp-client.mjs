// A client by the official SDK for TypeScript: a line says where and what to call, a line what came of it.
// It answers what the server asks: roots, a message to sample, an elicitation.
//
//     {"url", "token", "calls": [[tool, arguments], ...]}

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
} from '@modelcontextprotocol/sdk/types.js';

import { serve } from './lines.mjs';

const WORDS = { model: 'm', role: 'assistant', content: { type: 'text', text: 'sampled words' } };

await serve(async ({ url, token, calls }) => {
  const headers = { Authorization: `Bearer ${token}` };
  const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } });
  const capabilities = { sampling: {}, elicitation: {}, roots: {} };
  const client = new Client({ name: 'interop', version: '1' }, { capabilities });
  const asked = [];
  const answering = (schema, answer) =>
    client.setRequestHandler(schema, ({ method }) => {
      asked.push(method);
      return answer;
    });
  answering(CreateMessageRequestSchema, WORDS);
  answering(ElicitRequestSchema, { action: 'decline' });
  answering(ListRootsRequestSchema, { roots: [] });
  await client.connect(transport);
  const results = [];
  for (const [name, args] of calls) {
    try {
      const { content } = await client.callTool({ name, arguments: args });
      results.push({ text: content.map((part) => part.text ?? part.type).join('\n') });
    } catch (error) {
      results.push({ status: error.code, message: error.message });
    }
  }
  const { tools } = await client.listTools();
  const version = transport.protocolVersion;
  await transport.terminateSession();
  await client.close();
  return { version, tools: tools.map((tool) => tool.name), results, asked };
});
