// The lines of a stream as bytes, just as they are between line ends: a message need not be text. The last one may lack its end.
import type { Readable } from 'node:stream';

const NEWLINE = 10;

export class LineReader implements AsyncIterable<Buffer> {
  /** @param maxBytes of a line; a longer one is an error, before it fills the memory */
  constructor(readonly input: Readable, readonly maxBytes: number) {}

  /** @throws Error a line is too long, or the stream fails */
  async *[Symbol.asyncIterator](): AsyncIterator<Buffer> {
    let parts: Buffer[] = [];
    let length = 0;
    let number = 1;
    for await (const chunk of this.input as AsyncIterable<Buffer>) {
      let start = 0;
      for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
        yield Buffer.concat([...parts, chunk.subarray(start, end)]);
        [parts, length, start] = [[], 0, end + 1];
        number++;
      }
      if (start === chunk.length) continue;
      parts.push(Buffer.from(chunk.subarray(start)));
      length += chunk.length - start;
      if (length > this.maxBytes) throw new Error(`line ${number} is longer than a frame may be (MAXFRAME, ${this.maxBytes} bytes)`);
    }
    if (parts.length > 0) yield Buffer.concat(parts);
  }
}
