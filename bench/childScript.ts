// A script of the bench in a process of its own, so that it waits for nothing that the others do. It is given
// its options as JSON, told what to do with words, and reports with messages.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';

/** @param name of a file of this folder, such as "sender.ts" */
export function forkScript(name: string, options: object): ChildProcess {
  return fork(path.resolve(import.meta.dirname, name), [JSON.stringify(options)], {
    execArgv: ['--import', import.meta.resolve('tsx')],
  });
}

/** The next report, which must be of that kind. */
export async function reportOf<R extends { readonly kind: string }, K extends R['kind']>(
  child: ChildProcess,
  kind: K,
): Promise<Extract<R, { kind: K }>> {
  return await new Promise((resolve, reject) => {
    const onExit = (code: number | null): void =>
      reject(new Error(`a script ended with ${code ?? 'a signal'} before it was ${kind}`));
    child.once('exit', onExit);
    child.once('message', (message: R) => {
      child.off('exit', onExit);
      if (message.kind === kind) resolve(message as Extract<R, { kind: K }>);
      else reject(new Error(`a script said ${message.kind} where ${kind} was due`));
    });
  });
}

/** Closes its connections: a script ends when it is left alone. */
export async function endScript(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  if (child.connected) child.disconnect();
  await exited;
}

/** @throws when it takes longer */
export async function within<T>(
  ms: number,
  promise: Promise<T>,
  what = 'not all was acknowledged',
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} within ${ms / 1000} s`)), ms);
  });
  return await Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
