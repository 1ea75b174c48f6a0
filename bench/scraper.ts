// Reads /metrics of a daemon once a second, for as long as a run takes.
import { get } from 'node:http';

const EVERY_MS = 1_000;

export class Scraper {
  readonly #timer: NodeJS.Timeout;
  #scrapes = 0;
  #problem: string | undefined;

  /** @param socketPath ADMIN of the daemon */
  constructor(socketPath: string) {
    this.#timer = setInterval(() => this.#scrape(socketPath), EVERY_MS);
  }

  /** @throws when a scrape has failed, or there was none: then the figures are not what they seem to be */
  stop(): void {
    clearInterval(this.#timer);
    if (this.#problem !== undefined || this.#scrapes === 0)
      throw new Error(`/metrics: ${this.#problem ?? 'the run was too short to be scraped'}`);
  }

  #scrape(socketPath: string): void {
    get({ socketPath, path: '/metrics' }, (response) => {
      if (response.statusCode !== 200) this.#problem = `status ${response.statusCode}`;
      response.resume().on('end', () => this.#scrapes++);
    }).on('error', (error) => (this.#problem = error.message));
  }
}
