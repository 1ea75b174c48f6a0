// The oracle sees what it is there to see: each kind of damage, made by hand, turns its verdict red.
import { describe, expect, test } from 'vitest';
import type { Frame } from '../../support/daemonFrames.js';
import type { FoundList } from './findings.js';
import { faultTable } from './table.js';
import { reachVerdict, type Rules } from './verdict.js';
import { Workload, plannedFrame, type SentBy } from './workload.js';

const { plan } = new Workload({ buckets: ['a', 'b'], bytes: (number) => 40 + number });
const FRAMES = 40;

function sender(name: string, more: Partial<SentBy> = {}): SentBy {
  return {
    name,
    sent: FRAMES,
    begun: FRAMES,
    owed: FRAMES,
    frameOf: (number) => plannedFrame(plan, name, number),
    ...more,
  };
}

function frames(name: string, bucket: string, count = FRAMES): Frame[] {
  return Array.from({ length: count }, (_, number) => plannedFrame(plan, name, number)).filter(
    (frame) => frame.bucket === bucket,
  );
}

function inKafka(bucket: string, list: readonly Frame[], partition = 0): FoundList {
  return { place: 'kafka', bucket, partition, frames: list };
}

const WHOLE = [inKafka('a', frames('s', 'a')), inKafka('b', frames('s', 'b'))];

function verdictOf(found: readonly FoundList[], rules: Partial<Rules> = {}, sent = [sender('s')]) {
  return reachVerdict(sent, found, { duplicatesAtMost: 0, ...rules });
}

