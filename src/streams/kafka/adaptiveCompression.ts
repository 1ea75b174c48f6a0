// Whether compressing is worth it for a stream. Data that is compressed already, or random, costs the most
// time to compress, for nothing: after a record batch that hardly shrank, it is sent as it is, and so are the
// next few without a try; then a sample must shrink before a whole one is tried again. Kafka's codec stands
// in each record batch.
import type { Compress } from './compression.js';

/** Batches smaller than this say nothing about those that follow. */
const TELLING_BYTES = 16 * 1024;
/**
 * What saves less than an eighth is not worth its time, here and at each consumer. LevelDB, RocksDB and ZFS
 * draw the line at the same place.
 */
const WORTHWHILE_SHARE = 7 / 8;
const BATCHES_LEFT_PLAIN = 15;
/**
 * As much as a codec that runs in line gets through in half a millisecond; snappy looks back no further than
 * half of it.
 */
const SAMPLE_BYTES = 128 * 1024;

export class AdaptiveCompression {
  #leftPlain = 0;
  #isDoubtful = false;

  /** Asked before each record batch. */
  async isWorthTrying(records: Buffer, compress: Compress): Promise<boolean> {
    if (this.#leftPlain > 0) {
      this.#leftPlain--;
      return false;
    }
    if (!this.#isDoubtful || records.length <= SAMPLE_BYTES) return true;
    return this.wasWorthIt(SAMPLE_BYTES, (await compress(records.subarray(0, SAMPLE_BYTES))).length);
  }

  /** Told after a try; false: send it as it is. */
  wasWorthIt(plainBytes: number, compressedBytes: number): boolean {
    if (plainBytes < TELLING_BYTES) return true;
    this.#isDoubtful = compressedBytes > plainBytes * WORTHWHILE_SHARE;
    if (this.#isDoubtful) this.#leftPlain = BATCHES_LEFT_PLAIN;
    return !this.#isDoubtful;
  }
}
