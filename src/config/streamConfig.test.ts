import { describe, expect, test } from 'vitest';
import { Problems } from './problems.js';
import { parseStream, type ParseContext, type StreamConfig } from './streamConfig.js';

const KAFKA = { type: 'kafka', settings: { 'bootstrap.servers': 'kafka1' } };
const FILE = { type: 'file', settings: { path: '/backup' } };

interface Outcome {
  readonly stream: StreamConfig | undefined;
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
  readonly notes: readonly string[];
}

function read(raw: unknown): Outcome {
  const problems = new Problems();
  const context: ParseContext = { problems, warnings: [], notes: [], cwd: '/work' };
  return {
    stream: parseStream('s', raw, context),
    problems: problems.lines,
    warnings: context.warnings,
    notes: context.notes,
  };
}

describe('a stream', () => {
  test('COMPAT slice missing: 1', () => {
    expect(read(KAFKA).stream).toMatchObject({ id: 's', type: 'kafka', slice: 1, backup: undefined });
  });

  test('COMPAT slice is a share from 0 to 1', () => {
    expect([0.1, '0.1', 1, '1.0', '.5', 0].map((slice) => read({ ...KAFKA, slice }).stream?.slice)).toEqual([
      0.1, 0.1, 1, 1, 0.5, 0,
    ]);
    expect(read({ ...KAFKA, slice: 0 }).warnings).toEqual([
      'streamsConfigs.s.slice: 0, so nothing is ever sent to this stream',
    ]);
    expect(read({ ...KAFKA, slice: '10%' }).problems).toEqual([
      'streamsConfigs.s.slice: "10%" is not a number from 0 to 1',
    ]);
    for (const slice of [-0.1, 1.1, NaN, null, '', '1e-1', true])
      expect(read({ ...KAFKA, slice }).problems).toHaveLength(1);
  });

  test('type and settings are needed', () => {
    expect(read({}).problems).toEqual([
      'streamsConfigs.s.type: missing; one of kafka, file',
      'streamsConfigs.s.settings: missing; expected an object',
    ]);
    expect(read(null).problems).toEqual(['streamsConfigs.s: null is not an object']);
    expect(read({ type: 'Kafka', settings: [] }).problems).toEqual([
      'streamsConfigs.s.type: "Kafka" is not one of kafka, file',
      'streamsConfigs.s.settings: a list is not an object',
    ]);
  });

  test('what its kafka settings have to say is passed on', () => {
    expect(read({ type: 'kafka', settings: { ...KAFKA.settings, 'linger.ms': 5 } }).notes).toEqual([
      'streamsConfigs.s.settings.linger.ms: Kahe batches by bucket: batch, batchTimeout',
    ]);
  });
});

describe('a backup', () => {
  test('replays by itself unless told otherwise, and may be kafka too', () => {
    expect(read({ ...KAFKA, backup: FILE }).stream?.backup).toMatchObject({ type: 'file', replay: 'auto' });
    expect(read({ ...KAFKA, backup: { ...FILE, replay: 'manual' } }).stream?.backup).toMatchObject({
      replay: 'manual',
    });
    expect(read({ ...FILE, backup: KAFKA }).stream).toMatchObject({
      type: 'file',
      backup: { type: 'kafka' },
    });
    expect(read({ ...KAFKA, backup: { ...FILE, replay: 'never' } }).problems).toEqual([
      'streamsConfigs.s.backup.replay: "never" is not one of auto, manual',
    ]);
  });

  test("COMPAT slice: a backup's slice is 1; another is passed over with a warning", () => {
    const { stream, warnings } = read({ ...KAFKA, backup: { ...FILE, slice: 0.5 } });
    expect(stream?.backup).not.toHaveProperty('slice');
    expect(warnings).toEqual(['streamsConfigs.s.backup.slice: not used, a backup takes every frame']);
  });

  test('replay of a kafka backup is a warning', () => {
    expect(read({ ...FILE, backup: { ...KAFKA, replay: 'auto' } }).warnings).toEqual([
      'streamsConfigs.s.backup.replay: not used, only the files of a backup are replayed',
    ]);
  });

  test('has no backup of its own', () => {
    expect(read({ ...KAFKA, backup: { ...FILE, backup: FILE } }).problems).toEqual([
      "streamsConfigs.s.backup.backup: a backup can't have a backup of its own",
    ]);
  });

  test('its problems stand under its path', () => {
    expect(read({ ...KAFKA, backup: { type: 'file', settings: {} } }).problems).toEqual([
      'streamsConfigs.s.backup.settings.path: missing; name the folder of the files',
    ]);
    expect(read({ ...KAFKA, backup: null }).problems).toEqual([
      'streamsConfigs.s.backup: null is not an object',
    ]);
  });

  test('replay belongs to the backup, not to the stream', () => {
    expect(read({ ...KAFKA, replay: 'auto' }).problems).toEqual([
      'streamsConfigs.s.replay: unknown; known here: type, settings, slice, backup',
    ]);
  });
});
