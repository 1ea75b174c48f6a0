// A real Chromium without a window, spoken to over its pipe (DevTools protocol). Promise: after the test
// neither process nor folder is left, and what went wrong in the page is known: exceptions, refusals of its
// policy, and everything it asked for.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { onTestFinished } from 'vitest';

const DEADLINE_MS = 60_000;
const POLL_MS = 50;

interface Answer {
  readonly id?: number;
  readonly method?: string;
  readonly params?: Readonly<Record<string, unknown>>;
  readonly result?: unknown;
  readonly error?: { readonly message: string };
}

export interface PageOptions {
  readonly width: number;
  readonly height: number;
  readonly isDark?: boolean;
}

/** @throws Error that says how to install it */
export async function startChromium(): Promise<Chromium> {
  const program = ['chromium', 'chromium-browser', 'google-chrome'].find(
    (name) => spawnSync('sh', ['-c', `command -v ${name}`]).status === 0,
  );
  if (program === undefined)
    throw new Error('chromium is not installed; on Debian: apt-get install chromium');
  const folder = await mkdtemp(path.join(os.tmpdir(), 'kahe-chromium-'));
  const flags = [
    '--headless=new',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-dev-shm-usage',
    '--no-first-run',
    '--hide-scrollbars',
    '--disable-extensions',
  ];
  const child = spawn(
    program,
    [...flags, '--remote-debugging-pipe', `--user-data-dir=${folder}`, 'about:blank'],
    {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
      // Its helpers are ended with it.
      detached: true,
    },
  );
  onTestFinished(async () => {
    const ended = child.exitCode === null ? once(child, 'exit') : Promise.resolve();
    if (child.exitCode === null) process.kill(-child.pid!, 'SIGKILL');
    await ended;
    await rm(folder, { recursive: true, force: true, maxRetries: 10 });
  });
  return new Chromium(child);
}

export class Chromium {
  readonly #input: Writable;
  readonly #waiting = new Map<
    number,
    { readonly resolve: (result: unknown) => void; readonly reject: (error: Error) => void }
  >();
  readonly #events: Answer[] = [];
  #lastId = 0;

  /** Use startChromium. */
  constructor(child: ChildProcess) {
    this.#input = child.stdio[3] as Writable;
    this.#listen(child.stdio[4] as Readable);
    child.once('exit', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('Chromium has ended'));
    });
  }

  async open(url: string, { width, height, isDark = false }: PageOptions): Promise<Page> {
    const { targetId } = (await this.send('Target.createTarget', { url: 'about:blank' })) as {
      targetId: string;
    };
    const { sessionId } = (await this.send('Target.attachToTarget', { targetId, flatten: true })) as {
      sessionId: string;
    };
    const page = new Page((method, params) => this.send(method, params, sessionId), this.#events);
    for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await page.send(`${domain}.enable`);
    await page.send('Emulation.setDeviceMetricsOverride', {
      width,
      height,
      deviceScaleFactor: 1,
      mobile: width < 600,
    });
    await page.send('Emulation.setEmulatedMedia', {
      features: [{ name: 'prefers-color-scheme', value: isDark ? 'dark' : 'light' }],
    });
    await page.send('Page.navigate', { url });
    return page;
  }

  send(method: string, params: object = {}, sessionId?: string): Promise<unknown> {
    const id = ++this.#lastId;
    this.#input.write(
      `${JSON.stringify({ id, method, params, ...(sessionId === undefined ? {} : { sessionId }) })}\0`,
    );
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`Chromium did not answer ${method}`)), DEADLINE_MS);
      const settle =
        <T>(run: (value: T) => void) =>
        (value: T): void => {
          clearTimeout(timer);
          this.#waiting.delete(id);
          run(value);
        };
      this.#waiting.set(id, { resolve: settle(resolve), reject: settle(reject) });
    });
  }

  #listen(output: Readable): void {
    let rest = '';
    output.setEncoding('utf8').on('data', (text: string) => {
      const messages = (rest + text).split('\0');
      rest = messages.pop()!;
      for (const message of messages) this.#take(JSON.parse(message) as Answer);
    });
  }

  #take(answer: Answer): void {
    if (answer.id === undefined) return void this.#events.push(answer);
    const waiting = this.#waiting.get(answer.id);
    if (answer.error === undefined) waiting?.resolve(answer.result);
    else waiting?.reject(new Error(answer.error.message));
  }
}

export class Page {
  readonly send: (method: string, params?: object) => Promise<unknown>;
  readonly #events: readonly Answer[];

  constructor(send: (method: string, params?: object) => Promise<unknown>, events: readonly Answer[]) {
    this.send = send;
    this.#events = events;
  }

  /** What an expression in the page comes to. */
  async read<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = (await this.send('Runtime.evaluate', {
      expression,
      returnByValue: true,
    })) as { result: { value: T }; exceptionDetails?: { text: string } };
    if (exceptionDetails !== undefined) throw new Error(`${expression}: ${exceptionDetails.text}`);
    return result.value;
  }

  /** Resolves when the expression comes to something true. */
  async until(expression: string): Promise<void> {
    const deadline = Date.now() + DEADLINE_MS;
    while (!(await this.read<boolean>(`Boolean(${expression})`))) {
      if (Date.now() > deadline)
        throw new Error(
          `in the page there was never: ${expression}\n${await this.read<string>('document.body.innerText')}`,
        );
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  /** PNG of the whole page. */
  async picture(): Promise<Buffer> {
    const { data } = (await this.send('Page.captureScreenshot', {
      format: 'png',
      captureBeyondViewport: true,
    })) as { data: string };
    return Buffer.from(data, 'base64');
  }

  /** Exceptions, and what its policy or the net refused. */
  get problems(): string[] {
    return this.#events.flatMap(({ method, params }) => {
      if (method === 'Runtime.exceptionThrown') return [JSON.stringify(params)];
      if (method === 'Page.javascriptDialogOpening') return ['a dialog was opened'];
      const entry = params?.['entry'] as { level: string; text: string } | undefined;
      return method === 'Log.entryAdded' && entry?.level === 'error' ? [entry.text] : [];
    });
  }

  /** Every address it asked for. */
  get asked(): string[] {
    const urls = this.#events
      .filter(({ method }) => method === 'Network.requestWillBeSent')
      .map(({ params }) => (params!['request'] as { url: string }).url);
    return [...new Set(urls)];
  }
}
