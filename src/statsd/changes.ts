// What statsd is to be told: of counters what they have grown since it was told last, of gauges how they
// stand. What a packet could not bring away is told with the next one, so the sum of what was told is what
// was counted.
import type { Downtime, Figures } from './figures.js';

/** One line of a packet. */
export interface Line {
  readonly text: string;
  /** It is on its way. */
  readonly told: () => void;
}

/** Decimal places of a value: microseconds of what is counted in seconds. */
const PLACES = 6;

export class Changes {
  readonly #counted = new Map<string, number>();
  readonly #gauges = new Map<string, number>();
  readonly #downtimes = new Map<string, Downtime>();

  linesFor({ counters, gauges, downtimes }: Figures): readonly Line[] {
    return [
      ...Array.from(counters, ([name, value]) => this.#counterLine(name, rounded(value))).filter(
        (line) => line !== undefined,
      ),
      ...Array.from(downtimes, ([name, downtime]) => this.#downtimeLines(name, downtime)).flat(),
      ...Array.from(gauges, ([name, value]) => this.#gaugeLine(name, rounded(value))).filter(
        (line) => line !== undefined,
      ),
      ...this.#lastGaugeLines(gauges),
    ];
  }

  #counterLine(name: string, value: number): Line | undefined {
    const grown = rounded(value - (this.#counted.get(name) ?? 0));
    if (grown <= 0) return undefined;
    return { text: `${name}:${printed(grown)}|c`, told: () => this.#counted.set(name, value) };
  }

  /** A gauge that is and stays 0 is told once: there may be thousands. */
  #gaugeLine(name: string, value: number): Line | undefined {
    if (value === 0 && this.#gauges.get(name) === 0) return undefined;
    return { text: `${name}:${printed(Math.max(0, value))}|g`, told: () => this.#gauges.set(name, value) };
  }

  /**
   * Of what is there no more, a bucket that was taken out say: a server would show for ever how it stood
   * last.
   */
  #lastGaugeLines(gauges: ReadonlyMap<string, number>): Line[] {
    const gone = [...this.#gauges].filter(([name]) => !gauges.has(name));
    for (const [name, value] of gone) if (value === 0) this.#gauges.delete(name);
    return gone
      .filter(([, value]) => value !== 0)
      .map(([name]) => ({ text: `${name}:0|g`, told: () => this.#gauges.delete(name) }));
  }

  /** A line for each return; of several since the last time each has the same part. */
  #downtimeLines(name: string, downtime: Downtime): Line[] {
    const before = this.#downtimes.get(name) ?? { times: 0, ms: 0 };
    const times = downtime.times - before.times;
    if (times <= 0) return [];
    const part = Math.max(0, Math.round((downtime.ms - before.ms) / times));
    return Array.from({ length: times }, () => ({
      text: `${name}:${part}|ms`,
      told: () => this.#downtimes.set(name, downtime),
    }));
  }
}

function rounded(value: number): number {
  return Number.isInteger(value) ? value : Number(value.toFixed(PLACES));
}

/** Never with an exponent. */
function printed(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toFixed(PLACES).replace(/0+$/, '');
}
