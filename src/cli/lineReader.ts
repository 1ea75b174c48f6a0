// The lines of a stream as bytes, just as they are between line ends: a message need not be text. The last
// one may lack its end.
import type { Readable } from 'node:stream';

export interface LineReaderOptions {
  /** Of a line; a longer one is passed over, before it fills the memory. */
  readonly maxBytes: number;
  /** Called with the number of a line that is too long. */
  readonly onTooLong?: (number: number) => void;
  /** Nothing more is wanted: the lines that have come whole are the last. */
  readonly stop?: AbortSignal;
}

const NEWLINE = 10;

export class LineReader implements AsyncIterable<Buffer> {
  readonly #input: Readable;
  readonly #options: LineReaderOptions;
  /** Of the line that is being read. */
  #parts: Buffer[] = [];
  #bytes = 0;
  #number = 1;

  constructor(input: Readable, options: LineReaderOptions) {
    this.#input = input;
    this.#options = options;
  }

  /** @throws Error the stream fails */
  async *[Symbol.asyncIterator](): AsyncIterator<Buffer> {
    const { stop } = this.#options;
    const end = (): void => void this.#input.destroy();
    stop?.addEventListener('abort', end, { once: true });
    try {
      for await (const chunk of this.#input as AsyncIterable<Buffer>) yield* this.#linesOf(chunk);
    } catch (error) {
      if (stop?.aborted !== true) throw error;
    } finally {
      stop?.removeEventListener('abort', end);
    }
    // Half a line that was to go on is none.
    if (stop?.aborted !== true && this.#bytes > 0) yield* this.#end();
  }

  *#linesOf(chunk: Buffer): Generator<Buffer> {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      this.#add(chunk.subarray(start, end));
      yield* this.#end();
      start = end + 1;
    }
    this.#add(Buffer.from(chunk.subarray(start)));
  }

  /** Of what is too long nothing is kept. */
  #add(part: Buffer): void {
    this.#bytes += part.length;
    if (this.#bytes <= this.#options.maxBytes) this.#parts.push(part);
    else this.#parts = [];
  }

  *#end(): Generator<Buffer> {
    const [parts, bytes] = [this.#parts, this.#bytes];
    [this.#parts, this.#bytes] = [[], 0];
    if (bytes > this.#options.maxBytes) this.#options.onTooLong?.(this.#number);
    else yield Buffer.concat(parts);
    this.#number++;
  }
}
