// Group names to numbers, which Node does not do by itself.
import { execFileSync } from 'node:child_process';
import { ConfigError } from '../errors.js';

/** @throws {ConfigError} no such group */
export function groupId(group: string | number | undefined): number | undefined {
  if (group === undefined || typeof group === 'number') return group;
  try {
    // getent also finds groups that are not in /etc/group (LDAP, sssd).
    const line = execFileSync('getent', ['group', group], { encoding: 'utf8' });
    return Number(line.split(':')[2]);
  } catch {
    throw new ConfigError(`SOCKET_GROUP: there is no group "${group}"; make it with groupadd, or name another`);
  }
}
