// The files that a command line means: those named, and of folders their .bckstm files, oldest first.
import { type BigIntStats, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { CommandError } from '../command.js';

export interface InputFile {
  /** As it was named. */
  readonly path: string;
  readonly bytes: number;
}

/** @throws {CommandError} a name leads nowhere, or to what is neither file nor folder */
export function inputFiles(operands: readonly string[]): InputFile[] {
  return operands.flatMap((operand) => {
    const facts = statOf(operand);
    if (facts.isDirectory()) return filesBelow(operand);
    if (!facts.isFile()) throw new CommandError(`${operand} is neither a file nor a folder`);
    return [{ path: operand, bytes: Number(facts.size) }];
  });
}

export function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

function statOf(path: string): BigIntStats {
  const facts = statSync(path, { bigint: true, throwIfNoEntry: false });
  if (facts === undefined) throw new CommandError(`${path}: no such file or folder`);
  return facts;
}

/**
 * The .bckstm files in and below it, oldest first. In a spool, folders called damaged hold what was put
 * aside; names with a dot are notes and the like.
 */
export function filesBelow(folder: string): InputFile[] {
  const found: (InputFile & { readonly ns: bigint })[] = [];
  const look = (below: string): void => {
    for (const entry of readdirSync(below, { withFileTypes: true })) {
      const path = join(below, entry.name);
      if (entry.isDirectory() && entry.name !== 'damaged' && !entry.name.startsWith('.')) look(path);
      if (!entry.isFile() || !entry.name.endsWith('.bckstm')) continue;
      // It may have been delivered and removed meanwhile.
      const facts = statSync(path, { bigint: true, throwIfNoEntry: false });
      if (facts !== undefined) found.push({ path, bytes: Number(facts.size), ns: facts.mtimeNs });
    }
  };
  look(folder);
  const byName = new Intl.Collator('en', { numeric: true });
  const stem = (path: string): string => path.slice(0, -'.bckstm'.length);
  return found
    .sort((a, b) => (a.ns < b.ns ? -1 : a.ns > b.ns ? 1 : byName.compare(stem(a.path), stem(b.path))))
    .map(({ path, bytes }) => ({ path, bytes }));
}
