// `kahe send BUCKET MESSAGE [KEY]`: one frame to the running daemon, and its receipt.
import { createConnection } from 'node:net';
import { loadEnvironment } from '../config/env.js';
import { encodeFrame } from '../frames/frame.js';

const RECEIPT_QUESTION = Buffer.alloc(4);

/** @returns exit code: 0 when the daemon has confirmed the frame */
export function send(args: readonly string[]): Promise<number> {
  const [bucket, message, key] = args;
  if (bucket === undefined || message === undefined || bucket === '') {
    process.stderr.write('kahe send: name a bucket and a message, as: kahe send requests "hello"\n');
    return Promise.resolve(2);
  }
  const { path } = loadEnvironment({ cwd: process.cwd(), env: process.env }).socket;
  return new Promise((resolve) => {
    const socket = createConnection(path, () => socket.write(Buffer.concat([encodeFrame(bucket, key ?? null, message), RECEIPT_QUESTION])));
    let answer = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      answer = Buffer.concat([answer, chunk]);
      if (answer.length < 8) return;
      process.stdout.write(`${answer.readBigUInt64LE()} frame is safe\n`);
      socket.end();
      resolve(0);
    });
    socket.on('error', (error) => {
      process.stderr.write(`kahe send: ${path}: ${error.message}; is the daemon running? (start it with: kahe)\n`);
      resolve(1);
    });
    socket.on('close', () => resolve(1));
  });
}
