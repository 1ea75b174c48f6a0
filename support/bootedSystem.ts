// A real systemd that has booted: this machine's own system in a container (systemd-nspawn), on an overlay,
// so that packages can be installed in it and programs removed. Promise: the machine itself is not changed,
// and after the test nothing of the container is left.
import { type ChildProcess, execFile, execFileSync, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const BOOT_DEADLINE_MS = 270_000;
const POLL_MS = 100;

/** Why no system can be booted here; undefined: one can. */
export function whyNotBootable(): string | undefined {
  if (process.platform !== 'linux' || process.getuid!() !== 0)
    return 'only root on Linux can boot a container';
  if (spawnSync('systemd-nspawn', ['--version']).status !== 0)
    return 'systemd-nspawn is missing (Debian: systemd-container)';
  const folder = mkdtempSync(path.join(os.tmpdir(), 'kahe-bootable-'));
  try {
    // In a mount namespace of its own: nothing is left to unmount.
    const probe = spawnSync('unshare', [
      '--mount',
      '--pid',
      '--fork',
      'sh',
      '-c',
      `cd '${folder}' && mkdir upper work root && mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root`,
    ]);
    return probe.status === 0 ? undefined : `no overlay can be mounted here: ${String(probe.stderr).trim()}`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export interface Outcome {
  readonly code: number;
  /** Both outputs. */
  readonly output: string;
}

export class BootedSystem {
  readonly #folder: string;
  #nspawn: ChildProcess | undefined;
  /** Its first process, by the number that it has here; undefined: not yet. */
  #init: number | undefined;

  private constructor(folder: string) {
    this.#folder = folder;
    systems.add(this);
  }

  /** @param files of this machine by the places at which the system finds them */
  static async boot(files: Readonly<Record<string, string>> = {}): Promise<BootedSystem> {
    const system = new BootedSystem(mkdtempSync(path.join(os.tmpdir(), 'kahe-booted-')));
    try {
      await system.#boot(files);
      return system;
    } catch (error) {
      system.destroy();
      throw error;
    }
  }

  async #boot(files: Readonly<Record<string, string>>): Promise<void> {
    const [upper, work, root] = ['upper', 'work', 'root'].map((name) => path.join(this.#folder, name)) as [
      string,
      string,
      string,
    ];
    for (const each of [path.join(upper, 'etc'), work, root]) mkdirSync(each, { recursive: true });
    writeFileSync(path.join(upper, 'etc/fstab'), '');
    writeFileSync(path.join(upper, 'etc/machine-id'), `${randomBytes(16).toString('hex')}\n`);
    execFileSync('mount', [
      '-t',
      'overlay',
      'overlay',
      '-o',
      `lowerdir=/,upperdir=${upper},workdir=${work}`,
      root,
    ]);
    const nspawn = (this.#nspawn = spawn(
      'systemd-nspawn',
      [
        '--quiet',
        `--directory=${root}`,
        `--machine=kahe-${process.pid}`,
        '--boot',
        '--register=no',
        '--keep-unit',
        '--private-network',
        '--link-journal=no',
        '--resolv-conf=off',
        '--timezone=off',
        '--console=pipe',
        ...Object.entries(files).map(([inside, outside]) => `--bind-ro=${outside}:${inside}`),
        '--',
        '--unit=basic.target',
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    ));
    let words = '';
    nspawn.stderr.on('data', (piece: Buffer) => (words += piece.toString()));
    const deadline = Date.now() + BOOT_DEADLINE_MS;
    while (!(await this.#isUp())) {
      if (Date.now() > deadline || nspawn.exitCode !== null)
        throw new Error(`the system did not boot: ${words}`);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    // Images of containers have it, so that installing a package starts nothing.
    await this.must('rm -f /usr/sbin/policy-rc.d');
  }

  async #isUp(): Promise<boolean> {
    const { pid } = this.#nspawn!;
    // Looked up each time: before it starts the system, systemd-nspawn has children that only prepare it.
    this.#init =
      Number(readFileSync(`/proc/${pid!}/task/${pid!}/children`, 'utf8').split(' ')[0]) || undefined;
    return (
      this.#init !== undefined &&
      (await this.run('systemctl is-active basic.target')).output.trim() === 'active'
    );
  }

  /** A path of the system, as this process reaches it. */
  path(inside: string): string {
    return `/proc/${this.#init!}/root${inside}`;
  }

  /** Runs a command of the shell in it, as root. */
  run(command: string): Promise<Outcome> {
    return new Promise((resolve) => {
      execFile(
        'nsenter',
        [
          '--target',
          String(this.#init),
          '--mount',
          '--uts',
          '--ipc',
          '--net',
          '--pid',
          '--cgroup',
          '--',
          'sh',
          '-c',
          `cd / && { ${command}\n}`,
        ],
        {
          env: {
            PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
            DEBIAN_FRONTEND: 'noninteractive',
            LC_ALL: 'C',
          },
          maxBuffer: 64 * 1024 ** 2,
        },
        (error, stdout, stderr) =>
          resolve({ code: error === null ? 0 : Number(error.code ?? -1), output: stdout + stderr }),
      );
    });
  }

  /** As `run`. @throws Error with what it printed when it failed */
  async must(command: string): Promise<string> {
    const { code, output } = await this.run(command);
    if (code !== 0) throw new Error(`${command}: exit code ${code}\n${output}`);
    return output;
  }

  /** At once, as when the power goes. */
  destroy(): void {
    if (!systems.delete(this)) return;
    // With the first process of the container all others go.
    if (this.#init !== undefined) kill9(this.#init);
    this.#nspawn?.kill('SIGKILL');
    const root = path.join(this.#folder, 'root');
    // Until the last process is gone the overlay is in use.
    for (let i = 0; i < 100 && spawnSync('umount', [root]).status !== 0; i++) execFileSync('sleep', ['0.1']);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

const systems = new Set<BootedSystem>();
process.on('exit', () => systems.forEach((system) => system.destroy()));

function kill9(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
