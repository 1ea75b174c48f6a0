// An oracle for Kafka's RecordBatch v2: decodes it straight from the definition and checks everything that
// can be checked. It shares no code with what it judges, and does not care about speed.
//
//  0  INT64  baseOffset            23  INT32  lastOffsetDelta         53  INT32  baseSequence
//  8  INT32  batchLength (from 12) 27  INT64  baseTimestamp           57  INT32  count of records
// 12  INT32  partitionLeaderEpoch  35  INT64  maxTimestamp            61  records, compressed together
// 16  INT8   magic = 2             43  INT64  producerId
// 17  UINT32 crc32c (from 21)      51  INT16  producerEpoch
// 21  INT16  attributes: codec (0-2), log append time (3), transactional (4), control (5)
import { createRequire } from 'node:module';
import zlib from 'node:zlib';
import { Zstd } from '@hpcc-js/wasm-zstd';
import { decompressFrameSync } from 'lz4-napi';
import { WireReader } from './wire.js';

const require = createRequire(import.meta.url);
const snappy = require('snappyjs') as { uncompress(compressed: Buffer): Buffer };
const wasmZstd = await Zstd.load();
/** From Node 22.15 on; many times quicker than WebAssembly's. */
const { zstdDecompressSync } = zlib as { zstdDecompressSync?: (compressed: Buffer) => Buffer };

const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const;
/** Names as in Kafka's `compression.type`, at the index that the attributes hold. */
export type Codec = (typeof CODECS)[number];

/** One record of a batch. */
export interface DecodedRecord {
  readonly offset: number;
  /** Milliseconds since 1970. */
  readonly timestamp: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly { readonly key: string; readonly value: Buffer | null }[];
}

/** A whole batch; numbers are as they stood on the wire. */
export interface DecodedRecordBatch {
  readonly baseOffset: number;
  readonly lastOffsetDelta: number;
  readonly codec: Codec;
  readonly isLogAppendTime: boolean;
  readonly isTransactional: boolean;
  readonly isControl: boolean;
  readonly partitionLeaderEpoch: number;
  readonly baseTimestamp: number;
  readonly maxTimestamp: number;
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
  /** Bytes of the whole batch on the wire, its 12 bytes of offset and length included. */
  readonly byteLength: number;
  /** Bytes of the records before compression. */
  readonly recordsByteLength: number;
  readonly records: readonly DecodedRecord[];
}

/** Offset and length fields, which stand before what `batchLength` counts. */
const PREFIX_BYTES = 12;
const CRC_END = 21;

const CRC32C_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc >>> 0;
});

