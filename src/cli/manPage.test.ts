// The manual page as man shows it: without a warning, and with every command, option and exit code of the
// help.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { optionHead } from './command.js';
import { COMMANDS } from './commands.js';
import { manPage } from './manPage.js';

const folder = mkdtempSync(join(tmpdir(), 'kahe-man-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** @returns what man prints, and of what it warns */
function shown(page: string): readonly [string, string] {
  const file = join(folder, 'kahe.1');
  writeFileSync(file, page);
  const { error, stdout, stderr } = spawnSync('man', ['--warnings', '-l', file], {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], MANWIDTH: '500', LC_ALL: 'C.UTF-8' },
  });
  if (error !== undefined)
    throw new Error('man is not installed; on Debian: apt-get install man-db', { cause: error });
  return [stdout.replace(/ +/g, ' '), stderr];
}

test('man shows it without a warning, and with all that the help has', () => {
  const [output, warnings] = shown(manPage('1.2.3-rc.1'));
  expect(warnings).toBe('');
  expect(output).toContain('kahe 1.2.3-rc.1');
  expect(output).toContain('kahe - a local batching sidecar');
  for (const { name, operands, summary, options, examples, exitCodes } of COMMANDS) {
    const head = `\n kahe ${name}${operands === undefined ? '' : ` ${operands}`} [options]\n`;
    const section = output.split(head).at(-1);
    expect(section!.toLowerCase()).toContain(`${summary.toLowerCase()}.`);
    for (const [option, spec] of Object.entries(options)) expect(section).toContain(optionHead(option, spec));
    for (const example of examples) expect(section).toContain(` ${example}\n`);
    for (const code of Object.keys(exitCodes)) expect(section).toMatch(new RegExp(`^ ${code} [A-Z]`, 'm'));
  }
});

test('a mistake in it would be seen', () => {
  expect(shown(`${manPage('1')}.NOSUCH request\n`)[1]).toContain('NOSUCH');
});
