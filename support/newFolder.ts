import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** A folder of a test: it goes when the test has ended, after its `afterEach`. */
export function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'kahe-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
