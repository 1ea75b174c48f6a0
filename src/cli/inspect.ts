// `kahe inspect FILE…`: a line for each frame of .bckstm files, and where a file is torn.
import { type BckstmEnd, type BckstmFrame, readBckstm } from '../frames/bckstm.js';

/** @returns exit code: 0, or 1 when a file is torn or can't be read */
export function inspect(files: readonly string[]): Promise<number> {
  if (files.length === 0) {
    process.stderr.write('kahe inspect: name one file or more, as: kahe inspect data/requests/*.bckstm\n');
    return Promise.resolve(2);
  }
  return Promise.resolve(Math.max(...files.map(inspectFile)));
}

function inspectFile(file: string): number {
  try {
    return show(file, readBckstm(file));
  } catch (error) {
    process.stderr.write(`kahe inspect: ${file}: ${(error as Error).message}\n`);
    return 1;
  }
}

function show(file: string, frames: Generator<BckstmFrame, BckstmEnd>): number {
  let count = 0;
  for (let next = frames.next(); ; next = frames.next()) {
    if (next.done === true) {
      const { wholeBytes, tornBytes } = next.value;
      process.stdout.write(`${file}: ${count} frames, ${wholeBytes} bytes${tornBytes > 0 ? `; torn: the last ${tornBytes} bytes, from offset ${wholeBytes} on, are no whole frame` : ''}\n`);
      return tornBytes > 0 ? 1 : 0;
    }
    count++;
    process.stdout.write(`${line(next.value)}\n`);
  }
}

function line({ offset, kind, bucket, key, message }: BckstmFrame): string {
  if (kind !== 'frame') return `${offset}\t(${kind})\t${message.length} bytes`;
  return `${offset}\t${readable(bucket)}\t${key === null ? '-' : readable(key)}\t${readable(message)}`;
}

/** Text as text on one line; anything else as hex. */
function readable(bytes: Buffer): string {
  const text = bytes.toString();
  return Buffer.from(text).equals(bytes) && !/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/.test(text) ? text.replace(/[\t\n]/g, ' ') : `0x${bytes.toString('hex')}`;
}
