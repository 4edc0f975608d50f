// The official reference server with every feature: says its port in a line, and serves until it is ended.

import { createServer } from 'node:net';

const free = createServer().listen(0, '127.0.0.1', () => {
  const { port } = free.address();
  free.close(async () => {
    process.stdout.write(`${JSON.stringify({ port })}\n`);
    // What it logs is no answer.
    console.log = console.error;
    process.env.PORT = String(port);
    process.argv[2] = 'streamableHttp';
    await import('@modelcontextprotocol/server-everything/dist/index.js');
  });
});
