// The table of commands: help for each of them, names misspelt, and what the shells get.
import { spawnSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { runHere } from '../../test/support/cliIo.js';
import { CommandLine, helpOf } from './command.js';
import { COMMANDS, commandNamed } from './commands.js';

describe('the table', () => {
  test.each(COMMANDS)('kahe $name --help: usage, options, two examples, exit codes', async (command) => {
    expect(await runHere([command.name, '--help'], { cwd: '/' })).toEqual({ code: 0, out: helpOf(command), err: '' });
    expect(command.examples.length).toBeGreaterThanOrEqual(2);
    for (const example of command.examples) expect(example).toContain(`kahe ${command.name}`);
    expect(Object.keys(command.exitCodes)).toContain('2');
  });

  test('a name that is near is proposed', () => {
    expect(() => commandNamed('inspet')).toThrow('no command "inspet"; did you mean "inspect"?');
    expect(() => commandNamed('frobnicate')).toThrow(/^no command "frobnicate"$/);
  });
});

describe('CommandLine', () => {
  const replay = commandNamed('replay');

  test.each([['--rate=2k', 2000], ['--rate=1.5K/s', 1500], ['--rate=500', 500], ['--rate=1m', 1_000_000]])('%s', (arg, rate) => {
    expect(new CommandLine(replay, [arg]).number('rate')).toBe(rate);
  });

  test.each(['0', '-5', 'fast', '1e9', ''])('a rate of %j is refused', (rate) => {
    expect(() => new CommandLine(replay, [`--rate=${rate}`]).number('rate')).toThrow(/--rate/);
  });

  test.each([
    [['--drry-run'], 'no option "--drry-run"; did you mean "--dry-run"?'],
    [['-x'], 'no option "-x"; what starts with "-" and is no option stands behind "--"'],
    [['--rate', '1', '--rate', '2'], '--rate is given twice'],
    [['--toString'], 'no option "--toString"'],
  ])('%j is refused', (args, message) => {
    expect(() => new CommandLine(replay, args)).toThrow(message);
  });

  test('what stands behind "--" is no option; options may stand anywhere', () => {
    const line = new CommandLine(replay, ['a', '--bucket', 'x', 'b', '--bucket=y', '--', '--again', '-']);
    expect(line.operands).toEqual(['a', 'b', '--again', '-']);
    expect(line.texts('bucket')).toEqual(['x', 'y']);
    expect(line.has('again')).toBe(false);
  });
});

describe('kahe completion', () => {
  test('bash completes commands, and the options of each', async () => {
    const { code, out } = await runHere(['completion', 'bash'], { cwd: '/' });
    expect(code).toBe(0);
    const complete = (...words: string[]): string[] => {
      const script = `${out}\nCOMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _kahe; printf '%s\\n' "\${COMPREPLY[@]}"`;
      return spawnSync('bash', ['-c', script], { encoding: 'utf8' }).stdout.trim().split('\n');
    };
    expect(complete('kahe', 're')).toEqual(['replay']);
    expect(complete('kahe', '')).toEqual([...COMMANDS.map(({ name }) => name), 'help', '--help', '--version']);
    expect(complete('kahe', 'replay', '--r')).toEqual(['--rate', '--remove']);
    expect(complete('kahe', 'inspect', '--')).toEqual(['--bucket', '--values', '--summary', '--json', '--help']);
  });

  test('zsh and fish name every command and option', async () => {
    for (const shell of ['zsh', 'fish']) {
      const { out } = await runHere(['completion', shell], { cwd: '/' });
      for (const { name, options } of COMMANDS) for (const word of [name, ...Object.keys(options)]) expect(out).toContain(word);
    }
    expect((await runHere(['completion', 'tcsh'], { cwd: '/' })).code).toBe(2);
  });
});
