import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    globalSetup: ['support/globalSetup.ts'],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // Its own second is too short for a busy machine.
    expect: { poll: { timeout: 50_000 } },
    // Two cores, and Kafka on one of them.
    maxWorkers: 2,
  },
});
