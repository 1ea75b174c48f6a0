// Whose a socket's file is, for those who may not use it: EACCES says nothing of a daemon, only that a person
// has to do something.
import { type Stats, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { groupName, userName } from './names.js';

/**
 * `belongs to root, group kahe, mode 0660`, or, where its folder hides it: `is in /run/kahe, which belongs to
 * …`
 */
export function whose(path: string): string {
  const [seen, facts] = nearestSeen(path);
  const text = `belongs to ${userName(facts.uid)}, group ${groupName(facts.gid)}, mode ${(facts.mode & 0o7777).toString(8).padStart(4, '0')}`;
  return seen === path ? text : `is in ${seen}, which ${text}`;
}

/** For a person who is refused: whose it is, and how to get in. */
export function refusedAt(path: string): string {
  const [seen, { gid, mode }] = nearestSeen(path);
  const letsGroup = (mode & (seen === path ? 0o020 : 0o010)) !== 0;
  const group = groupName(gid);
  const joining =
    letsGroup && gid !== 0
      ? `become a member of its group (sudo usermod -aG ${group} $USER, then log in again), or `
      : '';
  return `you may not use it: it ${whose(path)}; ${joining}use sudo`;
}

/** The file, or the folder above it that hides what is in it. */
function nearestSeen(path: string): readonly [string, Stats] {
  try {
    return [path, statSync(path)];
  } catch (error) {
    if (dirname(path) === path) throw error;
    return nearestSeen(dirname(path));
  }
}
