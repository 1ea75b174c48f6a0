// A stream of a bucket as one configuration has it, and what a reload changes in a bucket's streams.
import type { StreamConfig } from '../config/buckets.js';
import type { StreamParts } from '../streams/streamParts.js';
import type { StreamRecord } from './bucketRecord.js';

export interface Generation {
  readonly config: StreamConfig;
  /** Outlives the stream, should it end and come again: its account above all. */
  readonly record: StreamRecord;
  readonly parts: StreamParts;
}

/** Each in the configuration's order. */
export interface StreamChanges {
  /** Ids. */
  readonly removed: readonly string[];
  readonly changed: readonly Generation[];
  readonly added: readonly Generation[];
}
