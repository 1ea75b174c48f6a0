// Users' and groups' names and numbers, which Node does not turn into each other.
import { execFileSync } from 'node:child_process';
import { ConfigError } from '../errors.js';

/** @throws {ConfigError} no such group */
export function groupId(group: string | number | undefined): number | undefined {
  if (group === undefined || typeof group === 'number') return group;
  try {
    return Number(entry('group', group)[2]);
  } catch {
    throw new ConfigError(
      `SOCKET_GROUP: there is no group "${group}"; make it with groupadd, or name another`,
    );
  }
}

/** Its number, when it has no name. */
export function groupName(id: number): string {
  return nameOf('group', id);
}

/** Its number, when it has no name. */
export function userName(id: number): string {
  return nameOf('passwd', id);
}

function nameOf(database: 'group' | 'passwd', id: number): string {
  try {
    return entry(database, String(id))[0] ?? String(id);
  } catch {
    return String(id);
  }
}

/** getent also finds those that are not in files (LDAP, sssd). */
function entry(database: 'group' | 'passwd', key: string): readonly string[] {
  return execFileSync('getent', [database, key], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
    .trim()
    .split(':');
}
