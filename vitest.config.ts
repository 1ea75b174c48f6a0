import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    globalSetup: ['support/globalSetup.ts'],
    // Patience, and no measure of speed: on one busy core a test takes six times as long as on two idle ones.
    testTimeout: 240_000,
    hookTimeout: 360_000,
    expect: { poll: { timeout: 150_000 } },
    // Two cores, and Kafka on one of them.
    maxWorkers: 2,
  },
});
