// `/tail/BUCKET`: frames of a bucket as they pass, for as long as the connection is open. Messages are more
// delicate than figures, so this is only served where the permissions of a file say who may see them, and to
// a few at a time.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Taps } from '../../buckets/taps.js';
import type { Clock } from '../../clock.js';
import { type Answer, type Stream, TEXT } from '../answer.js';
import type { SamplerOptions } from './sampler.js';
import { Tail } from './tail.js';

export const TAIL_PATH = '/tail/';
const MOST_TAILS = 4;
const DEFAULT_RATE = 10;
const MOST_RATE = 1000;
const LONGEST_NAME = 255;

export const NOT_ON_A_PORT: Answer = {
  status: 403,
  type: TEXT,
  body: 'frames are shown on a Unix socket alone, whose file says who may see them: give ADMIN the path of one, which may stand beside an address, as in ADMIN=127.0.0.1:9090, /run/kahe/admin.sock\n',
};

export class Tails {
  readonly #clock: Clock;
  readonly #open = new Set<Tail>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  answer(request: IncomingMessage, taps: Taps): Answer | Stream {
    const [path = '', query] = (request.url ?? '').split('?', 2);
    const bucket = decoded(path.slice(TAIL_PATH.length));
    if (request.method !== 'GET')
      return { status: 405, type: TEXT, body: 'GET only\n', headers: { Allow: 'GET' } };
    if (bucket === undefined)
      return {
        status: 400,
        type: TEXT,
        body: 'name a bucket, as /tail/requests: 1 to 255 bytes of UTF-8, percent-encoded\n',
      };
    const options = optionsOf(new URLSearchParams(query));
    if (options === undefined)
      return {
        status: 400,
        type: TEXT,
        body: `rate is a number greater than 0, of frames a second, and no more than ${MOST_RATE}; key has 1 to 255 bytes\n`,
      };
    if (this.#open.size >= MOST_TAILS)
      return {
        status: 429,
        type: TEXT,
        body: `${MOST_TAILS} are looking at frames already, and no more can at a time: end one of them\n`,
      };
    return {
      type: 'application/x-ndjson',
      start: (response) => this.#start(response, { bucket, options, taps }),
    };
  }

  end(): void {
    for (const tail of this.#open) tail.end();
  }

  #start(
    response: ServerResponse,
    {
      bucket,
      options,
      taps,
    }: { readonly bucket: string; readonly options: SamplerOptions; readonly taps: Taps },
  ): void {
    // A bucket may be quiet for hours.
    response.socket?.setTimeout(0);
    const tail = new Tail(response, options, this.#clock);
    const takeOff = taps.put(bucket, (batch) => tail.look(batch));
    this.#open.add(tail);
    // A client that leaves in the middle of a line concerns nobody.
    response.on('error', () => undefined);
    response.on('close', () => {
      takeOff();
      tail.stop();
      this.#open.delete(tail);
    });
  }
}

/** Undefined: no bucket can have this name. */
function decoded(encoded: string): string | undefined {
  try {
    const name = decodeURIComponent(encoded);
    return name !== '' && Buffer.byteLength(name) <= LONGEST_NAME ? name : undefined;
  } catch {
    return undefined;
  }
}

/** Undefined: they can't be used. */
function optionsOf(query: URLSearchParams): SamplerOptions | undefined {
  const rate = Number(query.get('rate') ?? DEFAULT_RATE);
  const key = query.has('key') ? Buffer.from(query.get('key')!) : undefined;
  const isRight =
    rate > 0 && rate <= MOST_RATE && (key === undefined || (key.length >= 1 && key.length <= LONGEST_NAME));
  return isRight ? { rate, key } : undefined;
}
