// The promises of an actor: one message at a time, in order, run to its end; nothing lost when a handler
// throws; a drained end.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { ActorBench } from '../../support/bench.js';
import { turn } from '../../support/fakeClock.js';
import { Actor, type ActorContext, type ActorRef, type Failure, type Supervision } from './actor.js';
import { Mailbox } from './mailbox.js';

/** What one actor does; the parts of it that a test wants. */
interface Part<M> {
  receive(message: M, self: ActorRef<M>): void | Promise<void>;
  drain?(context: ActorContext<M>): void;
  handBack?(): readonly M[];
  keep?(message: M): M;
  abandon?(message: M, error: unknown): void;
}

class Scripted<M> extends Actor<M> {
  constructor(
    readonly context: ActorContext<M>,
    readonly part: Part<M>,
  ) {
    super();
  }

  receive(message: M): void | Promise<void> {
    return this.part.receive(message, this.context.self);
  }

  drain(): void {
    if (this.part.drain === undefined) this.context.drained();
    else this.part.drain(this.context);
  }

  override keep(message: M): M {
    return this.part.keep?.(message) ?? super.keep(message);
  }

  override handBack(): readonly M[] {
    return this.part.handBack?.() ?? super.handBack();
  }

  override abandon(message: M, error: unknown): void {
    if (this.part.abandon === undefined) super.abandon(message, error);
    else this.part.abandon(message, error);
  }
}

class Bench extends ActorBench {
  spawn<M>(part: Part<M> | (() => Part<M>), supervise?: Supervision<M>): ActorRef<M> {
    const make = typeof part === 'function' ? part : () => part;
    return this.system.spawn<M>('it', (context) => new Scripted(context, make()), supervise);
  }
}

function deferred(): { promise: Promise<void>; resolve: () => void; reject: (error: Error) => void } {
  let [resolve, reject]: [() => void, (error: Error) => void] = [() => undefined, () => undefined];
  const promise = new Promise<void>((yes, no) => ([resolve, reject] = [yes, no]));
  return { promise, resolve, reject };
}

describe('Mailbox', () => {
  test('is first in, first out, however it is used, and holds on to nothing that has left', () => {
    const mailbox = new Mailbox<number>();
    const model: number[] = [];
    let seed = 12_345;
    for (let i = 0; i < 20_000; i++) {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      const choice = seed % 100;
      // Long stretches of filling and of emptying, so that the head walks far.
      if (choice < (i % 8_000 < 4_000 ? 60 : 35)) {
        mailbox.push(i);
        model.push(i);
      } else if (choice < 99) {
        expect(mailbox.shift()).toBe(model.shift());
      } else {
        mailbox.putBack([-i, -i - 1]);
        model.unshift(-i, -i - 1);
      }
      expect(mailbox.size).toBe(model.length);
    }
    while (model.length > 0) expect(mailbox.shift()).toBe(model.shift());
    expect([mailbox.shift(), mailbox.size]).toEqual([undefined, 0]);
  });

  test('lets go of what has left', async () => {
    setFlagsFromString('--expose-gc');
    const gc = runInNewContext('gc') as () => void;
    const mailbox = new Mailbox<object>();
    mailbox.push({});
    mailbox.push({});
    const ref = new WeakRef(mailbox.shift()!);
    await turn();
    gc();
    expect(ref.deref()).toBeUndefined();
  });
});

