// `kahe send BUCKET MESSAGE [KEY]`: one frame to the running daemon, and its receipt.
import { createConnection } from 'node:net';
import { loadEnvironment } from '../config/env.js';
import { encodeFrame } from '../frames/frame.js';

const RECEIPT_QUESTION = Buffer.alloc(4);
const USAGE = 'name a bucket and a message, as: kahe send requests "hello"';

/** @returns exit code: 0 when the daemon has confirmed the frame */
export async function send(args: readonly string[]): Promise<number> {
  const [bucket, message, key, ...more] = args;
  if (bucket === undefined || message === undefined || bucket === '' || more.length > 0) return complain(USAGE, 2);
  let frame: Buffer;
  try {
    frame = encodeFrame(bucket, key ?? null, message);
  } catch (error) {
    return complain((error as Error).message, 2);
  }
  const { path } = loadEnvironment({ cwd: process.cwd(), env: process.env }).socket;
  return deliver(path, frame);
}

function deliver(path: string, frame: Buffer): Promise<number> {
  return new Promise((resolve) => {
    const socket = createConnection(path, () => socket.write(Buffer.concat([frame, RECEIPT_QUESTION])));
    let answer = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      answer = Buffer.concat([answer, chunk]);
      if (answer.length < 8) return;
      process.stdout.write(`${answer.readBigUInt64LE()} frame is safe\n`);
      socket.end();
      resolve(0);
    });
    socket.on('error', (error) => resolve(complain(`${path}: ${error.message}; is the daemon running? (start it with: kahe)`, 1)));
    socket.on('close', (hadError) => {
      if (!hadError && answer.length < 8) resolve(complain(`${path}: the daemon closed the connection and did not confirm the frame; its log says why`, 1));
    });
  });
}

function complain(text: string, exitCode: number): number {
  process.stderr.write(`kahe send: ${text}\n`);
  return exitCode;
}
