// Questions and answers, each one line of JSON.

import { createInterface } from 'node:readline';

/** Answers every line of standard input with what `answer` makes of it. */
export async function serve(answer) {
  for await (const line of createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line)))}\n`);
  }
}
