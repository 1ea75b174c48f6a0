// Buffers used again: batches and requests come and go by the megabyte, and leaving them to the garbage
// collector costs time and doubles the memory, for it learns late of what lies outside its heap.
import { MessageChannel, type MessagePort } from 'node:worker_threads';

const SMALLEST_BYTES = 4 * 1024;
const LARGEST_BYTES = 1024 * 1024;

export class BufferPool {
  readonly #free = new Map<number, Buffer[]>();
  #freeBytes = 0;
  /** The least that lay unused since the last `trim`: so much was not needed. */
  #leastFreeBytes = 0;

  /** @param keptBytes how much may lie unused; what is over is freed */
  constructor(readonly keptBytes: number) {}

  get freeBytes(): number {
    return this.#freeBytes;
  }

  /** A buffer of at least `bytes`, with any content. */
  acquire(bytes: number): Buffer {
    const size = pooledSize(bytes);
    const buffer = this.#free.get(size)?.pop();
    if (buffer === undefined) return Buffer.allocUnsafeSlow(size);
    this.#freeBytes -= size;
    this.#leastFreeBytes = Math.min(this.#leastFreeBytes, this.#freeBytes);
    return buffer;
  }

  /**
   * Gives a buffer back, whole, that nobody reads or writes any more, neither here nor in the kernel: it may
   * be empty afterwards.
   */
  recycle(buffer: Buffer): void {
    const size = buffer.length;
    if (size > LARGEST_BYTES || size !== pooledSize(size) || this.#freeBytes + size > this.keptBytes)
      return letGo(buffer);
    const free = this.#free.get(size);
    if (free === undefined) this.#free.set(size, [buffer]);
    else free.push(buffer);
    this.#freeBytes += size;
  }

  /**
   * Lets go of half of what was not needed since the last call: after a burst the memory goes back little by
   * little.
   */
  trim(): void {
    let surplus = this.#leastFreeBytes / 2;
    for (const [size, free] of this.#free) {
      for (; surplus >= size && free.length > 0; surplus -= size) {
        letGo(free.pop()!);
        this.#freeBytes -= size;
      }
    }
    this.#leastFreeBytes = this.#freeBytes;
  }
}

/**
 * How large a buffer of the pool is that holds `bytes`: powers of two up to the largest kept; beyond that
 * what is asked, for such are rare.
 */
export function pooledSize(bytes: number): number {
  if (bytes > LARGEST_BYTES) return bytes;
  return bytes <= SMALLEST_BYTES ? SMALLEST_BYTES : 2 ** Math.ceil(Math.log2(bytes));
}

/** What is sent to a port whose other end is closed is thrown away at once. */
const nowhere = ((): MessagePort => {
  const { port1, port2 } = new MessageChannel();
  port2.close();
  return port1;
})();

/**
 * Frees the buffer's memory now. The garbage collector may take minutes, for some dozens of megabytes outside
 * its heap don't press it, and who needs new ones meanwhile has both.
 */
function letGo(buffer: Buffer): void {
  nowhere.postMessage(undefined, [buffer.buffer as ArrayBuffer]);
}
