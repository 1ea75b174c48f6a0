// Kafka's own tool for what no client here can ask for: a user's password, and quotas.
import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';

const LIBS = path.resolve(import.meta.dirname, '../../.cache/kafka/libs/*');
const DEADLINE_MS = 180_000;

export interface ConfigChange {
  readonly entity: 'users' | 'clients';
  readonly name: string;
  /** As `--add-config` takes it: `producer_byte_rate=20000`. */
  readonly add: string;
}

/** Resolves when the broker has taken it over. @throws Error with what the tool says */
export async function changeConfig(bootstrap: string, { entity, name, add }: ConfigChange): Promise<void> {
  const args = [
    '--bootstrap-server',
    bootstrap,
    '--alter',
    '--entity-type',
    entity,
    '--entity-name',
    name,
    '--add-config',
    add,
  ];
  await promisify(execFile)(
    'java',
    ['-XX:TieredStopAtLevel=1', '-cp', LIBS, 'kafka.admin.ConfigCommand', ...args],
    { timeout: DEADLINE_MS },
  );
}
