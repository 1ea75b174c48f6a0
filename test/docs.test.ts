// Keeps the pages true: their hexdumps are read by the daemon's own parser, their programs are run, their
// tables are compared with what the code knows, and their links lead somewhere. Needs no Kafka.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import JSON5 from 'json5';
import { afterAll, describe, expect, it } from 'vitest';
import { helpOf, optionHead } from '../src/cli/command.js';
import { COMMANDS, overview } from '../src/cli/commands.js';
import { parseBuckets } from '../src/config/buckets.js';
import { loadEnvironment, type Environment } from '../src/config/env.js';
import { Problems } from '../src/config/problems.js';
import { LIBRDKAFKA_NAMES, meaningOf } from '../src/config/kafka/librdkafkaNames.js';
import { parseKafkaSettings } from '../src/config/kafka/settings.js';
import { REJECT_CODES } from '../src/intake/outcome.js';
import { brokenLinks } from './docs/brokenLinks.js';
import { FrameServer, FrameTeller } from './docs/frameServer.js';
import { printHexdump, readHexdump } from './docs/hexdump.js';
import { codeBlocks, firstTable, quoted, section } from './docs/markdown.js';

const ROOT = path.resolve(import.meta.dirname, '..');
const read = (file: string): string => readFileSync(path.join(ROOT, file), 'utf8');
const protocol = read('docs/protocol.md');
const configuration = read('docs/configuration.md');
const readme = read('README.md');

const folder = mkdtempSync(path.join(tmpdir(), 'kahe-docs-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('docs/protocol.md: hexdumps', () => {
  const dumps = codeBlocks(protocol)
    .filter(({ language }) => language === 'hexdump')
    .map(({ line, code }) => ({ line, ...readHexdump(code) }));
  const answers = dumps.filter(({ meaning }) => meaning[0]?.startsWith('answer: '));
  const requests = dumps.filter((dump) => !answers.includes(dump));

  it('there are some of each', () => {
    expect(requests.length).toBeGreaterThan(5);
    expect(answers).toHaveLength(1);
  });

  it.each(dumps)('line $line: is printed as hexdump -C prints it', ({ bytes, printed }) => {
    expect(printed).toEqual(printHexdump(bytes));
  });

  it.each(requests)(
    'line $line: means what stands below it, in one piece or byte by byte',
    ({ bytes, meaning }) => {
      expect(tell([bytes])).toEqual(meaning);
      expect(tell([...bytes].map((byte) => Buffer.of(byte)))).toEqual(meaning);
    },
  );

  it.each(answers)('line $line: is the answer', ({ bytes, meaning }) => {
    expect(bytes).toHaveLength(8);
    expect(`answer: ${bytes.readBigUInt64LE()}`).toBe(meaning[0]);
  });

  it('the drawing shows the bytes of the first one', () => {
    const drawn = codeBlocks(protocol)
      .find(({ code }) => code.startsWith(' offset '))!
      .code.split('\n')
      .find((line) => line.includes('| 15 '))!;
    expect(Buffer.from(drawn.replace(/[^0-9a-f]/g, ''), 'hex')).toEqual(requests[0]!.bytes);
  });
});

describe('docs/protocol.md: programs', () => {
  const SENT = [
    'frame: bucket "requests", key "user-7", message "hello"',
    'frame: bucket "requests", no key, message "no key"',
    'question',
  ];
  const programs = codeBlocks(section(protocol, '## Programs')).map(({ language, code, line }) => ({
    language,
    code,
    line,
  }));

  it('are in PHP, Python, Node and shell', () => {
    expect(programs.map(({ language }) => language)).toEqual(['php', 'python', 'js', 'sh', 'sh']);
  });

  it.each(programs)(
    'line $line: the $language program sends two frames and reads the receipt',
    async ({ language, code, line }) => {
      const socket = path.join(folder, `${line}.sock`);
      const server = await FrameServer.start(socket);
      try {
        const { output, errors } = await runProgram(
          language,
          code.replaceAll('/tmp/kahego.sock', socket),
          line,
        );
        expect(errors).toBe('');
        expect(output).toBe('2 frames are safe\n');
        expect(server.told).toEqual(SENT);
      } finally {
        server.close();
      }
    },
  );
});

