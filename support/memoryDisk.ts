// A disk in memory, for tests that crash thousands of times: what was written outlives the process, and only
// what was synced (of a file its bytes, of a folder its names) surely outlives a power cut. It can be full,
// and rot.
import { dirname } from 'node:path';
import { constants } from 'node:fs';
import type { FileFacts, FileSystem, OpenFile } from '../src/disk/fileSystem.js';
import { turn } from './fakeClock.js';

class MemoryFile {
  static made = 0;
  readonly inode = String(++MemoryFile.made);
  bytes = Buffer.alloc(0);
  syncedLength = 0;

  copy(length = this.bytes.length, syncedLength = this.syncedLength): MemoryFile {
    const copy = new MemoryFile();
    copy.bytes = Buffer.from(this.bytes.subarray(0, length));
    copy.syncedLength = Math.min(syncedLength, length);
    return copy;
  }
}

class MemoryFolder {
  readonly names = new Map<string, MemoryFile | MemoryFolder>();
  /** As of its last sync. */
  syncedNames = new Map<string, MemoryFile | MemoryFolder>();
}

export class MemoryDisk {
  /** Bytes that fit. */
  capacity = Infinity;
  openFiles = 0;
  readonly fs: FileSystem;
  #root = new MemoryFolder();

  constructor() {
    this.fs = {
      open: async (path, flags) => this.#open(path, flags),
      facts: async (path) => factsOf(this.#find(path)),
      makeFolder: async (path, { parents }) => this.#makeFolder(path, parents),
      list: async (folder) => [...this.#folder(folder).names.keys()],
      rename: async (from, to) => {
        const entry = this.#find(from);
        this.#folder(dirname(from)).names.delete(nameOf(from));
        this.#folder(dirname(to)).names.set(nameOf(to), entry);
      },
      unlink: async (path) => {
        if (this.#find(path) instanceof MemoryFolder) throw failure('EISDIR', path);
        this.#folder(dirname(path)).names.delete(nameOf(path));
      },
      removeFolder: async (path) => {
        if (this.#folder(path).names.size > 0) throw failure('ENOTEMPTY', path);
        this.#folder(dirname(path)).names.delete(nameOf(path));
      },
      syncFolder: async (path) => {
        const folder = this.#folder(path);
        folder.syncedNames = new Map(folder.names);
      },
    };
  }

  /** Every file, by its path. */
  get files(): Map<string, Buffer> {
    const found = new Map<string, Buffer>();
    const walk = (folder: MemoryFolder, path: string): void => {
      for (const [name, entry] of folder.names) {
        if (entry instanceof MemoryFile) found.set(`${path}/${name}`, entry.bytes);
        else walk(entry, `${path}/${name}`);
      }
    };
    walk(this.#root, '');
    return found;
  }

  /** The disk as the next process finds it: all that was written is there. */
  afterCrash(): MemoryDisk {
    return this.#copy();
  }

  /**
   * The disk as the next boot finds it: what was synced is there, and some of the rest.
   * @param keeps of so many, how many are kept
   */
  afterPowerCut(keeps: (most: number) => number): MemoryDisk {
    const cut = this.#copy(keeps);
    cut.#allSynced();
    return cut;
  }

  /** Makes what there is now last. */
  #allSynced(folder = this.#root): void {
    folder.syncedNames = new Map(folder.names);
    for (const entry of folder.names.values()) {
      if (entry instanceof MemoryFolder) this.#allSynced(entry);
      else entry.syncedLength = entry.bytes.length;
    }
  }

  /** @param keeps undefined: everything is kept */
  #copy(keeps?: (most: number) => number): MemoryDisk {
    const disk = new MemoryDisk();
    disk.capacity = this.capacity;
    const copies = new Map<MemoryFile | MemoryFolder, MemoryFile | MemoryFolder>();
    const copyOf = (entry: MemoryFile | MemoryFolder): MemoryFile | MemoryFolder => {
      const known = copies.get(entry);
      if (known !== undefined) return known;
      const length =
        entry instanceof MemoryFile
          ? keeps === undefined
            ? entry.bytes.length
            : entry.syncedLength + keeps(entry.bytes.length - entry.syncedLength)
          : 0;
      const copy = entry instanceof MemoryFile ? entry.copy(length) : copyFolder(entry);
      copies.set(entry, copy);
      return copy;
    };
    const copyFolder = (folder: MemoryFolder): MemoryFolder => {
      const copy = new MemoryFolder();
      for (const name of new Set([...folder.names.keys(), ...folder.syncedNames.keys()])) {
        const [now, synced] = [folder.names.get(name), folder.syncedNames.get(name)];
        const kept = keeps === undefined || now === synced ? now : keeps(1) === 1 ? now : synced;
        if (kept !== undefined) copy.names.set(name, copyOf(kept));
        if (synced !== undefined) copy.syncedNames.set(name, copyOf(synced));
      }
      return copy;
    };
    disk.#root = copyFolder(this.#root);
    return disk;
  }

  get #usedBytes(): number {
    let used = 0;
    for (const bytes of this.files.values()) used += bytes.length;
    return used;
  }

  #find(path: string): MemoryFile | MemoryFolder {
    let entry: MemoryFile | MemoryFolder = this.#root;
    for (const name of path.split('/').filter((part) => part !== '')) {
      if (!(entry instanceof MemoryFolder)) throw failure('ENOTDIR', path);
      const next = entry.names.get(name);
      if (next === undefined) throw failure('ENOENT', path);
      entry = next;
    }
    return entry;
  }

  #folder(path: string): MemoryFolder {
    const entry = this.#find(path);
    if (!(entry instanceof MemoryFolder)) throw failure('ENOTDIR', path);
    return entry;
  }