describe('Actor: messages', () => {
  test('an idle actor runs a message before tell returns', () => {
    const seen: number[] = [];
    const ref = new Bench().spawn<number>({ receive: (n) => void seen.push(n) });
    ref.tell(1);
    expect(seen).toEqual([1]);
  });

  test('what it is told while it runs waits, and keeps its order', () => {
    const seen: string[] = [];
    const ref = new Bench().spawn<string>({
      receive(text, self) {
        seen.push(`${text} begins`);
        if (text.length < 3) for (const next of ['a', 'b']) self.tell(text + next);
        seen.push(`${text} ends`);
      },
    });
    ref.tell('');
    const order = ['', 'a', 'b', 'aa', 'ab', 'ba', 'bb'];
    expect(seen.slice(0, 14)).toEqual(order.flatMap((text) => [`${text} begins`, `${text} ends`]));
  });

  test('two that tell each other take turns and never run inside each other', () => {
    const bench = new Bench();
    const seen: string[] = [];
    const make = (name: string, other: () => ActorRef<number>): ActorRef<number> =>
      bench.spawn<number>({
        receive(n, self) {
          expect(self.state).toBe('running');
          seen.push(`${name}${n}`);
          if (n < 4) other().tell(n + 1);
          seen.push(`${name}${n} ends`);
        },
      });
    const a: ActorRef<number> = make('a', () => b);
    const b: ActorRef<number> = make('b', () => a);
    a.tell(0);
    // b is idle when a tells it, so it runs at once; a is busy then, so its turn comes after it has ended.
    expect(seen).toEqual([
      'a0',
      'b1',
      'b1 ends',
      'a0 ends',
      'a2',
      'b3',
      'b3 ends',
      'a2 ends',
      'a4',
      'a4 ends',
    ]);
  });

  test('a handler that returns a promise keeps the next waiting', async () => {
    const seen: string[] = [];
    const first = deferred();
    const ref = new Bench().spawn<string>({
      receive(text) {
        seen.push(text);
        return text === 'a' ? first.promise : undefined;
      },
    });
    for (const text of ['a', 'b', 'c']) ref.tell(text);
    await turn();
    expect(seen).toEqual(['a']);
    first.resolve();
    await turn();
    expect(seen).toEqual(['a', 'b', 'c']);
    ref.tell('d');
    expect(seen).toEqual(['a', 'b', 'c', 'd']);
  });

  test('borrowed bytes are copied only when they must wait: the actor is busy', async () => {
    const first = deferred();
    const seen: string[] = [];
    let kept = 0;
    const ref = new Bench().spawn<Buffer>({
      receive(bytes) {
        seen.push(bytes.toString());
        return bytes.toString() === 'wait' ? first.promise : undefined;
      },
      keep: (bytes) => (kept++, Buffer.from(bytes)),
    });
    const shared = Buffer.from('one.');
    ref.tell(shared);
    expect(kept).toBe(0);
    shared.write('wait');
    ref.tell(shared);
    shared.write('two.');
    ref.tell(shared);
    shared.write('XXXX');
    first.resolve();
    await turn();
    expect([seen, kept]).toEqual([['one.', 'wait', 'two.'], 1]);
  });

  test('what an actor tells itself while it is made comes first', () => {
    const seen: string[] = [];
    const ref = new Bench().system.spawn<string>('early', (context) => {
      context.self.tell('from the start');
      return new Scripted(context, { receive: (text) => void seen.push(text) });
    });
    ref.tell('after');
    expect(seen).toEqual(['from the start', 'after']);
  });
});

