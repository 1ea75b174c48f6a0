// Takes a file away that was replayed whole. Promise: what the file got meanwhile is not lost with it.
import { closeSync, fstatSync, openSync, readSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { FILE_MODE } from '../../disk/fileSystem.js';
import { randomName } from '../../disk/names.js';

/**
 * @param bytes of the file that were replayed
 * @returns `grown`: it holds more, and stays. A path: it grew in the moment in which it was removed, and
 * there is what came
 */
export function removeReplayed(path: string, bytes: number): string | undefined {
  const file = openSync(path, 'r');
  try {
    if (fstatSync(file).size > bytes) return 'grown';
    unlinkSync(path);
    const rest = restOf(file, bytes);
    if (rest === undefined) {
      // What stood beside it told of these frames alone. The file's own path may be another's by now.
      if (path.endsWith('.bckstm')) rmSync(path.replace(/\.bckstm$/, '.reasons.jsonl'), { force: true });
      return undefined;
    }
    const left = path.replace(/(\.bckstm)?$/, `.${randomName()}.bckstm`);
    writeFileSync(left, rest, { flag: 'wx', mode: FILE_MODE });
    return left;
  } finally {
    closeSync(file);
  }
}

function restOf(file: number, from: number): Buffer | undefined {
  const rest = Buffer.alloc(Math.max(0, fstatSync(file).size - from));
  return rest.length === 0 ? undefined : rest.subarray(0, readSync(file, rest, 0, rest.length, from));
}
