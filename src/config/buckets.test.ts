import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ConfigError } from '../errors.js';
import { loadBuckets, parseBuckets, type BucketsConfig } from './buckets.js';

const KAFKA = { type: 'kafka', settings: { 'bootstrap.servers': 'kafka1' } };
const FILE = { type: 'file', settings: { path: '/backup' } };
const BUCKETS = [{ id: 'requests', streams: ['kafka_01'] }];
type Raw = Record<string, unknown>;

function parse(changes: Raw): BucketsConfig {
  return parseBuckets(
    JSON.stringify({ streamsConfigs: { kafka_01: KAFKA }, buckets: BUCKETS, ...changes }),
    'buckets.json',
    '/srv',
  );
}

/** The lines of the error, without the file's name in front. */
function problemsOf(changes: Raw): string[] {
  try {
    parse(changes);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).message.split('\n').map((line) => line.replace(/^buckets\.json: /, ''));
  }
  return [];
}

const withStream = (changes: Raw): Raw => ({ streamsConfigs: { kafka_01: { ...KAFKA, ...changes } } });
const withFile = (settings: Raw): Raw => ({
  streamsConfigs: { kafka_01: { type: 'file', settings: { path: '/backup', ...settings } } },
});
const withBucket = (changes: Raw): Raw => ({ buckets: [{ ...BUCKETS[0], ...changes }] });

/** The page of kahego shows this, comments included. */
const KAHEGO_README = `{
    // STREAMS definition
    "streamsConfigs": {
        "kafka_01": { // id of the stream that will be used in bucket
            "type":"kafka", // type of the stream, kafka or file
            "slice": 1.0, // % of messages sent to stream, 1.0 = 100%
            "settings": { //custom settings for the stream type
                "bootstrap.servers": "kafka1:29092",
                "acks":"all",
                "compression.codec": "snappy",
                "batch.num.messages": "50000",
                "queue.buffering.max.messages": "500000",
                "queue.buffering.max.ms": "1000"
            },
            // backup stream in case primary fails
            "backup": { 
                "type":"file", //same as above, kafka or file
                // custom settings
                "settings": { 
                    "path":"/tmp/", //path were file will be saved
                    "maxFiles": "10", //max concurrent files
                    "sizeRotate": "10MB", //max file size 
                    "fileNameTemplate":"{bucket}/{ts}.bckstm" // file name template, can be used {bucket}, {ts} and {hostname}, if it contains "{PS}" it will create subdirectories where {PS} is path separator
                }
            }
        },
        "file_copy": { //another stream, just like the one above
            "type":"file",
            "slice":1.0,
            "settings":{
                "path":"/backup/",
                "maxFiles":"10",
                "sizeRotate":"100MB",
                "fileNameTemplate":"{bucket}{PS}{hostname}-{ts}.bckstm"
            }
        }
    },
    "buckets": [ // buckets definition, the id of the bucket is either the {bucket} in a filestream or the topic name in a kafka stream
        {
            "id": "requests",
            "streams": [ "kafka_01", "file_copy" ], //you can define multiple streams, it will duplicate messages between them
            "batch": 10000, //batch to be accumulated 
            "batchTimeout": 30000 //flush messages after this time in millis if no flush was made
        }
    ],
    //same as above, but in this case it will take the bucket defined in the message sent, not the id, yet id is still required due to how configuration deserialization works
    "defaultBucket": {
        "id":"default",
        "streams": ["kafka_01"],
        "batch":1000,
        "batchTimeout": 30000
    } 
}
`;

