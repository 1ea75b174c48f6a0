// A reader of full frames with no thought for speed, to hold the real one to. It shares no code with it.
import type { BadReason } from '../src/frames/frame.js';

/** Why a whole frame with the key `kahe2` is bad: the layout once more, part by part. */
export function naiveProblem(frame: Buffer): BadReason | undefined {
  let at = 11;
  const take = (length: number): Buffer => {
    if (at + length > frame.length) throw new Problem('lengths pass the end of the frame');
    return frame.subarray(at, (at += length));
  };
  const takeNullable = (): void => {
    const length = take(4).readInt32LE();
    if (length < -1) throw new Problem('a length is negative');
    if (length > 0) take(length);
  };
  try {
    const bucketLength = take(1)[0]!;
    if (bucketLength === 0) throw new Problem('no bucket');
    take(bucketLength);
    const fixed = take(12);
    if (fixed.readInt32LE() < -1) throw new Problem('the partition is negative');
    const time = fixed.readBigInt64LE(4);
    if (time < -1n || time > 2n ** 53n - 1n) throw new Problem('the time is out of range');
    takeNullable();
    takeNullable();
    for (let left = take(2).readUInt16LE(); left > 0; left--) {
      const name = take(take(2).readUInt16LE());
      if (!Buffer.from(name.toString()).equals(name)) throw new Problem('a header name is not UTF-8');
      takeNullable();
    }
    if (at !== frame.length) throw new Problem('bytes follow the last header');
    return undefined;
  } catch (error) {
    if (error instanceof Problem) return error.reason;
    throw error;
  }
}

class Problem extends Error {
  constructor(readonly reason: BadReason) {
    super(reason);
  }
}