describe('docs/operations.md: the log', () => {
  it('has every field of a log line, and no other', () => {
    const known = [...read('src/log/fields.ts').matchAll(/^ {2}readonly (\w+)\?:/gm)].map(([, name]) => name);
    const log = section(read('docs/operations.md'), '## The log');
    const listed = firstTable(log.slice(log.indexOf('| fields |'))).flatMap(([names]) => quoted(names!));
    expect(known.length).toBeGreaterThan(20);
    expect(listed.sort()).toEqual(known.sort());
  });
});

describe('docs/configuration.md: environment', () => {
  const rows = firstTable(section(configuration, '## Environment')).map(([name, fallback, example]) => {
    return { name: quoted(name!)[0]!, fallback: quoted(fallback!)[0], example: quoted(example!)[0]! };
  });

  it('names every variable that the code knows', () => {
    const source = read('src/config/env.ts');
    const known = quotedWords(/const KNOWN = \[([^\]]*)\]/.exec(source)![1]!);
    expect(known.length).toBeGreaterThan(12);
    expect(known.filter((name) => !configuration.includes(`\`${name}\``))).toEqual([]);
  });

  it('has the defaults that the code has', () => {
    const asDocumented = environmentOf(
      rows
        .filter(({ fallback }) => fallback !== undefined)
        .map(({ name, fallback }) => `${name}=${fallback!}`),
    );
    expect(asDocumented).toEqual(environmentOf([]));
  });

  it.each(rows)('$name: the example is taken, and is not the default', ({ name, example }) => {
    // What the spool's other names say matters only with a spool, and statsd's only with statsd.
    const before = name.startsWith('SPOOL_')
      ? ['SPOOL=/spool']
      : name.startsWith('STATSD_')
        ? ['STATSD=127.0.0.1:8125']
        : [];
    expect(environmentOf([...before, `${name}=${example}`])).not.toEqual(environmentOf(before));
  });
});

describe('docs/configuration.md: buckets.json', () => {
  const MINIMAL = {
    streamsConfigs: { s: { type: 'file', settings: { path: 'data' } } },
    buckets: [{ id: 'b', streams: ['s'] }],
  };
  const stream = (more: object): object => ({
    ...MINIMAL,
    streamsConfigs: { s: { ...MINIMAL.streamsConfigs.s, ...more } },
  });
  const places = [
    { heading: '## buckets.json', config: (more: object) => ({ ...MINIMAL, ...more }) },
    {
      heading: '### A bucket',
      config: (more: object) => ({ ...MINIMAL, buckets: [{ ...MINIMAL.buckets[0], ...more }] }),
    },
    {
      heading: '### A bucket',
      config: (more: object) => ({ ...MINIMAL, defaultBucket: { streams: ['s'], ...more } }),
    },
    { heading: '### A stream', config: stream },
    {
      heading: '### A stream',
      config: (more: object) => stream({ backup: { type: 'file', settings: { path: 'backup' }, ...more } }),
    },
    {
      heading: '### File settings',
      config: (more: object) => stream({ settings: { path: 'data', ...more } }),
    },
    {
      heading: '### A rate limit',
      config: (more: object) => ({
        ...MINIMAL,
        buckets: [{ ...MINIMAL.buckets[0], rateLimit: { frames: 1, perMs: 1, ...more } }],
      }),
    },
  ];

  it.each(places)('$heading has every key that the code knows', ({ heading, config }) => {
    const known = knownKeys(config({ qqqqqqqqqqqqqqqq: 1 }));
    expect(known.length).toBeGreaterThan(1);
    expect(
      known.filter((key) => !new RegExp(`\`"?${key}"?\``).test(section(configuration, heading))),
    ).toEqual([]);
  });

  it.each(places.filter((_, index) => [1, 3, 5, 6].includes(index)))(
    '$heading has the defaults that the code has, and examples that it takes',
    ({ heading, config }) => {
      const rows = firstTable(section(configuration, heading));
      const defaults = rows.flatMap(([key, fallback]) =>
        quoted(fallback!).map((value) => [quoted(key!)[0]!, value] as const),
      );
      expect(defaults.length).toBeGreaterThan(0);
      expect(parsed(config(Object.fromEntries(defaults)))).toEqual(parsed(config({})));
      for (const [key, , example] of rows) {
        const value = JSON5.parse<unknown>(quoted(example!)[0]!);
        if (value !== 'kafka' && String(value) !== 'kafka') parsed(config({ [quoted(key!)[0]!]: value }));
      }
    },
  );

  it('the examples of all pages are right', () => {
    const examples = [readme, configuration].flatMap((page) =>
      codeBlocks(page).filter(({ language }) => language === 'json5'),
    );
    expect(examples.length).toBeGreaterThan(1);
    for (const { code } of examples) expect(parseBuckets(code, 'example').warnings).toEqual([]);
    expect(parseBuckets(read('buckets.json'), 'buckets.json').warnings).toEqual([]);
  });
});

