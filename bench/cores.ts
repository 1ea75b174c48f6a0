// Who runs where. A single sender has one core for itself, and what is measured shares the others with Kafka: left to the scheduler, which puts
// now this and now that beside the sender, the same run differs by a fifth. Needs two cores and taskset (util-linux); else all share all.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

export class Cores {
  readonly #all = allowedCores();
  readonly #kafka: readonly number[];
  /** As the result page says it. */
  readonly said: string;
  readonly #canPin: boolean;

  /** @param kafka pids of its brokers */
  constructor(kafka: readonly number[]) {
    this.#kafka = kafka;
    this.#canPin = this.#all.length > 1 && spawnSync('taskset', ['--version']).status === 0;
    this.said = this.#canPin
      ? `A single sender has core ${this.#all[0]!} for itself, and what is measured shares the rest (${this.#all.slice(1).join(', ')}) with Kafka`
      : 'Senders, what is measured and Kafka share all cores (with two cores and taskset a sender would have one for itself)';
  }

  /** Before a run. */
  divide(senders: readonly number[], measured: number): void {
    const isAlone = senders.length === 1;
    pin(senders, isAlone ? this.#all.slice(0, 1) : this.#all, this.#canPin);
    pin([measured, ...this.#kafka], isAlone ? this.#all.slice(1) : this.#all, this.#canPin);
  }
}

function pin(pids: readonly number[], cores: readonly number[], canPin: boolean): void {
  if (!canPin) return;
  for (const pid of pids) {
    const { status, stderr } = spawnSync('taskset', ['--all-tasks', '--cpu-list', '--pid', cores.join(','), String(pid)], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`taskset failed: ${stderr}`);
  }
}

/** That this process may run on, as the kernel lists them: "0-3,8". */
function allowedCores(): number[] {
  const list = /^Cpus_allowed_list:\s+(\S+)/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]!;
  return list.split(',').flatMap((range) => {
    const [first, last = first] = range.split('-').map(Number);
    return Array.from({ length: last! - first! + 1 }, (_, i) => first! + i);
  });
}
