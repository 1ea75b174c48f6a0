// The five codecs of Kafka. snappy runs in line, for it costs less than a hand-over; the others run on
// libuv's threads where they can.
import { createRequire } from 'node:module';
import { promisify } from 'node:util';
import * as zlib from 'node:zlib';
import type { Permits } from './permits.js';
import { COMPRESSION_CODECS, type CompressionCodec } from '../../config/kafka/settings.js';

/** The codec's number in a record batch's attributes. */
export function codecId(name: CompressionCodec): number {
  return COMPRESSION_CODECS.indexOf(name);
}

/**
 * Compresses the records of one record batch. What is not given as a promise is good only until the next
 * call.
 */
export type Compress = (records: Buffer) => Uint8Array | Promise<Uint8Array>;

/**
 * @param level as `compression.level`; -1 is the codec's own default
 * @param permits bounds what runs on libuv's threads at the same time
 */
export async function compressorFor(
  name: Exclude<CompressionCodec, 'none'>,
  level: number,
  permits: Permits,
): Promise<Compress> {
  switch (name) {
    case 'gzip': {
      const gzip = promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.gzip);
      return (records) => permits.run(() => gzip(records, { level }));
    }
    case 'snappy':
      return snappy();
    case 'lz4': {
      const { compressFrame } = await import('lz4-napi');
      return (records) => permits.run(() => compressFrame(records));
    }
    case 'zstd':
      return zstd(level, permits);
  }
}

/**
 * snappyjs is what kafkajs-snappy is made of. Its compressor is called directly, into one output buffer: the
 * codec around it clears a megabyte for each call and leaves it to the garbage collector.
 */
function snappy(): Compress {
  const { SnappyCompressor } = createRequire(import.meta.url)('snappyjs/snappy_compressor') as SnappyModule;
  let output = new Uint8Array(0);
  return (records) => {
    const compressor = new SnappyCompressor(records);
    const most = compressor.maxCompressedLength();
    if (output.length < most) output = new Uint8Array(most);
    return output.subarray(0, compressor.compressToBuffer(output));
  };
}

interface SnappyModule {
  readonly SnappyCompressor: new (input: Uint8Array) => {
    maxCompressedLength(): number;
    compressToBuffer(output: Uint8Array): number;
  };
}

/** Node has zstd of its own from 22.15 on; before that a build for WebAssembly does it, in line. */
async function zstd(level: number, permits: Permits): Promise<Compress> {
  const own = zlib as unknown as {
    zstdCompress?: (b: Buffer, o: object, done: (error: Error | null, out: Buffer) => void) => void;
    constants: { ZSTD_c_compressionLevel: number };
  };
  if (own.zstdCompress !== undefined) {
    const compress = promisify(own.zstdCompress);
    const params = level < 0 ? {} : { [own.constants.ZSTD_c_compressionLevel]: level };
    return (records) => permits.run(() => compress(records, { params }));
  }
  const { Zstd } = await import('@hpcc-js/wasm-zstd');
  const wasm = await Zstd.load();
  copyOutFast(wasm);
  return (records) => {
    const compressed = wasm.compress(records, level < 0 ? wasm.defaultCLevel() : level);
    // It prints its errors, and returns bytes all the same.
    if (!ZSTD_MAGIC.equals(compressed.subarray(0, 4)))
      throw new Error(`zstd could not compress ${records.length} bytes`);
    return compressed;
  };
}

/**
 * The package copies its result byte by byte through a list: 35 ms for 900 KB, against 2 ms. Its version is
 * pinned for this.
 */
function copyOutFast(wasm: object): void {
  const { _mainModule: heap } = wasm as {
    _mainModule?: { heapToUint8Array: unknown; heapView: (place: unknown) => Uint8Array };
  };
  if (heap !== undefined) heap.heapToUint8Array = (place: unknown) => heap.heapView(place).slice();
}

const ZSTD_MAGIC = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);

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

/**
 * Whether compressing is worth it for a stream. Data that is compressed already, or random, costs the most
 * time to compress, for nothing: after a record batch that hardly shrank, it is sent as it is, and so are the
 * next few without a try; then a sample must shrink before a whole one is tried again. Kafka's codec stands
 * in each record batch.
 */
export class CompressionGauge {
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
