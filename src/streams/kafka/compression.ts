// The five codecs of Kafka. snappy runs in line, for it costs less than a hand-over; the others run on
// libuv's threads where they can.
import { createRequire } from 'node:module';
import { promisify } from 'node:util';
import * as zlib from 'node:zlib';
import type { Semaphore } from './semaphore.js';
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
 * @param semaphore bounds what runs on libuv's threads at the same time
 */
export async function compressorFor(
  name: Exclude<CompressionCodec, 'none'>,
  level: number,
  semaphore: Semaphore,
): Promise<Compress> {
  switch (name) {
    case 'gzip': {
      const gzip = promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.gzip);
      return (records) => semaphore.run(() => gzip(records, { level }));
    }
    case 'snappy':
      return snappy();
    case 'lz4': {
      const { compressFrame } = await import('lz4-napi');
      return (records) => semaphore.run(() => compressFrame(records));
    }
    case 'zstd':
      return zstd(level, semaphore);
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
async function zstd(level: number, semaphore: Semaphore): Promise<Compress> {
  const own = zlib as unknown as {
    zstdCompress?: (b: Buffer, o: object, done: (error: Error | null, out: Buffer) => void) => void;
    constants: { ZSTD_c_compressionLevel: number };
  };
  if (own.zstdCompress !== undefined) {
    const compress = promisify(own.zstdCompress);
    const params = level < 0 ? {} : { [own.constants.ZSTD_c_compressionLevel]: level };
    return (records) => semaphore.run(() => compress(records, { params }));
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
