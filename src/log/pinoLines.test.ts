import { describe, expect, test } from 'vitest';
import { sayAtEveryLevel } from '../../support/everyLevel.js';
import { LOG_LEVELS, Log, type LogWriter } from './log.js';
import { jsonLines, prettyLines } from './pinoLines.js';

const NOW = Date.UTC(2024, 1, 3, 4, 5, 6, 7);

function lines(make: (sink: (line: string) => void) => LogWriter, write: (log: Log) => void): string[] {
  const out: string[] = [];
  write(
    new Log(
      'TRACE',
      make((line) => out.push(line)),
      '',
      () => NOW,
    ),
  );
  return out;
}

describe('jsonLines', () => {
  const json = (write: (log: Log) => void): unknown[] =>
    lines(jsonLines, write).map((line) => JSON.parse(line) as unknown);

  test("an object a line, with kahego's levels", () => {
    const written = lines(jsonLines, sayAtEveryLevel);
    expect(written.every((line) => /^[^\n]+\n$/.test(line))).toBe(true);
    expect(written.map((line) => (JSON.parse(line) as { level: string }).level)).toEqual([...LOG_LEVELS]);
    expect(written[2]).toBe('{"level":"INFO","time":"2024-02-03T04:05:06.007Z","msg":"i"}\n');
  });

  test.each([
    ['/bucket.requests', { bucket: 'requests' }],
    ['/bucket.requests/stream.kafka_01', { bucket: 'requests', stream: 'kafka_01' }],
    ['/bucket.a.b/stream.c.d', { bucket: 'a.b', stream: 'c.d' }],
    ['/bucket.', { bucket: '' }],
    ['/spool', {}],
    ['/socket/client.7', { client: 7 }],
    ['/socket/client.*', {}],
    ['/kafka/bucket.x', {}],
  ])('the path %s, and what it names', (path, fields) => {
    expect(json((log) => log.at(path).warn('x'))).toEqual([
      { level: 'WARN', time: '2024-02-03T04:05:06.007Z', path, ...fields, msg: 'x' },
    ]);
  });

  test('a text is what it is: nothing in it is a format, a field or a line', () => {
    const text = '%s %d %o %% "},{"level":"FATAL" \\ é';
    expect(json((log) => log.info(text))).toEqual([
      { level: 'INFO', time: '2024-02-03T04:05:06.007Z', msg: text },
    ]);
    expect(json((log) => log.at('/bucket.x\n","level":"FATAL').info('a\nb'))).toEqual([
      {
        level: 'INFO',
        time: '2024-02-03T04:05:06.007Z',
        path: '/bucket.x\\x0a","level":"FATAL',
        bucket: 'x\\x0a","level":"FATAL',
        msg: 'a\\x0ab',
      },
    ]);
  });

  test("a line's fields are members; what the path names counts more", () => {
    const fields = {
      reason: '"},{"level":"FATAL"',
      frames: 12,
      retryMs: 1000,
      bucket: 'b',
      since: undefined,
    };
    const said = { level: 'WARN', time: '2024-02-03T04:05:06.007Z', msg: 'x' };
    const written = (path: string): unknown[] => json((log) => log.at(path).warn('x', fields));
    const members = { reason: '"},{"level":"FATAL"', frames: 12, retryMs: 1000 };
    expect(written('/spool')).toEqual([{ ...said, path: '/spool', ...members, bucket: 'b' }]);
    expect(written('/bucket.a')).toEqual([{ ...said, path: '/bucket.a', ...members, bucket: 'a' }]);
    expect(lines(jsonLines, (log) => log.at('/bucket.a').warn('x', fields))[0]).toMatch(
      /^\{"level":"WARN","time":"[^"]*","path":"\/bucket\.a","bucket":"a","reason":.*,"frames":12,.*"msg":"x"\}\n$/,
    );
  });

  test('how many are folded is a number', () => {
    const out: string[] = [];
    jsonLines((line) => out.push(line)).write({
      level: 'WARN',
      timeMs: NOW,
      path: '',
      text: 'x',
      isUnfolded: false,
      folded: 12,
    });
    expect(JSON.parse(out[0]!)).toMatchObject({ folded: 12 });
  });
});

describe('prettyLines', () => {
  test('without colors: time of this place, level, path, text', () => {
    const written = lines(
      (sink) => prettyLines(sink, { isColored: false }),
      (log) => {
        sayAtEveryLevel(log);
        log.at('/bucket.requests/stream.kafka').info('a %s {msg}', { reason: 'not here', frames: 1 });
      },
    );
    expect(written.map((line) => line.replace(/^\[\d\d:\d\d:06\.007\] /, ''))).toEqual([
      'TRACE: t\n',
      'DEBUG: d\n',
      'INFO: i\n',
      'WARN: w\n',
      'ERROR: e\n',
      'FATAL: f\n',
      'INFO: /bucket.requests/stream.kafka a %s {msg}\n',
    ]);
  });

  test('with colors: each level has one of its own, and a line no other escapes than those of colors', () => {
    const colored = (sink: (line: string) => void): LogWriter => prettyLines(sink, { isColored: true });
    const written = lines(colored, sayAtEveryLevel);
    const colors = written.map((line) => /\u001b\[\d+m(?=[A-Z])/.exec(line)?.[0]);
    expect(new Set(colors).size).toBe(LOG_LEVELS.length);
    const [evil] = lines(colored, (log) => log.at('/bucket.\u001b[2J').warn('\u001b]0;title\u0007\nforged'));
    expect(evil!.replaceAll(/\u001b\[\d+m/g, '').replace(/^\[.*?\] /, '')).toBe(
      'WARN: /bucket.\\x1b[2J \\x1b]0;title\\x07\\x0aforged\n',
    );
  });
});