describe('docs/configuration.md: Kafka settings', () => {
  const rows = firstTable(section(configuration, '### Kafka settings')).map(([name, fallback, example]) => {
    return {
      name: quoted(name!)[0]!,
      fallback: quoted(fallback!)[0],
      example: JSON5.parse<unknown>(quoted(example!)[0]!.replace('…', '')),
    };
  });

  it('names every setting of librdkafka, in its place', () => {
    expect(LIBRDKAFKA_NAMES.filter((name) => !configuration.includes(`\`${name}\``))).toEqual([]);
    const used = LIBRDKAFKA_NAMES.filter((name) => meaningOf(name)?.kind === 'used');
    const shown = new Set(rows.map(({ name }) => name).map((name) => aliasOf(name)));
    expect(used.filter((name) => !shown.has(name))).toEqual([]);
    expect([...shown].filter((name) => !used.includes(name))).toEqual([]);
  });

  it.each([
    { heading: '#### Accepted, without effect', kind: 'noted' },
    { heading: '#### Refused', kind: 'refused' },
  ] as const)('$heading: each name has the note of the code, and none is left out', ({ heading, kind }) => {
    const shown = firstTable(section(configuration, heading)).flatMap(([note, names]) =>
      quoted(names!).map((name) => [name, note]),
    );
    const known = LIBRDKAFKA_NAMES.flatMap((name) => {
      const meaning = meaningOf(aliasOf(name))!;
      return meaning.kind === kind ? [[name, meaning.kind === 'noted' ? meaning.note : meaning.reason]] : [];
    });
    expect(shown.sort()).toEqual(known.sort());
  });

  it('has the defaults that the code has', () => {
    const defaults = Object.fromEntries(
      rows.flatMap(({ name, fallback }) => (fallback === undefined ? [] : [[name, fallback]])),
    );
    expect(Object.keys(defaults).length).toBeGreaterThan(15);
    expect(kafkaSettings(defaults)).toEqual(kafkaSettings({}));
  });

  it.each(rows.filter(({ name }) => !/\.(location|pem|password)$/.test(name)))(
    '$name: the example is taken',
    ({ name, example }) => {
      const sasl = {
        'security.protocol': 'sasl_ssl',
        'sasl.mechanisms': 'PLAIN',
        'sasl.username': 'a',
        'sasl.password': 'b',
      };
      kafkaSettings({ ...(/^(sasl|ssl|security|enable\.ssl)\./.test(name) ? sasl : {}), [name]: example });
    },
  );
});

