import { describe, expect, test } from 'vitest';
import { CompressionGauge } from './compression.js';

const MEGABYTE = Buffer.alloc(1_000_000);
const SAMPLE_BYTES = 128 * 1024;

/** A codec under which all comes out at the share that is set, and which notes how much it was given. */
class Codec {
  readonly given: number[] = [];
  share = 1;

  readonly compress = (records: Buffer): Uint8Array => {
    this.given.push(records.length);
    return new Uint8Array(records.length * this.share);
  };
}

/** One record batch after another, as a stream sends them: which of them were compressed. */
async function send(
  gauge: CompressionGauge,
  codec: Codec,
  batches: number,
  records = MEGABYTE,
): Promise<boolean[]> {
  const sent: boolean[] = [];
  for (let i = 0; i < batches; i++) {
    sent.push(
      (await gauge.isWorthTrying(records, codec.compress)) &&
        gauge.wasWorthIt(records.length, codec.compress(records).length),
    );
  }
  return sent;
}

const plain = (count: number): boolean[] => Array<boolean>(count).fill(false);

describe('CompressionGauge', () => {
  test('data that shrinks is compressed, batch after batch, and whole', async () => {
    const codec = new Codec();
    codec.share = 0.3;
    expect(await send(new CompressionGauge(), codec, 3)).toEqual([true, true, true]);
    expect(codec.given).toEqual([1_000_000, 1_000_000, 1_000_000]);
  });

  test('data that does not shrink is sent as it is; the next 15 batches are not tried, then a sample', async () => {
    const codec = new Codec();
    expect(await send(new CompressionGauge(), codec, 33)).toEqual(plain(33));
    expect(codec.given).toEqual([1_000_000, SAMPLE_BYTES, SAMPLE_BYTES]);
  });

  test('what saves less than an eighth is sent as it is', async () => {
    const codec = new Codec();
    codec.share = 0.9;
    expect(await send(new CompressionGauge(), codec, 1)).toEqual([false]);
    codec.share = 0.87;
    expect(await send(new CompressionGauge(), codec, 1)).toEqual([true]);
  });

  test('data that begins to shrink is compressed again, at most 16 batches later', async () => {
    const codec = new Codec();
    const gauge = new CompressionGauge();
    await send(gauge, codec, 1);
    codec.share = 0.3;
    expect(await send(gauge, codec, 18)).toEqual([...plain(15), true, true, true]);
    expect(codec.given).toEqual([1_000_000, SAMPLE_BYTES, 1_000_000, 1_000_000, 1_000_000]);
  });

  test('a sample that shrinks, of a batch that does not, is no reason to go on', async () => {
    const codec = new Codec();
    const gauge = new CompressionGauge();
    await send(gauge, codec, 16);
    codec.share = 0.3;
    expect(await gauge.isWorthTrying(MEGABYTE, codec.compress)).toBe(true);
    expect(gauge.wasWorthIt(1_000_000, 1_000_000)).toBe(false);
    expect(await send(gauge, codec, 15)).toEqual(plain(15));
  });

  test('a small batch is compressed as asked, and says nothing about others', async () => {
    const codec = new Codec();
    codec.share = 1.3;
    expect(await send(new CompressionGauge(), codec, 3, Buffer.alloc(100))).toEqual([true, true, true]);
    expect(codec.given).toEqual([100, 100, 100]);
  });
});