describe('buckets.json', () => {
  test("kahego's own example parses, comments and all", () => {
    const { streamsConfigs, buckets, defaultBucket, warnings, notes } = parseBuckets(
      KAHEGO_README,
      'buckets.json',
    );
    expect(streamsConfigs['kafka_01']).toMatchObject({
      id: 'kafka_01',
      type: 'kafka',
      slice: 1,
      settings: {
        bootstrapServers: [{ host: 'kafka1', port: 29092 }],
        acks: -1,
        compressionCodec: 'snappy',
        batchNumMessages: 50_000,
      },
      backup: {
        type: 'file',
        replay: 'auto',
        settings: {
          path: '/tmp',
          maxFiles: 10,
          sizeRotateBytes: 10 * 1024 ** 2,
          fileNameTemplate: '{bucket}/{ts}.bckstm',
          fsync: true,
        },
      },
    });
    expect(streamsConfigs['file_copy']).toEqual({
      id: 'file_copy',
      type: 'file',
      slice: 1,
      backup: undefined,
      settings: {
        path: '/backup',
        maxFiles: 10,
        sizeRotateBytes: 100 * 1024 ** 2,
        fileNameTemplate: '{bucket}{PS}{hostname}-{ts}.bckstm',
        fsync: true,
      },
    });
    expect(buckets).toEqual([
      {
        id: 'requests',
        streams: ['kafka_01', 'file_copy'],
        batchFrames: 10_000,
        batchTimeoutMs: 30_000,
        batchBytes: 976 * 1024,
      },
    ]);
    expect(defaultBucket).toEqual({
      id: 'default',
      streams: ['kafka_01'],
      batchFrames: 1000,
      batchTimeoutMs: 30_000,
      batchBytes: 976 * 1024,
    });
    expect(warnings).toEqual([]);
    expect(notes).toEqual([
      'streamsConfigs.kafka_01.settings.queue.buffering.max.messages: Kahe batches by bucket: batch, batchTimeout',
      'streamsConfigs.kafka_01.settings.queue.buffering.max.ms: Kahe batches by bucket: batch, batchTimeout',
    ]);
  });

  test('COMPAT BUCKETS_FILE: comments, trailing commas and bare names are read', () => {
    const text =
      '\uFEFF{streamsConfigs: {f: {type: \'file\', settings: {path: "d",},},}, /* one */ buckets: [{id: "a", streams: ["f"],},],}';
    expect(parseBuckets(text, 'b.json5', '/srv').streamsConfigs['f']).toMatchObject({
      settings: { path: '/srv/d' },
    });
  });

  test('COMPAT all settings values: texts or numbers', () => {
    const texts = parse({
      ...withStream({ slice: '0.25' }),
      ...withBucket({ batch: '1000', batchTimeout: '50', batchBytes: '2048' }),
    });
    const numbers = parse({
      ...withStream({ slice: 0.25 }),
      ...withBucket({ batch: 1000, batchTimeout: 50, batchBytes: 2048 }),
    });
    expect(texts).toEqual(numbers);
    expect(texts.buckets[0]).toMatchObject({ batchFrames: 1000, batchTimeoutMs: 50, batchBytes: 2048 });
    expect(parse(withFile({ maxFiles: 3, sizeRotate: 2048, fsync: 'false' }))).toEqual(
      parse(withFile({ maxFiles: '3', sizeRotate: '2048', fsync: false })),
    );
  });

  test('the result is frozen, all of it, and holds no inherited ids', () => {
    const config = parse({ streamsConfigs: { kafka_01: { ...KAFKA, backup: FILE } } });
    const stream = config.streamsConfigs['kafka_01']!;
    const parts = [
      config,
      config.streamsConfigs,
      stream,
      stream.settings,
      stream.backup,
      stream.backup!.settings,
      config.buckets,
      config.buckets[0],
      config.buckets[0]!.streams,
      config.warnings,
      config.notes,
    ];
    expect(parts.every(Object.isFrozen)).toBe(true);
    expect(config.streamsConfigs['constructor']).toBeUndefined();
  });

  test('a syntax error names file, line and column, and shows the line', () => {
    expect(() => parseBuckets('{a: 1,\n  b: }', 'b.json')).toThrow(
      new ConfigError("b.json: line 2, column 6: invalid character '}': b: »}«"),
    );
  });

  test.each([
    ['[]', 'a list'],
    ['null', 'null'],
    ['7', '7'],
    ['"x"', 'a text'],
  ])('%s is not a configuration', (text, what) => {
    expect(() => parseBuckets(text, 'b.json')).toThrow(
      new ConfigError(`b.json: ${what} is not an object with streamsConfigs and buckets`),
    );
  });

  test('COMPAT streamsConfigs or buckets empty or missing: error with the path', () => {
    expect(() => parseBuckets('{}', 'b.json')).toThrow(
      new ConfigError(
        'b.json: streamsConfigs: missing; expected an object with at least one entry\nb.json: buckets: missing; expected a list with at least one entry',
      ),
    );
    expect(problemsOf({ streamsConfigs: {}, buckets: [] })).toEqual([
      'streamsConfigs: is empty; at least one entry is needed',
      'buckets: is empty; at least one entry is needed',
    ]);
    expect(problemsOf({ buckets: {} })).toEqual(['buckets: an object is not a list']);
    expect(problemsOf({ streamsConfigs: [KAFKA] })[0]).toBe('streamsConfigs: a list is not an object');
  });

  test('everything wrong is in one error', () => {
    expect(
      problemsOf({
        streamsConfigs: {
          kafka_01: {
            type: 'kafka',
            slice: 2,
            settings: { 'bootstrap.servers': 'k', acks: 'alll', lingerms: 5 },
            backup: { ...FILE, backup: FILE },
          },
          'we ird': { type: 'flie', settings: 'sasl.password=hunter2' },
          f: { type: 'file', settings: { fileNameTemplate: '../{buckt}', maxFiles: 0 }, slize: 1 },
        },
        buckets: [
          { id: 'a b', streams: ['kafka_o1', 'kafka_01', 'kafka_01', 7], batch: 0 },
          7,
          { id: 'a b', streams: [] },
        ],
        bukets: 1,
      }),
    ).toEqual([
      'bukets: unknown; did you mean "buckets"?',
      'streamsConfigs.kafka_01.slice: 2 is not a number from 0 to 1',
      'streamsConfigs.kafka_01.settings.lingerms: librdkafka has no such setting; did you mean "linger.ms"?',
      'streamsConfigs.kafka_01.settings.acks: "alll" is not one of all, -1, 0, 1',
      "streamsConfigs.kafka_01.backup.backup: a backup can't have a backup of its own",
      'streamsConfigs["we ird"].type: "flie" is not one of kafka, file',
      'streamsConfigs["we ird"].settings: a text is not an object',
      'streamsConfigs.f.slize: unknown; did you mean "slice"?',
      'streamsConfigs.f.settings.path: missing; name the folder of the files',
      'streamsConfigs.f.settings.fileNameTemplate: "../{buckt}": "{buckt}" is not one of {bucket} {PS} {hostname} {rand} {ts}; did you mean "{bucket}"?',
      'streamsConfigs.f.settings.maxFiles: 0 is not a whole number from 1 to 1000000',
      'buckets[0].streams[3]: 7 is not a text in quotes',
      'buckets[0].batch: 0 is not a whole number from 1 to 10000000',
      'buckets[0].streams[0]: no stream "kafka_o1" in streamsConfigs; did you mean "kafka_01"?',
      'buckets[0].streams[2]: "kafka_01" is named twice; each stream can have the frames once',
      'buckets[0].id: "a b" is not a valid Kafka topic: 1 to 249 of a-z A-Z 0-9 . _ -, and not "." or ".."',
      'buckets[1]: 7 is not an object',
      'buckets[2].streams: is empty; name at least one stream of streamsConfigs',
      'buckets[2].id: "a b" is the id of buckets[0] too; each bucket needs its own',
    ]);
  });

  test('a long list of problems is cut', () => {
    const lines = problemsOf(Object.fromEntries(Array.from({ length: 60 }, (_, index) => [`x${index}`, 1])));
    expect(lines).toHaveLength(51);
    expect(lines.at(-1)).toBe('… and 10 more');
  });

  test('two buckets can not have one id', () => {
    expect(problemsOf({ buckets: [...BUCKETS, ...BUCKETS] })).toEqual([
      'buckets[1].id: "requests" is the id of buckets[0] too; each bucket needs its own',
    ]);
  });

  test("a bucket that reaches Kafka through a backup alone needs a topic's name too", () => {
    const changes = {
      streamsConfigs: { f: { ...FILE, backup: KAFKA } },
      buckets: [{ id: 'a b', streams: ['f'] }],
    };
    expect(problemsOf(changes)).toEqual([
      'buckets[0].id: "a b" is not a valid Kafka topic: 1 to 249 of a-z A-Z 0-9 . _ -, and not "." or ".."',
    ]);
  });

  test('a stream that no bucket uses is a warning', () => {
    expect(parse({ streamsConfigs: { kafka_01: KAFKA, spare: FILE } }).warnings).toEqual([
      'streamsConfigs.spare: no bucket uses this stream',
    ]);
  });
});