describe('docs/commands.md', () => {
  const page = read('docs/commands.md');

  it('has a section for each command, and no other', () => {
    expect([...page.matchAll(/^## (.*)$/gm)].map((found) => found[1])).toEqual(
      COMMANDS.map(({ name }) => `kahe ${name}`),
    );
    for (const { name, summary } of COMMANDS) {
      expect(overview()).toContain(summary);
      expect(readme).toContain(`kahe ${name}`);
    }
  });

  it.each(COMMANDS)(
    'kahe $name: usage, options, examples and exit codes are those of the code',
    (command) => {
      const { name, operands, options, examples, exitCodes } = command;
      const text = section(page, `## kahe ${name}`);
      const [usage, ...programs] = codeBlocks(text).map(({ code }) => code);
      expect(usage).toBe(`kahe ${name}${operands === undefined ? '' : ` ${operands}`}\n`);
      expect(programs[0]).toBe(`${examples.join('\n')}\n`);
      const heads = Object.entries(options).map(([option, spec]) => optionHead(option, spec));
      if (heads.length > 0) expect(firstTable(text).map(([option]) => quoted(option!)[0])).toEqual(heads);
      const codes = /^Exit codes: (.*)$/m.exec(text)![1]!;
      expect([...codes.matchAll(/(?:^|, )(\d) /g)].map((found) => found[1])).toEqual(Object.keys(exitCodes));
      for (const head of heads) expect(helpOf(command)).toContain(head);
    },
  );
});

describe('all pages', () => {
  const clients = readdirSync(path.join(ROOT, 'clients')).map((name) => `clients/${name}`);
  const pages = ['.', 'docs', 'bench', ...clients].flatMap((below) => {
    return readdirSync(path.join(ROOT, below))
      .filter((name) => name.endsWith('.md'))
      .map((name) => path.join(below, name));
  });

  it.each(pages)('%s: links lead somewhere', (page) => {
    expect(brokenLinks(path.join(ROOT, page))).toEqual([]);
  });

  it('README.md: the code that it says to read is there', () => {
    const named = [...readme.matchAll(/`((?:src|test)\/[^`]*)`/g)].map((found) => found[1]!);
    expect(named.length).toBeGreaterThan(20);
    expect(named.filter((name) => !existsSync(path.join(ROOT, name)))).toEqual([]);
  });

  it('README.md: its make targets exist', () => {
    const targets = [...readme.matchAll(/\bmake ([a-z]+)/g)].map((found) => found[1]!);
    const makefile = read('Makefile');
    expect(targets).toContain('run');
    expect(targets.filter((target) => !makefile.includes(`\n${target}:`))).toEqual([]);
  });

  it('CHANGELOG.md: opens with the version of package.json', () => {
    const { version } = JSON.parse(read('package.json')) as { version: string };
    expect(/^## \[(.*?)\]/m.exec(read('CHANGELOG.md'))?.[1]).toBe(version);
  });
});

function tell(pieces: readonly Buffer[]): readonly string[] {
  const teller = new FrameTeller();
  for (const piece of pieces) if (!teller.read(piece)) break;
  return teller.told;
}

/** How to run a program of each language, and Debian's package of what it needs. */
const LANGUAGES: Readonly<
  Record<
    string,
    { readonly program: string; readonly ending: string; readonly needs: Readonly<Record<string, string>> }
  >
> = {
  php: { program: 'php', ending: '.php', needs: { php: 'php-cli' } },
  python: { program: 'python3', ending: '.py', needs: { python3: 'python3' } },
  js: { program: process.execPath, ending: '.mjs', needs: {} },
  sh: { program: 'sh', ending: '.sh', needs: { socat: 'socat' } },
};

async function runProgram(
  language: string,
  code: string,
  line: number,
): Promise<{ output: string; errors: string }> {
  const { program, ending, needs } = LANGUAGES[language]!;
  for (const [command, debianPackage] of Object.entries(needs)) {
    if (spawnSync('sh', ['-c', `command -v ${command}`]).status !== 0)
      throw new Error(`${command} is not installed; on Debian or Ubuntu: apt-get install ${debianPackage}`);
  }
  const file = path.join(folder, `program-${line}${ending}`);
  writeFileSync(file, code);
  const child = spawn(program, [file], { stdio: ['ignore', 'pipe', 'pipe'], timeout: 20_000 });
  const [output, errors] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { output, errors };
}

function environmentOf(lines: readonly string[]): Environment {
  writeFileSync(path.join(folder, '.env.dev.local'), lines.join('\n'));
  return loadEnvironment({ cwd: folder, env: {} });
}

function quotedWords(source: string): string[] {
  return [...source.matchAll(/'([A-Z_]+)'/g)].map((found) => found[1]!);
}

function parsed(config: object): ReturnType<typeof parseBuckets> {
  return parseBuckets(JSON.stringify(config), 'example', folder);
}

/** From the error about a key that is not known, which lists those that are. */
function knownKeys(config: object): string[] {
  try {
    parsed(config);
  } catch (error) {
    return /known here: (.*)/.exec((error as Error).message)?.[1]?.split(', ') ?? [];
  }
  return [];
}

function aliasOf(name: string): string {
  const meaning = meaningOf(name);
  return meaning?.kind === 'alias' ? meaning.of : name;
}

/** Without its notes. @throws Error with what is wrong */
function kafkaSettings(settings: Readonly<Record<string, unknown>>): object {
  const problems = new Problems('example');
  const all = parseKafkaSettings({ 'bootstrap.servers': 'kafka:9092', ...settings }, 'settings', problems);
  problems.throwIfAny();
  return { ...all, notes: [] };
}

describe('docs/protocol.md: each frame', () => {
  it('names every code that a rejected frame may have, and no other', () => {
    const listed = /^- The codes: (.*)$/m.exec(protocol)![1]!;
    const names = [...listed.matchAll(/`([A-Z_]+)`(?=,| \((?:`MAXBUCKETS`|its|a bug)|\.)/g)].map(
      ([, name]) => name,
    );
    expect(names).toEqual([...REJECT_CODES]);
  });
});
