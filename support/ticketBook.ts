// A ticket that keeps what it is told, and fails when a record is told twice.
import type { RecordOutcome, Ticket } from '../src/intake/ticket.js';

export class TicketBook implements Ticket {
  /** Each call: the first record, how many, and how they ended. */
  readonly told: [number, number, RecordOutcome][] = [];
  readonly #byRecord = new Map<
    number,
    { readonly outcome: RecordOutcome; readonly offset: bigint | undefined }
  >();

  ended(first: number, records: number, outcome: RecordOutcome): void {
    this.told.push([first, records, outcome]);
    for (let i = 0; i < records; i++) {
      if (this.#byRecord.has(first + i)) throw new Error(`record ${first + i} was told twice`);
      const base = outcome.kind === 'delivered' ? outcome.baseOffset : undefined;
      this.#byRecord.set(first + i, { outcome, offset: base === undefined ? undefined : base + BigInt(i) });
    }
  }

  /** How many records it knows of. */
  get records(): number {
    return this.#byRecord.size;
  }

  kindOf(record: number): RecordOutcome['kind'] | undefined {
    return this.#byRecord.get(record)?.outcome.kind;
  }

  outcomeOf(record: number): RecordOutcome | undefined {
    return this.#byRecord.get(record)?.outcome;
  }

  /** Partition and offset; undefined: it was not delivered, or is not known. */
  deliveredAt(record: number): readonly [number | undefined, bigint | undefined] | undefined {
    const known = this.#byRecord.get(record);
    return known?.outcome.kind === 'delivered' ? [known.outcome.partition, known.offset] : undefined;
  }
}