describe('Actor: failure', () => {
  test('its successor gets what it held, then the failed message, then what waited, after the back-off', async () => {
    const bench = new Bench();
    let seen: string[] = [];
    let made = 0;
    const ref = bench.spawn<string>(() => {
      const number = ++made;
      const held: string[] = [];
      seen = [];
      return {
        receive(text, self) {
          if (number === 1 && text === 'bad') {
            self.tell('waited 1');
            throw new Error('broken');
          }
          held.push(text);
          seen.push(text);
        },
        handBack: () => held,
      };
    });
    for (const text of ['held 1', 'held 2', 'bad']) ref.tell(text);
    expect(ref.state).toBe('starting');
    ref.tell('waited 2');
    bench.clock.advance(99);
    expect(made).toBe(1);
    bench.clock.advance(1);
    expect([made, ref.state]).toEqual([2, 'running']);
    expect(seen).toEqual(['held 1', 'held 2', 'bad', 'waited 1', 'waited 2']);
    expect(bench.lines).toHaveLength(1);
    expect(bench.lines[0]).toMatch(
      /^ERROR \| .* \| \/it failed, starts again in 100 ms with what it held: Error: broken/,
    );
  });

  test('a promise that rejects is a failure too', async () => {
    const bench = new Bench();
    const seen: string[] = [];
    let made = 0;
    const ref = bench.spawn<string>(() => {
      const number = ++made;
      return {
        async receive(text) {
          await turn();
          if (number === 1) throw new Error('broken');
          seen.push(text);
        },
      };
    });
    ref.tell('a');
    ref.tell('b');
    await turn();
    await turn();
    expect(ref.state).toBe('starting');
    bench.clock.advance(100);
    for (let i = 0; i < 6; i++) await turn();
    expect(seen).toEqual(['a', 'b']);
  });

  test('a message that fails three times is given up, and those behind it go on in order', () => {
    const bench = new Bench();
    const seen: string[] = [];
    const abandoned: string[] = [];
    let tries = 0;
    const ref = bench.spawn<string>({
      receive(text) {
        if (text === 'poison') throw new Error(`try ${++tries}`);
        seen.push(text);
      },
      abandon: (text, error) => void abandoned.push(`${text}: ${(error as Error).message}`),
    });
    for (const text of ['a', 'poison', 'b', 'c']) ref.tell(text);
    bench.clock.advance(100);
    expect([tries, abandoned]).toEqual([2, []]);
    bench.clock.advance(199);
    expect(tries).toBe(2);
    bench.clock.advance(1);
    expect([tries, abandoned]).toEqual([3, ['poison: try 3']]);
    bench.clock.advance(400);
    expect(seen).toEqual(['a', 'b', 'c']);
    expect(tries).toBe(3);
  });

  test('the back-off doubles up to 10 s, and a success of what failed brings it back', () => {
    const bench = new Bench();
    let isBroken = true;
    const ref = bench.spawn<number>({
      receive() {
        if (isBroken) throw new Error('x');
      },
    });
    const waits = (): string[] => bench.lines.flatMap((line) => /again in (\d+) ms/.exec(line)?.[1] ?? []);
    for (let i = 0; i < 9; i++) {
      ref.tell(i);
      bench.clock.advance(10_000);
    }
    expect(waits().slice(0, 9)).toEqual([
      '100',
      '200',
      '400',
      '800',
      '1600',
      '3200',
      '6400',
      '10000',
      '10000',
    ]);
    isBroken = false;
    bench.clock.advance(60_000);
    isBroken = true;
    bench.lines.length = 0;
    ref.tell(100);
    isBroken = false;
    bench.clock.advance(10_000);
    isBroken = true;
    bench.lines.length = 0;
    ref.tell(101);
    expect(waits()).toEqual(['100']);
  });

  test('borrowed bytes are copied before a failed message is tried again', () => {
    const bench = new Bench();
    const seen: string[] = [];
    let tries = 0;
    const ref = bench.spawn<Buffer>({
      receive(bytes) {
        if (++tries < 3) throw new Error('x');
        seen.push(bytes.toString());
      },
      keep: (bytes) => Buffer.from(bytes),
    });
    const shared = Buffer.from('mine');
    ref.tell(shared);
    shared.write('XXXX');
    ref.tell(shared);
    shared.write('YYYY');
    bench.clock.advance(1_000);
    expect(seen).toEqual(['mine', 'XXXX']);
  });

  test('a successor that can not be made is tried again, and nothing is lost meanwhile', () => {
    const bench = new Bench();
    const seen: string[] = [];
    let made = 0;
    const ref = bench.spawn<string>(() => {
      const number = ++made;
      if (number === 2) throw new Error('no room');
      return {
        receive(text) {
          if (number === 1) throw new Error('x');
          seen.push(text);
        },
      };
    });
    ref.tell('a');
    bench.clock.advance(100);
    ref.tell('b');
    bench.clock.advance(10_000);
    expect([made, seen]).toEqual([3, ['a', 'b']]);
  });

  test('one that fails at handing back, or at giving up, does not take what waits with it', () => {
    const bench = new Bench();
    const seen: string[] = [];
    const ref = bench.spawn<string>({
      receive(text, self) {
        if (text === 'poison') {
          if (seen.length === 0) self.tell('b');
          throw new Error('x');
        }
        seen.push(text);
      },
      handBack: () => {
        throw new Error('no');
      },
      abandon: () => {
        throw new Error('no');
      },
    });
    ref.tell('poison');
    ref.tell('c');
    bench.clock.advance(60_000);
    expect(seen[0]).toBe('b');
    expect(seen).toContain('c');
    expect(bench.lines.filter((line) => line.startsWith('FATAL')).length).toBeGreaterThanOrEqual(2);
  });

  test('a supervisor that is a function gets the error and all that was undelivered, in order', async () => {
    const bench = new Bench();
    const failures: Failure<string>[] = [];
    const ref = bench.spawn<string>(
      {
        receive(text, self) {
          if (text !== 'bad') return;
          self.tell('waited');
          throw new Error('broken');
        },
        handBack: () => ['held'],
      },
      (failure) => failures.push(failure),
    );
    ref.tell('bad');
    expect(ref.state).toBe('stopped');
    await ref.stopped;
    expect(failures.map(({ undelivered }) => undelivered)).toEqual([['held', 'bad', 'waited']]);
    expect((failures[0]!.error as Error).message).toBe('broken');
  });
});

