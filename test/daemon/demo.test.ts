// `make demo` as somebody sees it on a terminal: it replays what it says, the page that it names is there
// until Enter, and the counts add up.
import path from 'node:path';
import { expect, test } from 'vitest';
import { builtDaemon } from '../../support/daemonBuild.js';
import { openTerminalFor } from '../../support/terminal.js';

const ROOT = path.resolve(import.meta.dirname, '../..');

test('the demo: a backup sent by itself, one that kahe replay sends, and a page until Enter', async () => {
  const demo = openTerminalFor(
    [path.join(ROOT, 'node_modules/.bin/tsx'), path.join(ROOT, 'test/demo/run.ts')],
    { cwd: ROOT, env: { KAHE_MAIN: await builtDaemon() }, rows: 100, columns: 250 },
  );
  const says = async (pattern: RegExp): Promise<RegExpExecArray> => {
    await expect.poll(() => demo.output, { timeout: 120_000 }).toMatch(pattern);
    return pattern.exec(demo.output)!;
  };
  const [, page] = await says(/Look at (\S+): frames go on coming there\. Enter ends the demo\./);
  expect(demo.output).toMatch(/orders +10,000 +[\d,]+ +0 +0 +[\d,]+ +kept/);
  const [, inBackup] = /clicks +10,000 +[\d,]+ +([\d,]+) +0 +[\d,]+ +kept/.exec(demo.output)!;
  expect(Number(inBackup!.replace(',', ''))).toBeGreaterThanOrEqual(1250);
  expect(demo.output).toMatch(
    new RegExp(
      `kahe replay --remove backup/clicks\\s[^]*${inBackup!} frames[^]*clicks: 10,000 of 10,000 different messages are in Kafka now`,
    ),
  );
  expect((await fetch(page!)).status).toBe(200);
  demo.type('\r');
  await says(/Every frame is where it should be/);
  expect(await demo.ended).toMatchObject({ code: 0 });
}, 240_000);
