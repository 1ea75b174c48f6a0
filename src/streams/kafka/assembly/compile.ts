// Compiles recordEncoder.ts of this folder, and run as a program (`make encoder`) writes it into
// ../recordEncoderCode.ts. A test compares the two.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const SOURCE = path.join(import.meta.dirname, 'recordEncoder.ts');
const TARGET = path.resolve(import.meta.dirname, '../recordEncoderCode.ts');
/** Six pages of 64 KiB, for good: a window of frames, and more than four times as much for the records. */
const OPTIONS = [
  '-O3',
  '--noAssert',
  '--runtime',
  'stub',
  '--initialMemory',
  '6',
  '--maximumMemory',
  '6',
  '--enable',
  'bulk-memory',
];

/** @returns the WebAssembly module, as base64 */
export function compileRecordEncoder(): string {
  const compiler = path.resolve(fileURLToPath(import.meta.resolve('assemblyscript/asc')), '../../bin/asc.js');
  const folder = mkdtempSync(path.join(tmpdir(), 'kahe-encoder-'));
  const file = path.join(folder, 'encoder.wasm');
  execFileSync(process.execPath, [compiler, SOURCE, ...OPTIONS, '--outFile', file]);
  const code = readFileSync(file);
  rmSync(folder, { recursive: true });
  return code.toString('base64');
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const lines = compileRecordEncoder()
    .match(/.{1,120}/g)!
    .map((line) => `  '${line}',`);
  writeFileSync(
    TARGET,
    [
      '// Made from assembly/recordEncoder.ts by `make encoder`: a WebAssembly module, as base64.',
      'export const RECORD_ENCODER_CODE = [',
      ...lines,
      "].join('');",
      '',
    ].join('\n'),
  );
}
