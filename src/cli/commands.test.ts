// The table of commands: help for each of them, names misspelt, and what the shells get.
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runHere } from '../../support/cliIo.js';
import { openFakeDoor, showing } from '../../support/fakeDoor.js';
import { bucketSnapshot, snapshot } from '../../support/snapshots.js';
import { CommandLine, helpOf } from './command.js';
import { COMMANDS, commandNamed } from './commands.js';

describe('the table', () => {
  test.each(COMMANDS)('kahe $name --help: usage, options, two examples, exit codes', async (command) => {
    expect(await runHere([command.name, '--help'], { cwd: '/' })).toEqual({
      code: 0,
      out: helpOf(command),
      err: '',
    });
    expect(command.examples.length).toBeGreaterThanOrEqual(2);
    for (const example of command.examples) expect(example).toContain(`kahe ${command.name}`);
    expect(Object.keys(command.exitCodes)).toContain('2');
  });

  test('a name that is near is proposed', () => {
    expect(() => commandNamed('inspet')).toThrow('no command "inspet"; did you mean "inspect"?');
    expect(() => commandNamed('sned')).toThrow('no command "sned"; did you mean "send"?');
    expect(() => commandNamed('--verison')).toThrow('no option "--verison"; did you mean "--version"?');
    expect(() => commandNamed('frobnicate')).toThrow(/^no command "frobnicate"$/);
  });
});

