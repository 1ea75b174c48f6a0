import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { newFolder } from '../../support/newFolder.js';
import { ConfigError } from '../errors.js';
import { loadEnvironment, type Environment } from './env.js';

const MB = 1024 ** 2;
let cwd: string;
beforeEach(() => {
  cwd = newFolder();
});

function load(text: string, env: Record<string, string> = {}, name = 'dev'): Environment {
  writeFileSync(join(cwd, `.env.${name}.local`), text);
  return loadEnvironment({ cwd, env });
}

function problemsOf(text: string, env: Record<string, string> = {}): string[] {
  try {
    load(text, env);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).message.replaceAll(`${cwd}/`, '').split('\n');
  }
  return [];
}

describe('environment', () => {
  test('an empty file gives the defaults: COMPAT BUCKETS_FILE, SOCKET, MAXMEMORY, MAXCPUS, LOG_LEVEL', () => {
    expect(load('')).toEqual({
      file: join(cwd, '.env.dev.local'),
      bucketsFile: join(cwd, 'buckets.json'),
      socket: { path: '/tmp/kahego.sock', mode: 0o660, group: undefined },
      maxMemoryBytes: 250 * MB,
      maxCpus: 2,
      logLevel: 'INFO',
      logFormat: 'auto',
      maxFrameBytes: 16 * MB,
      maxBuckets: 1000,
      stopTimeoutMs: 20_000,
      rejected: { path: join(cwd, 'rejected'), maxBytes: 100 * MB, isSynced: true, whenFull: 'hold' },
      admin: [],
      warnings: [],
    });
  });

  test('reads every variable', () => {
    const text = `# a comment
BUCKETS_FILE=conf/b.json
SOCKET="run/k.sock"
SOCKET_MODE=0600
SOCKET_GROUP=www-data
MAXMEMORY=1GB
MAXCPUS=4 # cores
LOG_LEVEL=debug
LOG_FORMAT=JSON
MAXFRAME=1M
MAXBUCKETS=7
export STOP_TIMEOUT=500ms
REJECTED=/var/lib/kahe/rejected
REJECTED_MAX=1GB
REJECTED_FULL=drop
`;
    expect(load(text)).toMatchObject({
      bucketsFile: join(cwd, 'conf/b.json'),
      socket: { path: join(cwd, 'run/k.sock'), mode: 0o600, group: 'www-data' },
      maxMemoryBytes: 1024 * MB,
      maxCpus: 4,
      logFormat: 'json',
      logLevel: 'DEBUG',
      maxFrameBytes: MB,
      maxBuckets: 7,
      stopTimeoutMs: 500,
      rejected: { path: '/var/lib/kahe/rejected', maxBytes: 1024 * MB, isSynced: true, whenFull: 'drop' },
    });
  });

  test('the result is frozen, all of it', () => {
    const environment = load('');
    expect(
      [environment, environment.socket, environment.rejected, environment.warnings].every(Object.isFrozen),
    ).toBe(true);
  });

  test('COMPAT environment: picks .env.{environment}.local', () => {
    expect(load('SOCKET=/p.sock', { environment: 'prod' }, 'prod').socket.path).toBe('/p.sock');
    expect(load('SOCKET=/d.sock', { environment: '' }).socket.path).toBe('/d.sock');
  });

  describe('a missing file', () => {
    const without = (env: Record<string, string>): Environment => loadEnvironment({ cwd, env });

    test('COMPAT environment: is fatal, and named', () => {
      expect(() => without({})).toThrow(
        new ConfigError(
          `${cwd}/.env.dev.local: not found; make this file (it may be empty: every variable has a default), or start in its folder, or set the environment variable ` +
            '"environment" to NAME to use .env.NAME.local; no file is needed when BUCKETS_FILE or SOCKET is set in the environment',
        ),
      );
    });

    test.each([[{ BUCKETS_FILE: '/etc/kahe.json' }], [{ SOCKET: '/run/kahe.sock' }]])(
      'is not needed with %j, as in a container: all comes from the environment',
      (env) => {
        expect(without({ ...env, MAXCPUS: '4' })).toMatchObject({
          file: undefined,
          maxCpus: 4,
          maxMemoryBytes: 250 * MB,
        });
        expect(() => without({ ...env, MAXCPUS: 'many' })).toThrow(/^environment variable MAXCPUS: "many"/);
      },
    );

    test.each([[{ MAXMEMORY: '1GB' }], [{ BUCKETS_FILE: '', SOCKET: ' ' }]])(
      'is fatal with %j: that does not say where anything is',
      (env) => {
        expect(() => without(env)).toThrow(/\.env\.dev\.local: not found; make this file/);
      },
    );

    test('is fatal when `environment` names it, whatever else is set', () => {
      expect(() =>
        without({ environment: 'prod', BUCKETS_FILE: '/etc/kahe.json', SOCKET: '/run/kahe.sock' }),
      ).toThrow(
        new ConfigError(
          `${cwd}/.env.prod.local: not found, because the environment variable "environment" names it; make it (it may be empty), start in its folder, or unset "environment"`,
        ),
      );
      expect(without({ environment: '', BUCKETS_FILE: '/etc/kahe.json' }).file).toBeUndefined();
    });

    test('is fatal where another one is that may be meant: its settings are not passed over', () => {
      writeFileSync(join(cwd, '.env.prod.local'), 'SPOOL=/spool');
      expect(() => without({ SOCKET: '/run/kahe.sock' })).toThrow(
        new ConfigError(
          `${cwd}/.env.dev.local: not found, but .env.prod.local is here; set the environment variable "environment" to prod, or make this file too`,
        ),
      );
    });
  });

  test('a file that is a folder can not be read', () => {
    mkdirSync(join(cwd, '.env.dev.local'));
    expect(() => loadEnvironment({ cwd, env: {} })).toThrow(/\.env\.dev\.local: can't be read \(EISDIR\)/);
  });

  test.each(['../x', 'a/b', 'a b', 'x'.repeat(101)])(
    'environment %j can not name a file elsewhere',
    (environment) => {
      expect(() => loadEnvironment({ cwd, env: { environment } })).toThrow(
        /^environment variable environment: ".*" can't name an environment; letters/,
      );
    },
  );

  test('COMPAT environment: real environment variables win over the file, and process.env is left alone', () => {
    const before = { ...process.env };
    expect(load('SOCKET=/file.sock\nMAXCPUS=8', { SOCKET: '/real.sock' })).toMatchObject({
      socket: { path: '/real.sock' },
      maxCpus: 8,
    });
    expect(process.env).toEqual(before);
  });

  test('an empty real variable means the default, even over the file', () => {
    expect(load('MAXCPUS=8', { MAXCPUS: '' }).maxCpus).toBe(2);
    expect(load('MAXCPUS=').maxCpus).toBe(2);
  });

  test('a variable that buckets.json uses is known, its name alone; another one is not', () => {
    writeFileSync(join(cwd, 'its.json'), '{ "a": "${KAFKA_PASSWORD}", "b": "$${PATH}" }');
    expect(problemsOf('BUCKETS_FILE=its.json\nKAFKA_PASSWORD=x\nKAFKA_PASWORD=y\nPATH=/bin')).toEqual([
      '.env.dev.local: line 3: unknown variable "KAFKA_PASWORD"; did you mean "KAFKA_PASSWORD"?',
      '.env.dev.local: line 4: unknown variable "PATH", which buckets.json does not use either',
    ]);
  });

  test('a value in quotes may have several lines, and what is in them is shown in no message', () => {
    writeFileSync(join(cwd, 'buckets.json'), '"${KEY} ${WORD}"');
    const key = '-----BEGIN KEY-----\nc2VjcmV0\n=x\n-----END KEY-----';
    for (const quote of ['"', "'", '`'])
      expect(problemsOf(`KEY=${quote}${key}${quote}\nMAXCPUS=4`)).toEqual([]);
    expect(problemsOf(`KEY="${key}"\nMAXCPUS=none`)).toEqual([
      '.env.dev.local: MAXCPUS: "none" is not a whole number from 1 to 1024',
    ]);
    const told = problemsOf(`KEY=${key}\nsecret words\nMAXCPUS: "a" and more`);
    expect(told.map((line) => /line (\d+): sets nothing/.exec(line)?.[1])).toEqual([
      '2',
      '3',
      '4',
      '5',
      undefined,
    ]);
    expect(told.join()).not.toMatch(/c2Vj|secret|BEGIN/);
  });

  test('a value that dotenv would cut at "#" is a problem; a quoted one and a comment are not', () => {
    writeFileSync(join(cwd, 'buckets.json'), '"${WORD}"');
    expect(problemsOf('WORD=ab#cd\nMAXCPUS=4# cores')).toEqual([
      '.env.dev.local: line 1: the value of WORD ends before "#", because what follows is a comment; write the value in quotes',
      '.env.dev.local: line 2: the value of MAXCPUS ends before "#", because what follows is a comment; write the value in quotes',
    ]);
    expect(problemsOf('WORD="ab#cd"\nMAXCPUS=4 # cores #1, of a#b\nLOG_LEVEL=#INFO')).toEqual([]);
  });

  test('a variable of another program is no problem in the environment, but is one in the file', () => {
    expect(problemsOf('', { PATH: '/bin', MAXMEMROY: '1' })).toEqual([]);
    expect(problemsOf('# x\n\nMAXMEMROY=1GB\nPATH=/bin\n__proto__=1\nenvironment=prod')).toEqual([
      '.env.dev.local: line 3: unknown variable "MAXMEMROY"; did you mean "MAXMEMORY"?',
      '.env.dev.local: line 4: unknown variable "PATH", which buckets.json does not use either',
      '.env.dev.local: line 5: unknown variable "__proto__", which buckets.json does not use either',
      '.env.dev.local: line 6: environment picks this file, so it means nothing in it; set it as an environment variable',
    ]);
  });

  test('a line that dotenv would pass over is a problem', () => {
    expect(problemsOf('SOCKET /run/k.sock\r\n=1\nSOCKET_MODE\n')).toEqual([
      '.env.dev.local: line 1: sets nothing; write NAME=value, or "#" before a comment; a value of several lines stands in quotes',
      '.env.dev.local: line 2: sets nothing; write NAME=value, or "#" before a comment; a value of several lines stands in quotes',
      '.env.dev.local: line 3: sets nothing; write NAME=value, or "#" before a comment; a value of several lines stands in quotes',
    ]);
  });
});

describe('values', () => {
  test('every problem is reported at once, with file or environment, name, value and what is right', () => {
    expect(
      problemsOf('MAXMEMORY=lots\nMAXCPUS=0\nSOCKET_MODE=999\nSTOP_TIMEOUT=soon\nMAXBUCKETS=1.5', {
        SOCKET_GROUP: 'a b',
        REJECTED_MAX: '1',
      }),
    ).toEqual([
      '.env.dev.local: MAXMEMORY: "lots" is not a size; write bytes (1048576) or a number with B, KB, MB or GB ("10MB", "1.5GB")',
      '.env.dev.local: SOCKET_MODE: "999" is not a file mode; write three octal digits ("0660")',
      'environment variable SOCKET_GROUP: "a b" is not a group; write its name or number',
      '.env.dev.local: MAXCPUS: "0" is not a whole number from 1 to 1024',
      '.env.dev.local: MAXBUCKETS: "1.5" is not a whole number from 1 to 1000000',
      '.env.dev.local: STOP_TIMEOUT: "soon" is not a duration; write seconds (20) or a number with ms, s, m or h ("500ms", "20s", "2m")',
      'environment variable REJECTED_MAX: "1" is too small; at least 1KB',
    ]);
  });

  test('COMPAT MAXMEMORY: at least 16MB', () => {
    expect(load('MAXMEMORY=16MB').maxMemoryBytes).toBe(16 * MB);
    expect(problemsOf('MAXMEMORY=16383KB')).toEqual([
      '.env.dev.local: MAXMEMORY: "16383KB" is too small; at least 16MB',
    ]);
  });

  test('MAXFRAME: the default gives way to a small MAXMEMORY, a value does not', () => {
    expect(load('MAXMEMORY=16MB').maxFrameBytes).toBe(4 * MB);
    expect(load('MAXMEMORY=16MB\nMAXFRAME=4MB').maxFrameBytes).toBe(4 * MB);
    expect(problemsOf('MAXMEMORY=16MB\nMAXFRAME=5MB')).toEqual([
      '.env.dev.local: MAXFRAME: "5MB" is over a quarter of MAXMEMORY (16MB); make it 4MB or less, or MAXMEMORY more',
    ]);
    expect(load('MAXMEMORY=2GB\nMAXFRAME=256MB').maxFrameBytes).toBe(256 * MB);
    expect(problemsOf('MAXMEMORY=2GB\nMAXFRAME=257MB')).toEqual([
      '.env.dev.local: MAXFRAME: "257MB" is too large; at most 256MB, because a longer frame in a file counts as damage',
    ]);
    expect(problemsOf('MAXFRAME=1000')).toEqual([
      '.env.dev.local: MAXFRAME: "1000" is too small; at least 1KB',
    ]);
  });

  test.each([
    ['0660', 0o660],
    ['660', 0o660],
    ['0o666', 0o666],
    ['600', 0o600],
  ])('SOCKET_MODE %s', (text, mode) => {
    expect(load(`SOCKET_MODE=${text}`).socket.mode).toBe(mode);
  });

  test.each(['rw', '66', '1660', '0x1b0', '-660', '668'])('SOCKET_MODE %s is refused', (text) => {
    expect(problemsOf(`SOCKET_MODE=${text}`)).toHaveLength(1);
  });

  test.each([
    ['0060', '0660'],
    ['000', '0600'],
    ['0466', '0666'],
  ])('SOCKET_MODE %s is refused: after a kill its owner could not take the socket over', (text, better) => {
    expect(problemsOf(`SOCKET_MODE=${text}`)).toEqual([
      `.env.dev.local: SOCKET_MODE: "${text}" does not let the socket's owner write, so the next start could not find out whether this one still runs; write "${better}"`,
    ]);
  });

  test.each([
    ['33', 33],
    ['www-data', 'www-data'],
    ['0', 0],
  ])('SOCKET_GROUP %s', (text, group) => {
    expect(load(`SOCKET_GROUP=${text}`).socket.group).toBe(group);
  });

  test('SOCKET: a path too long for a socket is refused', () => {
    expect(load(`SOCKET=/${'a'.repeat(106)}`).socket.path).toHaveLength(107);
    expect(problemsOf(`SOCKET=/${'é'.repeat(60)}`)[0]).toMatch(
      / has 121 bytes; the path of a socket can have 107$/,
    );
  });

  test('LOG_FORMAT: one that there is not is an error', () => {
    expect(load('LOG_FORMAT=Text').logFormat).toBe('text');
    expect(() => load('LOG_FORMAT=xml')).toThrow(/LOG_FORMAT: "xml" is not one of auto, pretty, json, text/);
  });

  test('COMPAT LOG_LEVEL: any case; others are INFO, with a warning', () => {
    expect(
      ['TRACE', 'debug', 'Info', 'warn', 'ERROR', 'fatal'].map(
        (level) => load(`LOG_LEVEL=${level}`).logLevel,
      ),
    ).toEqual(['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL']);
    expect(load('LOG_LEVEL=VERBOSE')).toMatchObject({
      logLevel: 'INFO',
      warnings: [
        `${cwd}/.env.dev.local: LOG_LEVEL: "VERBOSE" is not one of TRACE, DEBUG, INFO, WARN, ERROR, FATAL; INFO is used`,
      ],
    });
  });

  test('ADMIN: an address, or the path of a socket', () => {
    expect(load('').admin).toEqual([]);
    expect(load('ADMIN=').admin).toEqual([]);
    expect(load('ADMIN=127.0.0.1:9090').admin).toEqual([{ host: '127.0.0.1', port: 9090 }]);
    expect(load('ADMIN=localhost:1').admin).toEqual([{ host: 'localhost', port: 1 }]);
    expect(load('ADMIN=[::1]:65535').admin).toEqual([{ host: '::1', port: 65_535 }]);
    expect(load('ADMIN=/run/kahe/admin.sock').admin).toEqual([{ path: '/run/kahe/admin.sock' }]);
    expect(load('ADMIN=./admin.sock').admin).toEqual([{ path: join(cwd, 'admin.sock') }]);
  });

  test('ADMIN: several places', () => {
    expect(load('ADMIN=127.0.0.1:9090, ./admin.sock').admin).toEqual([
      { host: '127.0.0.1', port: 9090 },
      { path: join(cwd, 'admin.sock') },
    ]);
    expect(problemsOf('ADMIN=./a.sock,127.0.0.1:1,a/../a.sock')).toEqual([
      '.env.dev.local: ADMIN: "./a.sock,127.0.0.1:1,a/../a.sock" names a.sock twice',
    ]);
    expect(problemsOf('ADMIN=127.0.0.1:1,')).toEqual([
      expect.stringContaining('"" is no address and no path') as string,
    ]);
    expect(problemsOf('ADMIN=127.0.0.1:1,./x.sock\nSOCKET=./x.sock')).toEqual([
      expect.stringContaining('is the SOCKET that applications write to') as string,
    ]);
  });

  test.each([
    '9090',
    ':9090',
    '127.0.0.1',
    '::1:9090',
    '127.0.0.1:0',
    '127.0.0.1:65536',
    '127.0.0.1:x',
    'http:',
    'a b:1',
  ])('ADMIN %j is refused', (text) => {
    expect(problemsOf(`ADMIN="${text}"`)).toEqual([
      `.env.dev.local: ADMIN: "${text}" is no address and no path; write HOST:PORT ("127.0.0.1:9090", "[::1]:9090") or the path of a socket ("/run/kahe/admin.sock")`,
    ]);
  });

  test('STATSD is an address; its prefix and interval have defaults, and are always checked', () => {
    expect(load('').statsd).toBeUndefined();
    expect(load('STATSD=127.0.0.1:8125').statsd).toEqual({
      host: '127.0.0.1',
      port: 8125,
      prefix: 'kahe',
      intervalMs: 10_000,
    });
    expect(
      load('STATSD=[::1]:8125\nSTATSD_PREFIX=site-1.{hostname}.kahe\nSTATSD_INTERVAL=500ms').statsd,
    ).toEqual({ host: '::1', port: 8125, prefix: 'site-1.{hostname}.kahe', intervalMs: 500 });
    for (const place of ['8125', 'host', 'host:0', 'host:65536', '/run/statsd.sock', 'a b:1', '::1:8125']) {
      expect(problemsOf(`STATSD=${place}`)).toEqual([
        expect.stringMatching(/^\.env\.dev\.local: STATSD: ".*" is no address; write HOST:PORT/),
      ]);
    }
    for (const prefix of ['.a', 'a.', 'a..b', 'a b', 'a:b', 'a|b', '{host}', 'ü', 'x'.repeat(101)]) {
      expect(problemsOf(`STATSD_PREFIX="${prefix}"`)).toEqual([
        expect.stringContaining(
          "can't begin a name of statsd; write up to 100 of A-Z a-z 0-9 _ - with dots between",
        ),
      ]);
    }
    expect(problemsOf('STATSD_INTERVAL=99ms')).toEqual([
      '.env.dev.local: STATSD_INTERVAL: "99ms" is too short; at least 100ms',
    ]);
    expect(problemsOf('STATSD_INTERVAL=often')).toEqual([
      expect.stringContaining('"often" is not a duration'),
    ]);
  });

  test('SPOOL is off when unset; with it come a bound, a way to sync, and what happens when it is full', () => {
    expect(load('').spool).toBeUndefined();
    expect(load('SPOOL=').spool).toBeUndefined();
    expect(load('SPOOL=./spool').spool).toEqual({
      path: join(cwd, 'spool'),
      maxBytes: 10 * 1024 ** 3,
      sync: 'batch',
      whenFull: 'wait',
    });
    expect(load('SPOOL=/spool\nSPOOL_SYNC=ALWAYS\nSPOOL_MAX=1GB\nSPOOL_FULL=drop-oldest').spool).toEqual({
      path: '/spool',
      maxBytes: 1024 ** 3,
      sync: 'always',
      whenFull: 'drop-oldest',
    });
    expect(() => load('SPOOL=/spool\nSPOOL_FULL=explode')).toThrow(
      /SPOOL_FULL: "explode" is not one of wait, drop-oldest/,
    );
    expect(() => load('SPOOL=/spool\nSPOOL_SYNC=sometimes')).toThrow(
      /SPOOL_SYNC: "sometimes" is not one of never, batch, always/,
    );
  });

  test('SPOOL_SYNC=never is said for REJECTED too, with a spool or without one', () => {
    const isSynced = (text: string): boolean => load(text).rejected.isSynced;
    expect(['', 'SPOOL=/spool', 'SPOOL=/spool\nSPOOL_SYNC=batch', 'SPOOL_SYNC=always'].map(isSynced)).toEqual(
      [true, true, true, true],
    );
    expect(['SPOOL_SYNC=never', 'SPOOL=/spool\nSPOOL_SYNC=never'].map(isSynced)).toEqual([false, false]);
  });
});
