// Teaches kafkajs's own producer and consumer the three codecs that it lacks. Only for tests that use them
// beside Kahe.
import { createRequire } from 'node:module';
import { Zstd } from '@hpcc-js/wasm-zstd';
import kafkajs from 'kafkajs';
import { compressFrameSync, decompressFrameSync } from 'lz4-napi';

const require = createRequire(import.meta.url);
const snappy = require('kafkajs-snappy') as () => object;
const zstd = await Zstd.load();

interface Encoded {
  readonly buffer: Buffer;
}

export function registerKafkajsCodecs(): void {
  const { CompressionCodecs, CompressionTypes } = kafkajs;
  CompressionCodecs[CompressionTypes.Snappy] = snappy;
  CompressionCodecs[CompressionTypes.LZ4] = () => ({
    compress: async (encoded: Encoded) => compressFrameSync(encoded.buffer),
    decompress: async (compressed: Buffer) => decompressFrameSync(compressed),
  });
  CompressionCodecs[CompressionTypes.ZSTD] = () => ({
    compress: async (encoded: Encoded) => Buffer.from(zstd.compress(encoded.buffer)),
    decompress: async (compressed: Buffer) => Buffer.from(zstd.decompress(compressed)),
  });
}
