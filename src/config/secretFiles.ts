// Files that hold a secret of the configuration: buckets.json itself, the .env file, keys, and what
// `….location` names. Promise: each that everybody on the machine may read is told, and no secret is.
import { statSync } from 'node:fs';
import { interpolate, literalPartOf, referencesIn } from './interpolation.js';
import { pathOf, Problems } from './problems.js';
import { isRecord } from './values.js';
import type { VariableSource } from './variableSource.js';

/**
 * Settings that are a secret, those that Kahe does not use included, because they stand in the file all the
 * same.
 */
const SECRET = /(?:password|passphrase|secret)$|key\.pem$/;
/** Settings that name a file with one. */
const LOCATION = /^(?:sasl\.password|ssl\.key|ssl\.key\.password)\.location$/;
const OTHERS_READ = 0o004;
/** The runtime of a container makes it, decides the modes of the files, and shows it inside alone. */
const OF_CONTAINER = '/run/secrets/';

/** A warning for each such file that others may read. */
export function readableSecrets(raw: unknown, bucketsFile: string, variables: VariableSource): string[] {
  // By file: the first setting whose secret is there.
  const holders = new Map<string, string>();
  for (const [path, name, value] of settingsIn(raw)) {
    for (const file of filesOf(name, value, bucketsFile, variables))
      if (!holders.has(file)) holders.set(file, path);
  }
  return [...holders].flatMap(([file, path]) => {
    const mode = modeOf(file);
    if (mode === undefined || (mode & OTHERS_READ) === 0 || file.startsWith(OF_CONTAINER)) return [];
    return [
      `${file} holds a secret (${path}), and every user of this machine may read it (mode 0${(mode & 0o777).toString(8)}): chmod o= '${file}'`,
    ];
  });
}

function* settingsIn(raw: unknown): Generator<readonly [path: string, name: string, value: string]> {
  const streams =
    isRecord(raw) && isRecord(raw['streamsConfigs']) ? Object.entries(raw['streamsConfigs']) : [];
  for (const [id, stream] of streams) {
    const path = pathOf('streamsConfigs', id);
    for (const [target, where] of [
      [stream, path],
      [isRecord(stream) ? stream['backup'] : undefined, `${path}.backup`],
    ] as const) {
      if (!isRecord(target) || !isRecord(target['settings'])) continue;
      for (const [name, value] of Object.entries(target['settings']))
        yield [pathOf(`${where}.settings`, name), name, isText(value) ? String(value) : ''];
    }
  }
}

function isText(value: unknown): value is string | number {
  return typeof value === 'string' || typeof value === 'number';
}

function filesOf(name: string, written: string, bucketsFile: string, variables: VariableSource): string[] {
  if (LOCATION.test(name)) return [String(interpolate(written, variables, new Problems()))];
  if (!SECRET.test(name)) return [];
  const ofEnvFile = referencesIn(written).flatMap((variable) => variables.fileOf(variable) ?? []);
  return literalPartOf(written) === '' ? ofEnvFile : [bucketsFile, ...ofEnvFile];
}

function modeOf(file: string): number | undefined {
  try {
    return statSync(file).mode;
  } catch {
    return undefined; // That it can't be read is said where it is read.
  }
}
