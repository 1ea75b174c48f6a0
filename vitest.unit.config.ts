// The tests beside the code: no Kafka, no PHP, no daemon of its own.
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts'],
    testTimeout: 240_000,
    maxWorkers: 2,
  },
});