  #makeFolder(path: string, parents: boolean): void {
    let folder = this.#root;
    const names = path.split('/').filter((part) => part !== '');
    for (const [i, name] of names.entries()) {
      const next = folder.names.get(name);
      const isLast = i === names.length - 1;
      if (next instanceof MemoryFile || (next !== undefined && isLast && !parents))
        throw failure('EEXIST', path);
      if (next === undefined && !isLast && !parents) throw failure('ENOENT', path);
      const made: MemoryFolder = next ?? new MemoryFolder();
      folder.names.set(name, made);
      folder = made;
    }
  }

  #open(path: string, flags: number): OpenFile {
    if ((flags & constants.O_CREAT) !== 0) {
      const folder = this.#folder(dirname(path));
      if (folder.names.has(nameOf(path))) throw failure('EEXIST', path);
      folder.names.set(nameOf(path), new MemoryFile());
    }
    const entry = this.#find(path);
    this.openFiles++;
    const close = async (): Promise<void> => {
      this.openFiles--;
    };
    if (entry instanceof MemoryFolder) return { ...NO_FILE, facts: async () => factsOf(entry), close };
    return { ...this.#openFile(entry), close };
  }

  /** Writes and syncs take a turn, so that a crash may come in their midst. */
  #openFile(file: MemoryFile): Omit<OpenFile, 'close'> {
    const sync = async (): Promise<void> => {
      const { length } = file.bytes;
      await turn();
      file.syncedLength = Math.max(file.syncedLength, length);
    };
    const write = async (bytes: Buffer): Promise<number> => {
      const room = this.capacity === Infinity ? Infinity : this.capacity - this.#usedBytes;
      if (room <= 0) throw failure('ENOSPC', 'write');
      const fitting = bytes.subarray(0, room);
      const grown = Buffer.concat([file.bytes, fitting]);
      file.bytes = grown.subarray(0, grown.length - (fitting.length >> 1));
      await turn();
      file.bytes = grown;
      return fitting.length;
    };
    return {
      write: (bytes, offset, length) => write(Buffer.from(bytes.subarray(offset, offset + length))),
      writev: (pieces) => write(Buffer.concat(pieces)),
      read: async (into, position) => file.bytes.copy(into, 0, position),
      datasync: sync,
      sync,
      truncate: async (length) => {
        file.bytes = file.bytes.subarray(0, length);
        file.syncedLength = Math.min(file.syncedLength, length);
      },
      facts: async () => factsOf(file),
    };
  }
}

function refuse(): Promise<never> {
  return Promise.reject(failure('EISDIR', 'a folder'));
}

const NO_FILE = {
  write: refuse,
  writev: refuse,
  read: refuse,
  datasync: refuse,
  sync: refuse,
  truncate: refuse,
};

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

function factsOf(entry: MemoryFile | MemoryFolder): FileFacts {
  const isFile = entry instanceof MemoryFile;
  return {
    kind: isFile ? 'file' : 'folder',
    size: isFile ? entry.bytes.length : 0,
    device: '1',
    inode: isFile ? entry.inode : '0',
    names: 1,
  };
}

function failure(code: string, what: string): Error {
  return Object.assign(new Error(`${code}: ${what}`), { code });
}