describe('file names', () => {
  const two = (first: Raw, second: Raw, streams = ['kafka_01', 'b']): Raw => ({
    streamsConfigs: { kafka_01: { type: 'file', settings: first }, b: { type: 'file', settings: second } },
    buckets: [{ id: 'x', streams }],
  });

  test('two streams of a bucket can not write the same files', () => {
    const clash =
      'buckets[0].streams: streamsConfigs.b writes the same files as streamsConfigs.kafka_01: "/backup/d/{bucket}"; give one another path or fileNameTemplate';
    expect(
      problemsOf(two({ path: '/backup/d' }, { path: '/backup/', fileNameTemplate: 'd{PS}{bucket}' })),
    ).toEqual([clash]);
    expect(problemsOf(two({ path: '/backup' }, { path: '/other' }))).toEqual([]);
  });

  test('nor can a stream and a backup, in defaultBucket either', () => {
    const streamsConfigs = { kafka_01: { ...KAFKA, backup: FILE }, b: FILE };
    expect(problemsOf({ streamsConfigs, defaultBucket: { streams: ['kafka_01', 'b'] } })).toEqual([
      'defaultBucket.streams: streamsConfigs.b writes the same files as streamsConfigs.kafka_01.backup: "/backup/{bucket}"; give one another path or fileNameTemplate',
    ]);
  });

  test('streams of different buckets may', () => {
    expect(
      problemsOf({
        ...two({ path: '/backup' }, { path: '/backup' }),
        buckets: [
          { id: 'x', streams: ['kafka_01'] },
          { id: 'y', streams: ['b'] },
        ],
      }),
    ).toEqual([]);
  });
});

