// A reload that moves a backup is refused, with the setting and what to do; all else is taken on.
import { expect, test } from 'vitest';
import { parseBuckets } from './buckets.js';
import { refuseWhatNeedsRestart } from './needsRestart.js';

const config = (backups: Readonly<Record<string, object | undefined>>, streams = Object.keys(backups)) =>
  parseBuckets(
    JSON.stringify({
      streamsConfigs: Object.fromEntries(
        Object.entries(backups).map(([id, settings]) => [
          id,
          {
            type: 'file',
            settings: { path: `/data/${id}` },
            ...(settings && { backup: { type: 'file', settings } }),
          },
        ]),
      ),
      buckets: [{ id: 'x', streams }],
    }),
    'buckets.json',
    '/',
  );
const refuse = (...[before, after]: [object, object]): void =>
  refuseWhatNeedsRestart(before as never, after as never, 'buckets.json');

test('another path, another template: each is named, with what to do', () => {
  const before = config({ a: { path: '/one' }, b: { path: '/b', fileNameTemplate: '{bucket}{PS}{ts}.x' } });
  const after = config({ a: { path: '/two' }, b: { path: '/b', fileNameTemplate: '{bucket}{PS}{ts}.y' } });
  const todo =
    "and a backup's place changes only with a restart of Kahe: set it back, or restart; what the old place holds then stays there, and kahe replay sends it";
  expect(() => refuse(before, after)).toThrow(
    [
      `buckets.json: streamsConfigs.a.backup.settings.path: "/two" was "/one", ${todo}`,
      `buckets.json: streamsConfigs.b.backup.settings.fileNameTemplate: "{bucket}{PS}{ts}.y" was "{bucket}{PS}{ts}.x", ${todo}`,
    ].join('\n'),
  );
});

test('other settings, backups and streams that come or go, a stream in no bucket: no restart', () => {
  const before = config({ a: { path: '/one' }, b: { path: '/b' }, c: undefined, d: { path: '/d' } }, [
    'a',
    'b',
    'c',
  ]);
  const after = config({
    a: { path: '/one', maxFiles: 3 },
    b: undefined,
    c: { path: '/c' },
    d: { path: '/e' },
  });
  expect(() => refuse(before, after)).not.toThrow();
  expect(() => refuse(config({ a: { path: '/one' } }), config({ z: { path: '/two' } }))).not.toThrow();
});