describe('CommandLine', () => {
  const replay = commandNamed('replay');

  test.each([
    ['--rate=2k', 2000],
    ['--rate=1.5K/s', 1500],
    ['--rate=500', 500],
    ['--rate=1m', 1_000_000],
  ])('%s', (arg, rate) => {
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
  const BUCKETS = ['requests', 'replies', 'clicks'];
  let folder: string;

  /** A `kahe` in PATH that knows buckets. */
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kahe-completion-'));
    await writeFile(
      join(folder, 'kahe'),
      `#!/bin/sh\n[ "$*" = 'completion --buckets' ] && printf '%s\\n' ${BUCKETS.join(' ')}\n`,
      { mode: 0o755 },
    );
  });
  afterAll(() => rm(folder, { recursive: true }));

  async function scriptOf(shell: string): Promise<string> {
    const { code, out } = await runHere(['completion', shell], { cwd: '/' });
    expect(code).toBe(0);
    return out;
  }

  /** @returns the lines that a program for that shell prints, with `kahe` in PATH */
  function inShell(shell: string, program: string): string[] {
    const { stdout, stderr, error } = spawnSync(shell, ['-c', program], {
      encoding: 'utf8',
      timeout: 30_000,
      cwd: folder,
      env: { PATH: `${folder}:${process.env['PATH']!}`, HOME: folder, TERM: 'dumb' },
    });
    expect([error, stderr]).toEqual([undefined, '']);
    return stdout.trim().split('\n');
  }

  async function complete(shell: string, ...words: readonly string[]): Promise<string[]> {
    const script = await scriptOf(shell);
    switch (shell) {
      case 'bash':
        return inShell(
          shell,
          `${script}\nCOMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _kahe; printf '%s\\n' "\${COMPREPLY[@]}"`,
        );
      case 'fish':
        return inShell(shell, `${script}\ncomplete -C '${words.join(' ')}'`).map(
          (line) => line.split('\t')[0]!,
        );
      default:
        return completeInZsh(script, words);
    }
  }

  /** zsh completes only where keys are pressed: in a terminal of its own; what would be added is printed. */
  async function completeInZsh(script: string, words: readonly string[]): Promise<string[]> {
    await writeFile(join(folder, '_kahe'), script);
    const inner = [
      'PS1=; fpath=($PWD $fpath); autoload -U compinit; compinit -u -d $PWD/dump',
      'compadd () { local -a found; builtin compadd -O found "$@"; all+=($found); builtin compadd "$@" }',
      'probe () { all=(); _main_complete; print -rl -- ${(u)all} > .shown; mv .shown shown }',
      'zle -C probe complete-word probe; bindkey "^I" probe',
    ].join('\n');
    await writeFile(join(folder, '.inner'), inner);
    await rm(join(folder, 'shown'), { force: true });
    const outer = `zmodload zsh/zpty; zpty z zsh -f -i
zpty -w z 'source ./.inner; print rea''dy'
zpty -r -m z line '*ready*'
zpty -n -w z $'${words.join(' ')}\\t'
while [[ ! -e shown ]]; do zpty -r -t z line; done
zpty -n -w z $'\\003'; zpty -w z 'print do''ne'
zpty -r -m z line '*done*'
zpty -d z; cat shown`;
    return inShell('zsh', outer);
  }

  test.each(['bash', 'zsh', 'fish'])(
    '%s completes commands, the options of each, and buckets of the running daemon',
    async (shell) => {
      expect(await complete(shell, 'kahe', 're')).toEqual(['replay']);
      const options = await complete(shell, 'kahe', 'replay', '--re');
      expect(options.map((option) => option.replace(/[[:].*/, ''))).toEqual(['--remove']);
      expect((await complete(shell, 'kahe', 'send', 're')).sort()).toEqual(['replies', 'requests']);
      expect((await complete(shell, 'kahe', 'tail', '')).sort()).toEqual([...BUCKETS].sort());
      expect(await complete(shell, 'kahe', 'replay', '--bucket', 'c')).toEqual(['clicks']);
      expect(await complete(shell, 'kahe', 'completion', 'f')).toEqual(['fish']);
      expect(await complete(shell, 'kahe', 'inspect', 'ka')).toEqual(['kahe']);
    },
  );

  test('bash: every command and option; a message is nothing that can be completed', async () => {
    expect(await complete('bash', 'kahe', '')).toEqual([
      ...COMMANDS.map(({ name }) => name),
      'help',
      '--help',
      '--version',
    ]);
    expect(await complete('bash', 'kahe', 'inspect', '--')).toEqual([
      '--bucket',
      '--values',
      '--summary',
      '--json',
      '--help',
    ]);
    expect(await complete('bash', 'kahe', 'help', 'st')).toEqual(['status']);
    expect(await complete('bash', 'kahe', 'send', 'requests', 'r')).toEqual(['']);
    expect(await complete('bash', 'kahe', 'tail', '--rate', '5', 'cl')).toEqual(['clicks']);
    expect(await complete('bash', 'kahe', 'send', '--file', 'ka')).toEqual(['kahe']);
  });

  test('zsh and fish name every command and option', async () => {
    for (const shell of ['zsh', 'fish']) {
      const out = await scriptOf(shell);
      for (const { name, options } of COMMANDS)
        for (const word of [name, ...Object.keys(options)]) expect(out).toContain(word);
    }
    expect((await runHere(['completion', 'tcsh'], { cwd: '/' })).code).toBe(2);
  });

  test('--buckets: names of the running daemon, but for those that a shell would take for something else', async () => {
    const names = ['requests', '$(touch taken)', 'a b', '-rf', '`x`', 'kahe.clicks_2', 'a\nb', 'ä'];
    await openFakeDoor(
      join(folder, 'admin.sock'),
      showing(snapshot({ buckets: names.map((name) => bucketSnapshot(name)) })),
    );
    expect(await runHere(['completion', '--buckets', '--admin', './admin.sock'], { cwd: folder })).toEqual({
      code: 0,
      out: 'requests\nkahe.clicks_2\n',
      err: '',
    });
    expect(
      await runHere(['completion', '--buckets', '--admin', './none.sock'], { cwd: folder }),
    ).toMatchObject({ code: 3, out: '' });
    expect((await runHere(['completion', 'bash', '--buckets'], { cwd: folder })).code).toBe(2);
  });
});