describe('hostile input', () => {
  test('names of Object.prototype are names like any other', () => {
    const text = `{streamsConfigs: {__proto__: {type: 'file', settings: {path: 'd'}}, constructor: {type: 'file', settings: {path: 'e'}}},
      buckets: [{id: '__proto__', streams: ['__proto__', 'constructor']}]}`;
    const { streamsConfigs, buckets } = parseBuckets(text, 'b.json', '/srv');
    expect(Object.keys(streamsConfigs)).toEqual(['__proto__', 'constructor']);
    expect(streamsConfigs['__proto__']).toMatchObject({ id: '__proto__', settings: { path: '/srv/d' } });
    expect(buckets[0]!.id).toBe('__proto__');
    expect(problemsOf({ buckets: [{ id: 'x', streams: ['toString'] }] })).toEqual([
      'buckets[0].streams[0]: no stream "toString" in streamsConfigs',
    ]);
    expect(() => parseBuckets('{__proto__: {streamsConfigs: {}}}', 'b.json')).toThrow(
      /^b\.json: __proto__: unknown/,
    );
  });

  test('deep nesting ends in an error of ours', () => {
    const deep = `${'{backup:'.repeat(50_000)}1${'}'.repeat(50_000)}`;
    expect(() =>
      parseBuckets(
        `{streamsConfigs: {a: ${deep}}, buckets: [${'['.repeat(50_000)}${']'.repeat(50_000)}]}`,
        'b.json',
      ),
    ).toThrow(ConfigError);
  });

  test('long and wild names stay short and on one line in the error', () => {
    const lines = problemsOf({
      buckets: [{ id: 'x'.repeat(100_000), streams: [`a\nb${'y'.repeat(1000)}`] }],
    });
    expect(lines.every((line) => line.length < 300)).toBe(true);
    expect(lines[1]).toContain('"a\\nb');
  });

  test('a stream id with control characters is refused', () => {
    expect(problemsOf({ streamsConfigs: { kafka_01: KAFKA, 'a\nb': FILE } })).toEqual([
      'streamsConfigs: "a\\nb" can\'t name a stream: 1 to 255 characters, none of them a control character',
    ]);
  });
});

describe('loadBuckets', () => {
  test('reads a file, and names it when it can not', () => {
    const folder = mkdtempSync(join(tmpdir(), 'kahe-buckets-'));
    const file = join(folder, 'buckets.json');
    const source = { cwd: folder, env: {} };
    try {
      expect(() => loadBuckets(file, source)).toThrow(
        new ConfigError(`${file}: not found; BUCKETS_FILE names this file`),
      );
      expect(() => loadBuckets(folder, source)).toThrow(
        new ConfigError(`${folder}: can't be read (EISDIR); BUCKETS_FILE names this file`),
      );
      writeFileSync(file, KAHEGO_README);
      expect(loadBuckets(file, source).buckets).toHaveLength(1);
      writeFileSync(file, '{');
      expect(() => loadBuckets(file, source)).toThrow(
        new ConfigError(`${file}: line 1, column 2: invalid end of input: {»«`),
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
