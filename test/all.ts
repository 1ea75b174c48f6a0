// Runs every test: vitest's (units, the whole daemon, real Kafka, PHP-FPM) and the PHP client's own. Goes on
// after a failure, so that one run shows all there is to mend; ends with one line that counts them together,
// which .ci/run reads from SUMMARY.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

interface Counts {
  readonly passed: number;
  readonly failed: number;
  /** What each failure says, told again at the very end: of a long run often only the last lines are kept. */
  readonly failures: readonly string[];
  /** Their names. */
  readonly skipped: readonly string[];
}

interface VitestReport {
  readonly numPassedTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    /** Why the file itself failed. */
    readonly message: string;
    readonly assertionResults: readonly {
      readonly status: string;
      readonly fullName: string;
      readonly failureMessages: readonly string[];
    }[];
  }[];
}

const ROOT = path.resolve(import.meta.dirname, '..');
const RESULTS = path.join(ROOT, '.cache/test');
const REPORT = path.join(RESULTS, 'vitest.json');
const SUMMARY = path.join(RESULTS, 'summary');
/** A run that hangs must still come to its summary: ended once it has said nothing for this long, so that one on
 * a single busy core has its time. No test file takes half of it there. */
const SILENCE_MS = 8 * 60_000;
const KILL_AFTER_MS = 20_000;
/** Of a failure's message and stack, told again at the end. */
const FAILURE_LINES = 12;

rmSync(RESULTS, { recursive: true, force: true });
mkdirSync(RESULTS, { recursive: true });
const vitest = await runVitest();
const php = await runPhp();
const skipped = [...vitest.skipped, ...php.skipped];
const [passed, failed] = [vitest.passed + php.passed, vitest.failed + php.failed];
for (const name of skipped) console.log(`skipped: ${name}`);
for (const failure of [...vitest.failures, ...php.failures]) console.log(`\nfailed: ${failure}`);
const line = `${passed} passed, ${failed} failed${skipped.length > 0 ? `, ${skipped.length} skipped` : ''}`;
writeFileSync(SUMMARY, `${line}\n`);
console.log(
  `\nvitest ${vitest.passed} passed, ${vitest.failed} failed; PHP client ${php.passed} passed, ${php.failed} failed\n${line}`,
);
process.exit(failed === 0 && passed > 0 ? 0 : 1);

async function runVitest(): Promise<Counts> {
  const args = ['run', '--reporter=default', '--reporter=json', `--outputFile.json=${REPORT}`];
  const { problem } = await runProgram(path.join(ROOT, 'node_modules/.bin/vitest'), args);
  if (!existsSync(REPORT)) return broken(`vitest ran no test: ${problem ?? 'it wrote no report'}`);
  const report = JSON.parse(readFileSync(REPORT, 'utf8')) as VitestReport;
  const tests = report.testResults.flatMap(({ name, assertionResults }) =>
    assertionResults.map((test) => ({ ...test, file: path.relative(ROOT, name) })),
  );
  // A file that can't be loaded fails without a single test.
  const brokenFiles = report.testResults.filter(
    (file) => file.status === 'failed' && !file.assertionResults.some(({ status }) => status === 'failed'),
  );
  const failures = [
    ...tests
      .filter(({ status }) => status === 'failed')
      .map(
        ({ file, fullName, failureMessages }) =>
          `${file}: ${fullName}\n${failureMessages.map(shortened).join('\n')}`,
      ),
    ...brokenFiles.map(({ name, message }) => `${path.relative(ROOT, name)}\n${shortened(message)}`),
  ];
  if (failures.length === 0 && problem !== undefined)
    failures.push(`vitest, though no test did: ${problem}; its words are above`);
  return {
    passed: report.numPassedTests,
    failed: failures.length,
    failures,
    skipped: tests
      .filter(({ status }) => status !== 'passed' && status !== 'failed')
      .map(({ fullName }) => fullName),
  };
}

function shortened(message: string): string {
  return message.split('\n').slice(0, FAILURE_LINES).join('\n');
}

/** A run that came to no count is one failure. */
function broken(failure: string): Counts {
  return { passed: 0, failed: 1, failures: [failure], skipped: [] };
}

async function runPhp(): Promise<Counts> {
  console.log('\nThe PHP client:');
  const { problem, output } = await runProgram('php', [path.join(ROOT, 'clients/php/tests/run.php')]);
  const [, passedText, failedText] = /(\d+) passed, (\d+) failed\s*$/.exec(output) ?? [];
  if (passedText === undefined)
    return broken(`the PHP client's tests did not end: ${problem ?? 'no summary'}`);
  const counted = Number(failedText);
  const failures = [...output.matchAll(/^FAILED {2}(.*\n.*)$/gm)].map(
    ([, said]) => `the PHP client: ${said!}`,
  );
  if (counted === 0 && problem !== undefined)
    return {
      ...broken(`the PHP client's tests, though none did: ${problem}; their words are above`),
      passed: Number(passedText),
    };
  return { passed: Number(passedText), failed: counted, failures, skipped: [] };
}

/** Shows what the program prints, and keeps it; `problem` says why it did not end well. */
async function runProgram(
  program: string,
  args: readonly string[],
): Promise<{ problem: string | undefined; output: string }> {
  const child = spawn(program, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] });
  const pieces: Buffer[] = [];
  const state = { isSilent: false };
  const silence = setTimeout(() => {
    state.isSilent = true;
    child.kill('SIGTERM');
    setTimeout(() => child.kill('SIGKILL'), KILL_AFTER_MS).unref();
  }, SILENCE_MS);
  child.stdout.on('data', (piece: Buffer) => {
    silence.refresh();
    pieces.push(piece);
    process.stdout.write(piece);
  });
  try {
    const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
    const ending = code === 0 ? undefined : `exit code ${code ?? String(signal)}`;
    return {
      problem: state.isSilent ? `it said nothing for ${SILENCE_MS / 60_000} minutes, and was ended` : ending,
      output: Buffer.concat(pieces).toString(),
    };
  } catch (error) {
    return { problem: String(error), output: '' };
  } finally {
    clearTimeout(silence);
  }
}