describe('the verdict', () => {
  test('all is well when everything is there once, in order', () => {
    const { problems, ...verdict } = verdictOf(WHOLE);
    expect(problems).toEqual([]);
    expect(verdict).toMatchObject({
      sent: FRAMES,
      owed: FRAMES,
      lost: 0,
      gone: 0,
      invented: 0,
      corrupt: 0,
      duplicated: 0,
      disordered: 0,
    });
    expect(verdict.buckets.get('a')).toMatchObject({
      owed: 20,
      begun: 20,
      kafka: { distinct: 20, alsoElsewhere: 0 },
    });
  });

  test('in a workload there are keys and none, in every bucket', () => {
    const keys = (bucket: string) => new Set(frames('s', bucket).map(({ key }) => key === undefined));
    expect([keys('a').size, keys('b').size]).toEqual([2, 2]);
  });

  test('a hole is seen, also at the end', () => {
    const holed = [
      inKafka('a', frames('s', 'a').toSpliced(3, 1)),
      inKafka('b', frames('s', 'b').slice(0, -1)),
    ];
    expect(verdictOf(holed)).toMatchObject({ lost: 2, problems: [`2× missing: s:6 (a), s:39 (b)`] });
    expect(verdictOf(holed, { mayBeGone: (_, number) => number === 6 })).toMatchObject({ lost: 1, gone: 1 });
  });

  test('of a connection that broke, what was confirmed is owed, and what was begun may be there', () => {
    const cut = sender('s', { sent: 30, owed: 10 });
    expect(
      verdictOf([inKafka('a', frames('s', 'a', 10)), inKafka('b', frames('s', 'b', 10))], {}, [cut]).problems,
    ).toEqual([]);
    expect(verdictOf(WHOLE, {}, [cut]).problems).toEqual([]);
    expect(verdictOf([inKafka('a', frames('s', 'a', 9))], {}, [cut])).toMatchObject({ lost: 5 });
  });

  test('copies are counted wherever they are, and bounded by the test', () => {
    const twice = [
      ...WHOLE,
      inKafka('a', frames('s', 'a', 10), 1),
      { ...inKafka('b', frames('s', 'b', 4)), place: 'backup' as const },
    ];
    expect(verdictOf(twice, { duplicatesAtMost: 7 })).toMatchObject({ duplicated: 7, problems: [] });
    expect(verdictOf(twice, { duplicatesAtMost: 6 }).problems).toHaveLength(1);
    expect(verdictOf(twice, { duplicatesAtMost: 7 }).buckets.get('b')).toMatchObject({
      kafka: { distinct: 20, alsoElsewhere: 2 },
      backup: { distinct: 2, alsoElsewhere: 2 },
    });
  });

  test('what comes late and is in the backup too is a copy; anything else that comes late is disorder', () => {
    const own = frames('s', 'a');
    const late = [...own.slice(0, 5), ...own.slice(10), ...own.slice(5, 10)];
    const backedUp = { ...inKafka('a', own.slice(5, 10)), place: 'backup' as const };
    expect(verdictOf([inKafka('a', late), WHOLE[1]!, backedUp], { duplicatesAtMost: 5 })).toMatchObject({
      disordered: 0,
      keylessDisordered: 0,
      duplicated: 5,
      problems: [],
    });
    const some = { ...backedUp, frames: backedUp.frames.slice(0, 4) };
    expect(verdictOf([inKafka('a', late), WHOLE[1]!, some], { duplicatesAtMost: 4 })).toMatchObject({
      duplicated: 4,
      lost: 0,
    });
    expect(verdictOf([inKafka('a', late), WHOLE[1]!, some], { duplicatesAtMost: 4 }).problems).toHaveLength(
      1,
    );
  });

  test('a batch that comes again as a whole is no disorder; one that comes late is', () => {
    const own = frames('s', 'a');
    const again = [...own.slice(0, 10), ...own.slice(5, 10), ...own.slice(10)];
    expect(verdictOf([inKafka('a', again), WHOLE[1]!], { duplicatesAtMost: 5 })).toMatchObject({
      disordered: 0,
      problems: [],
    });
    const late = [...own.slice(0, 5), ...own.slice(10), ...own.slice(5, 10)];
    expect(verdictOf([inKafka('a', late), WHOLE[1]!])).toMatchObject({
      disordered: 2,
      keylessDisordered: 3,
      lost: 0,
    });
    expect(verdictOf([inKafka('a', late), WHOLE[1]!], { keylessDisorderedAtMost: 3 }).problems).toEqual([
      expect.stringMatching(/^2× out of order: s:12 behind 38/),
    ]);
  });

  test('a flipped byte, a cut message, another key and another bucket are seen', () => {
    const [first, ...rest] = frames('s', 'a');
    const damages: Partial<Frame>[] = [
      { message: first!.message.replace('a', 'b') },
      { message: first!.message.slice(0, -1) },
      { key: 'other' },
      { key: undefined },
      { bucket: 'b' },
    ];
    for (const damage of damages)
      expect(
        verdictOf([inKafka('a', [{ ...first!, ...damage }, ...rest]), WHOLE[1]!]),
        JSON.stringify(damage),
      ).toMatchObject({ corrupt: 1, lost: 1 });
  });

  test('what nobody sent is seen: an unknown sender, a number that was never reached, no number', () => {
    const strange = [
      plannedFrame(plan, 'other', 0),
      plannedFrame(plan, 's', FRAMES),
      { bucket: 'a', key: undefined, message: 'hello' },
      { bucket: 'a', key: undefined, message: 's:x:' },
    ];
    expect(verdictOf([...WHOLE, inKafka('a', strange, 1)])).toMatchObject({ invented: 4 });
  });

  test('what must be rejected is rejected, and nothing else', () => {
    const mustBeRejected = ({ message }: Frame) => message.startsWith('s:4:');
    expect(verdictOf(WHOLE, { mustBeRejected })).toMatchObject({ misjudged: 1 });
    const rejected = (list: readonly Frame[]): FoundList => ({
      place: 'rejected',
      bucket: 'a',
      partition: undefined,
      frames: list,
    });
    const own = frames('s', 'a');
    expect(
      verdictOf([inKafka('a', own.toSpliced(2, 1)), rejected([own[2]!]), WHOLE[1]!], { mustBeRejected })
        .problems,
    ).toEqual([]);
    const another = [inKafka('a', own.toSpliced(3, 1)), rejected([own[3]!]), WHOLE[1]!];
    expect(verdictOf(another)).toMatchObject({ misjudged: 1, lost: 0 });
    expect(verdictOf(another, { mustBeRejected: () => undefined }).problems).toEqual([]);
  });
});

describe('the table', () => {
  test('has the last line of each fault and arrangement', () => {
    const record = {
      fault: 'f',
      arrangement: 'spool',
      size: 'full',
      runs: 20,
      sent: 12_345,
      lost: 0,
      duplicated: 7,
      keylessDisordered: 2,
      recoverMs: 1234,
      peakRssMb: 90,
      loopDelayP99Ms: 7.4,
    } as const;
    const rows = faultTable([
      record,
      { ...record, lost: 1 },
      { ...record, arrangement: 'none', recoverMs: undefined, note: 'why' },
    ]).split('\n');
    expect(rows.slice(2)).toEqual([
      '| f | spool | 20 | 12,345 | 1 | 7 | 2 | 1.2 s | 90 MB | 7 ms |  |',
      '| f | none | 20 | 12,345 | 0 | 7 | 2 | – | 90 MB | 7 ms | why |',
    ]);
  });
});
