// For tests: the real file system, of which the nth call fails, stops half-way or waits.
import { nodeFileSystem } from '../src/disk/fileSystem.js';
import type { FileSystem, OpenFile } from '../src/disk/fileSystem.js';

/** `write` is also one of several pieces, `sync` also that of a folder. */
export type DiskCall =
  | 'open'
  | 'write'
  | 'read'
  | 'datasync'
  | 'sync'
  | 'truncate'
  | 'close'
  | 'facts'
  | 'makeFolder'
  | 'list'
  | 'rename'
  | 'unlink'
  | 'removeFolder';

export interface Fault {
  readonly call: DiskCall;
  /** Only calls on such a path. */
  readonly path?: RegExp;
  /** So many calls go well first; 0 by default. */
  readonly after?: number;
  /** So many calls fail; all by default. */
  readonly times?: number;
  /** The errno it fails with. */
  readonly code?: string;
  /** Of a write: so many bytes are written and the call succeeds. */
  readonly short?: number;
  /** The call waits for this first. */
  readonly wait?: Promise<unknown>;
  /** Called when it is about to be made, and when it is done: a process may end itself here. */
  readonly onCall?: () => void;
  readonly onDone?: () => void;
}

/** What is to be done with one call. */
interface Verdict {
  /** The length a write is cut to. */
  short?: number;
  readonly onDone: (() => void)[];
}

interface ActiveFault {
  readonly fault: Fault;
  toSkip: number;
  left: number;
}

export class FailingDisk {
  /** Every call so far: `datasync /path`. */
  readonly calls: string[] = [];
  /** Which of `calls` failed. */
  readonly failures: number[] = [];
  /** Files that are open now. */
  openFiles = 0;
  /** Calls that have not ended. */
  underWay = 0;
  readonly fs: FileSystem;
  #faults: ActiveFault[] = [];

  constructor(real: FileSystem = nodeFileSystem) {
    const on = <T>(call: DiskCall, path: string, run: () => Promise<T>): Promise<T> =>
      this.#around(call, path, run);
    this.fs = {
      open: async (path, flags, mode) =>
        this.#openFile(path, await on('open', path, () => real.open(path, flags, mode))),
      facts: (path) => on('facts', path, () => real.facts(path)),
      makeFolder: (path, options) => on('makeFolder', path, () => real.makeFolder(path, options)),
      list: (path) => on('list', path, () => real.list(path)),
      rename: (from, to) => on('rename', from, () => real.rename(from, to)),
      unlink: (path) => on('unlink', path, () => real.unlink(path)),
      removeFolder: (path) => on('removeFolder', path, () => real.removeFolder(path)),
      syncFolder: (path) => on('sync', path, () => real.syncFolder(path)),
    };
  }

  fail(fault: Fault): void {
    this.#faults.push({ fault, toSkip: fault.after ?? 0, left: fault.times ?? Infinity });
  }

  heal(): void {
    this.#faults = [];
  }

  count(call: DiskCall, path = /./): number {
    return this.calls.filter(
      (entry) => entry.startsWith(`${call} `) && path.test(entry.slice(call.length + 1)),
    ).length;
  }

  async #around<T>(call: DiskCall, path: string, run: (short: number | undefined) => Promise<T>): Promise<T> {
    this.underWay++;
    try {
      const { short, onDone } = await this.#call(call, path);
      const result = await run(short);
      for (const tell of onDone) tell();
      return result;
    } finally {
      this.underWay--;
    }
  }

  async #call(call: DiskCall, path: string): Promise<Verdict> {
    const index = this.calls.push(`${call} ${path}`) - 1;
    const verdict: Verdict = { onDone: [] };
    for (const active of this.#faults) {
      const { fault } = active;
      if (fault.call !== call || fault.path?.test(path) === false || active.left === 0) continue;
      if (active.toSkip-- > 0) continue;
      active.left--;
      await fault.wait;
      fault.onCall?.();
      if (fault.onDone !== undefined) verdict.onDone.push(fault.onDone);
      if (fault.code !== undefined) this.failures.push(index);
      if (fault.code !== undefined)
        throw Object.assign(new Error(`${fault.code}: injected, ${call}`), { code: fault.code });
      if (fault.short !== undefined) verdict.short ??= fault.short;
    }
    return verdict;
  }

  #openFile(path: string, file: OpenFile): OpenFile {
    this.openFiles++;
    const on = <T>(call: DiskCall, run: (short: number | undefined) => Promise<T>): Promise<T> =>
      this.#around(call, path, run);
    return {
      write: (bytes, offset, length) =>
        on('write', (short) => file.write(bytes, offset, Math.min(length, short ?? length))),
      writev: (pieces) =>
        on('write', (short) =>
          file.writev(short === undefined ? pieces : [Buffer.concat(pieces).subarray(0, short)]),
        ),
      read: (into, position) => on('read', () => file.read(into, position)),
      datasync: () => on('datasync', () => file.datasync()),
      sync: () => on('sync', () => file.sync()),
      truncate: (length) => on('truncate', () => file.truncate(length)),
      facts: () => on('facts', () => file.facts()),
      close: async () => {
        this.underWay++;
        await file.close().finally(() => this.underWay--);
        this.openFiles--;
        await on('close', () => Promise.resolve());
      },
    };
  }
}
