// The fault suite alone, in full (`make test-faults`): one file after another, so that each has the machine
// to itself.
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/faults/**/*.test.ts'],
    globalSetup: ['support/globalSetup.ts'],
    env: { KAHE_FAULTS: 'full' },
    testTimeout: 15 * 60_000,
    hookTimeout: 120_000,
    maxWorkers: 1,
    fileParallelism: false,
  },
});