/** CRC-32C (Castagnoli) of the bytes. */
export function crc32c(bytes: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC32C_TABLE[(crc ^ byte) & 0xff]! ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

/**
 * Decodes exactly one batch that fills the whole buffer.
 * @throws Error that says what is wrong: length, magic, CRC, codec, count, offset deltas, timestamps, or
 * bytes left over.
 */
export function decodeRecordBatch(buffer: Buffer): DecodedRecordBatch {
  const reader = new WireReader(buffer);
  const batch = decodeNext(reader);
  check(reader.remaining === 0, `${reader.remaining} bytes follow the batch`);
  return batch;
}

/**
 * Decodes the batches that stand one after another, as a Fetch response holds them; a last one that is cut
 * short is left out.
 */
export function decodeRecordBatches(buffer: Buffer): DecodedRecordBatch[] {
  const reader = new WireReader(buffer);
  const batches: DecodedRecordBatch[] = [];
  while (reader.remaining >= PREFIX_BYTES) {
    const byteLength = PREFIX_BYTES + buffer.readInt32BE(reader.position + 8);
    if (reader.remaining < byteLength) break;
    batches.push(decodeNext(reader));
  }
  return batches;
}

function decodeNext(reader: WireReader): DecodedRecordBatch {
  const start = reader.position;
  const baseOffset = reader.safeInt64();
  const batchLength = reader.int32();
  const end = start + PREFIX_BYTES + batchLength;
  check(end <= reader.buffer.length, `batchLength ${batchLength} passes the buffer's end`);
  const partitionLeaderEpoch = reader.int32();
  const magic = reader.int8();
  check(magic === 2, `magic is ${magic}, not 2`);
  const crc = reader.uint32();
  const computed = crc32c(reader.buffer.subarray(start + CRC_END, end));
  check(crc === computed, `CRC32C is ${crc.toString(16)}, the bytes give ${computed.toString(16)}`);

  const attributes = reader.int16();
  const codec = CODECS[attributes & 7];
  check(codec !== undefined, `codec ${attributes & 7} is unknown`);
  check((attributes & ~0x7f) === 0, `attributes ${attributes.toString(16)} use undefined bits`);
  const header = {
    baseOffset,
    lastOffsetDelta: reader.int32(),
    codec,
    isLogAppendTime: (attributes & 8) !== 0,
    isTransactional: (attributes & 16) !== 0,
    isControl: (attributes & 32) !== 0,
    partitionLeaderEpoch,
    baseTimestamp: reader.safeInt64(),
    maxTimestamp: reader.safeInt64(),
    producerId: reader.safeInt64(),
    producerEpoch: reader.int16(),
    baseSequence: reader.int32(),
  };
  const count = reader.int32();
  const plain = decompress(codec, reader.bytes(end - reader.position));
  const records = decodeRecords(plain, count, header);
  return { ...header, byteLength: end - start, recordsByteLength: plain.length, records };
}

interface BatchHeader {
  readonly baseOffset: number;
  readonly lastOffsetDelta: number;
  readonly isLogAppendTime: boolean;
  readonly baseTimestamp: number;
  readonly maxTimestamp: number;
}

function decodeRecords(plain: Buffer, count: number, header: BatchHeader): DecodedRecord[] {
  check(count > 0, `the batch says it holds ${count} records`);
  check(
    header.lastOffsetDelta === count - 1,
    `lastOffsetDelta is ${header.lastOffsetDelta} with ${count} records`,
  );
  const reader = new WireReader(plain);
  const records: DecodedRecord[] = [];
  let maxTimestamp = -Infinity;
  for (let index = 0; index < count; index++) {
    const length = reader.varint();
    const end = reader.position + length;
    const attributes = reader.int8();
    check(attributes === 0, `attributes of record ${index} are ${attributes}`);
    const createTime = header.baseTimestamp + reader.varlong();
    const offsetDelta = reader.varint();
    check(offsetDelta === index, `offsetDelta of record ${index} is ${offsetDelta}`);
    const key = reader.varintBytes();
    const value = reader.varintBytes();
    const headers = Array.from({ length: reader.varint() }, () => ({
      key: reader.varintBytes()?.toString('utf8') ?? '',
      value: reader.varintBytes(),
    }));
    check(
      reader.position === end,
      `record ${index} says ${length} bytes, but ends ${reader.position - end} past that`,
    );
    maxTimestamp = Math.max(maxTimestamp, createTime);
    const timestamp = header.isLogAppendTime ? header.maxTimestamp : createTime;
    records.push({ offset: header.baseOffset + offsetDelta, timestamp, key, value, headers });
  }
  check(reader.remaining === 0, `${reader.remaining} bytes follow the last record`);
  if (!header.isLogAppendTime) {
    check(
      maxTimestamp === header.maxTimestamp,
      `maxTimestamp is ${header.maxTimestamp}, the records give ${maxTimestamp}`,
    );
    check(records[0]!.timestamp === header.baseTimestamp, 'the first record is not at baseTimestamp');
  }
  return records;
}

function decompress(codec: Codec, compressed: Buffer): Buffer {
  switch (codec) {
    case 'none':
      return compressed;
    case 'gzip':
      return zlib.gunzipSync(compressed);
    case 'snappy':
      return uncompressSnappy(compressed);
    case 'lz4':
      return decompressFrameSync(compressed);
    case 'zstd':
      return zstdDecompressSync?.(compressed) ?? Buffer.from(wasmZstd.decompress(compressed));
  }
}

/**
 * Java's stream framing: this magic and 8 bytes of versions, then blocks of INT32 length and raw snappy.
 * librdkafka sends it bare.
 */
const XERIAL_MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);
const XERIAL_HEADER_BYTES = 16;

function uncompressSnappy(compressed: Buffer): Buffer {
  if (!compressed.subarray(0, XERIAL_MAGIC.length).equals(XERIAL_MAGIC)) return snappy.uncompress(compressed);
  const reader = new WireReader(compressed, XERIAL_HEADER_BYTES);
  const blocks: Buffer[] = [];
  while (reader.remaining > 0) blocks.push(snappy.uncompress(reader.bytes(reader.int32())));
  return Buffer.concat(blocks);
}

function check(isRight: boolean, problem: string): asserts isRight {
  if (!isRight) throw new Error(`bad record batch: ${problem}`);
}
