// A stream's backup as the place of what is over the limit: what is written there counts for the stream as
// written to its backup.
import { type Amount, StreamWatch, type WrittenTo } from '../../streams/streamStats.js';

export class SurplusWatch extends StreamWatch {
  readonly #stream: StreamWatch;

  constructor(stream: StreamWatch, now: () => number) {
    super(now);
    this.#stream = stream;
  }

  override wrote(to: WrittenTo, amount: Amount): void {
    super.wrote(to, amount);
    this.#stream.wrote('backup', amount);
  }

  override failed(to: WrittenTo, amount: Amount, problem: string): void {
    super.failed(to, amount, problem);
    this.#stream.failed('backup', amount, problem);
  }
}