describe('Actor: the end', () => {
  test('the poison pill comes after all that was told before, also to a busy actor', async () => {
    const seen: string[] = [];
    const first = deferred();
    const ref = new Bench().spawn<string>({
      receive(text) {
        seen.push(text);
        return text === 'a' ? first.promise : undefined;
      },
      drain(context) {
        seen.push('drain');
        context.drained();
      },
    });
    ref.tell('a');
    ref.tell('b');
    ref.stop();
    ref.stop();
    expect(ref.state).toBe('running');
    first.resolve();
    await ref.stopped;
    expect(seen).toEqual(['a', 'b', 'drain']);
  });

  test('a draining actor goes on receiving until it says that it is done', async () => {
    const seen: string[] = [];
    let context: ActorContext<string> | undefined;
    const ref = new Bench().spawn<string>({
      receive: (text) => void seen.push(text),
      drain: (it) => void (context = it),
    });
    ref.stop();
    ref.tell('late');
    expect([ref.state, seen]).toEqual(['draining', ['late']]);
    context!.drained();
    expect(ref.state).toBe('stopped');
    await ref.stopped;
  });

  test('what is told after the end is abandoned with a warning, also what was waiting then', async () => {
    const bench = new Bench();
    const abandoned: string[] = [];
    const ref = bench.spawn<{ kind: string }>({
      receive: () => undefined,
      drain(context) {
        context.self.tell({ kind: 'while it ends' });
        context.drained();
      },
      abandon: ({ kind }) => void abandoned.push(kind),
    });
    ref.stop();
    ref.tell({ kind: 'after' });
    expect(abandoned).toEqual(['while it ends', 'after']);
    expect(bench.lines.map((line) => line.slice(line.indexOf('/it')).trim())).toEqual([
      "/it got 'while it ends' after it had stopped: the message is given up",
      "/it got 'after' after it had stopped: the message is given up",
    ]);
  });

  test('one that is starting again ends when it has started and done what waited', async () => {
    const bench = new Bench();
    const seen: string[] = [];
    let made = 0;
    const ref = bench.spawn<string>(() => {
      const number = ++made;
      return {
        receive(text) {
          if (number === 1) throw new Error('x');
          seen.push(text);
        },
      };
    });
    ref.tell('a');
    ref.stop();
    expect(ref.state).toBe('starting');
    bench.clock.advance(100);
    await ref.stopped;
    expect(seen).toEqual(['a']);
  });

  test.each(['a message', 'the draining itself'])(
    'one that fails on %s while it drains has a successor that drains, with all it held',
    async (what) => {
      const bench = new Bench();
      const seen: string[] = [];
      let made = 0;
      const ref = bench.spawn<string>(() => {
        const number = ++made;
        return {
          receive(text) {
            if (number === 1 && text === 'bad') throw new Error('x');
            seen.push(`${number} ${text}`);
          },
          drain(context) {
            seen.push(`${number} drains`);
            if (number === 1 && what !== 'a message') throw new Error('x');
            if (number > 1) context.drained();
          },
          handBack: () => ['held'],
        };
      });
      ref.stop();
      if (what === 'a message') ref.tell('bad');
      bench.clock.advance(100);
      await ref.stopped;
      expect(seen).toEqual(
        what === 'a message'
          ? ['1 drains', '2 held', '2 bad', '2 drains']
          : ['1 drains', '2 held', '2 drains'],
      );
    },
  );
});

test('Actor: each has a path, and its log lines carry it', () => {
  const bench = new Bench();
  const paths: string[] = [];
  bench.system.spawn('', (root) => {
    root.spawn('bucket.requests', (bucket) => {
      paths.push(bucket.path);
      bucket.spawn('stream.kafka_01', (stream) => {
        paths.push(stream.path);
        stream.log.info('hello');
        return new Scripted(stream, { receive: () => undefined });
      });
      return new Scripted(bucket, { receive: () => undefined });
    });
    return new Scripted(root, { receive: () => undefined });
  });
  expect(paths).toEqual(['/bucket.requests', '/bucket.requests/stream.kafka_01']);
  expect(bench.lines[0]).toContain(' | /bucket.requests/stream.kafka_01 hello\n');
});
