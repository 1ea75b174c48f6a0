import { describe, expect, test } from 'vitest';
import { AdaptiveCompression } from './adaptiveCompression.js';

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
  adaptive: AdaptiveCompression,
  codec: Codec,
  batches: number,
  records = MEGABYTE,
): Promise<boolean[]> {
  const sent: boolean[] = [];
  for (let i = 0; i < batches; i++) {
    sent.push(
      (await adaptive.isWorthTrying(records, codec.compress)) &&
        adaptive.wasWorthIt(records.length, codec.compress(records).length),
    );
  }
  return sent;
}

const plain = (count: number): boolean[] => Array<boolean>(count).fill(false);

describe('AdaptiveCompression', () => {
  test('data that shrinks is compressed, batch after batch, and whole', async () => {
    const codec = new Codec();
    codec.share = 0.3;
    expect(await send(new AdaptiveCompression(), codec, 3)).toEqual([true, true, true]);
    expect(codec.given).toEqual([1_000_000, 1_000_000, 1_000_000]);
  });

  test('data that does not shrink is sent as it is; the next 15 batches are not tried, then a sample', async () => {
    const codec = new Codec();
    expect(await send(new AdaptiveCompression(), codec, 33)).toEqual(plain(33));
    expect(codec.given).toEqual([1_000_000, SAMPLE_BYTES, SAMPLE_BYTES]);
  });

  test('what saves less than an eighth is sent as it is', async () => {
    const codec = new Codec();
    codec.share = 0.9;
    expect(await send(new AdaptiveCompression(), codec, 1)).toEqual([false]);
    codec.share = 0.87;
    expect(await send(new AdaptiveCompression(), codec, 1)).toEqual([true]);
  });

  test('data that begins to shrink is compressed again, at most 16 batches later', async () => {
    const codec = new Codec();
    const adaptive = new AdaptiveCompression();
    await send(adaptive, codec, 1);
    codec.share = 0.3;
    expect(await send(adaptive, codec, 18)).toEqual([...plain(15), true, true, true]);
    expect(codec.given).toEqual([1_000_000, SAMPLE_BYTES, 1_000_000, 1_000_000, 1_000_000]);
  });

  test('a sample that shrinks, of a batch that does not, is no reason to go on', async () => {
    const codec = new Codec();
    const adaptive = new AdaptiveCompression();
    await send(adaptive, codec, 16);
    codec.share = 0.3;
    expect(await adaptive.isWorthTrying(MEGABYTE, codec.compress)).toBe(true);
    expect(adaptive.wasWorthIt(1_000_000, 1_000_000)).toBe(false);
    expect(await send(adaptive, codec, 15)).toEqual(plain(15));
  });

  test('a small batch is compressed as asked, and says nothing about others', async () => {
    const codec = new Codec();
    codec.share = 1.3;
    expect(await send(new AdaptiveCompression(), codec, 3, Buffer.alloc(100))).toEqual([true, true, true]);
    expect(codec.given).toEqual([100, 100, 100]);
  });
});
