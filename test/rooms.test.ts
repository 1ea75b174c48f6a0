// The structure that CONTRIBUTING.md draws: imports go one way, and no two files need each other.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';

const ROOT = path.resolve(import.meta.dirname, '..');
/** Each may import what stands behind it. */
const ROOMS = [
  ...['main.ts', 'cli', 'daemon', 'systemd', 'statsd', 'admin', 'stats', 'doors', 'buckets', 'streams'],
  ...['spool', 'losses', 'intake', 'kafka', 'net', 'config', 'frames', 'memory', 'disk', 'actors', 'log'],
];
const LEAVES = ['clock.ts', 'errors.ts', 'plural.ts'];

interface Import {
  readonly from: string;
  readonly to: string;
}

const files = sourcesOf('src').filter((file) => !file.endsWith('.test.ts'));
const imports = files.flatMap((from) => importsOf(from).map((to): Import => ({ from, to })));

test('src has these rooms, and three leaves that all may use', () => {
  const entries = readdirSync(path.join(ROOT, 'src')).filter((name) => !name.endsWith('.test.ts'));
  expect(entries.sort()).toEqual([...ROOMS, ...LEAVES].sort());
});

describe('imports', () => {
  test('go one way, down the list of rooms', () => {
    const places = [...ROOMS, ...LEAVES];
    const upward = imports.filter(
      ({ from, to }) => places.indexOf(roomOf(to)) < places.indexOf(roomOf(from)),
    );
    expect(upward).toEqual([]);
  });

  test('lead from no file back to it', () => {
    const next = new Map(files.map((file) => [file, imports.filter(({ from }) => from === file)]));
    const cyclic = files.filter((file) => reachable(file, next).has(file));
    expect(cyclic).toEqual([]);
  });

  test('of src and bench never lead into test, and those of src alone stay in src', () => {
    const strays = [...imports, ...sourcesOf('bench').flatMap(outOf)].filter(({ from, to }) =>
      from.startsWith('src/') ? !to.startsWith('src/') : to.startsWith('test/'),
    );
    expect(strays).toEqual([]);
  });

  test('of kafkajs stand in one file', () => {
    const importers = files.filter((file) => /from 'kafkajs[/']|require\('kafkajs[/']/.test(read(file)));
    expect(importers).toHaveLength(1);
  });
});

function outOf(from: string): readonly Import[] {
  return importsOf(from).map((to) => ({ from, to }));
}

function reachable(start: string, next: ReadonlyMap<string, readonly Import[]>): ReadonlySet<string> {
  const seen = new Set<string>();
  const left = [start];
  for (let file = left.pop(); file !== undefined; file = left.pop()) {
    for (const { to } of next.get(file) ?? []) {
      if (seen.has(to)) continue;
      seen.add(to);
      left.push(to);
    }
  }
  return seen;
}

function sourcesOf(folder: string): string[] {
  return readdirSync(path.join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => path.join(folder, name));
}

function importsOf(file: string): string[] {
  return [...read(file).matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map(([, specifier]) => {
    const target = path.join(path.dirname(file), specifier!);
    const source = target.replace(/\.js$/, '.ts');
    return existsSync(path.join(ROOT, source)) ? source : target;
  });
}

function roomOf(file: string): string {
  return file.split('/')[1]!;
}

function read(file: string): string {
  return readFileSync(path.join(ROOT, file), 'utf8');
}
