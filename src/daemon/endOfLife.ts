// When the process is to end: at a signal, or at a bug that nobody caught.
import { asBug } from '../errors.js';
import type { Log } from '../log/log.js';

const STOP_SIGNALS = ['SIGTERM', 'SIGINT', 'SIGQUIT'] as const;

/** A signal, or a fault that nobody caught: then too what is held is delivered or kept before the end. */
export function endOfLife(log: Log): Promise<{ reason: string; exitCode: number }> {
  process.on('SIGPIPE', () => undefined);
  return new Promise((resolve) => {
    let seen = 0;
    for (const signal of STOP_SIGNALS) {
      process.on(signal, () => {
        if (++seen === 1) return resolve({ reason: signal, exitCode: 0 });
        log.warn(`${signal} again: ends at once, frames in memory are not delivered`, { signal });
        process.exit(1);
      });
    }
    for (const fault of ['uncaughtException', 'unhandledRejection'] as const) {
      process.on(fault, (error: unknown) => {
        log.fatal(`${fault}: ${asBug(error)}`, { reason: String(error) });
        resolve({ reason: 'a fault', exitCode: 1 });
      });
    }
  });
}
