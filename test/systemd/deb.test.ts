// The Debian package: what is in it, and how it is installed, used, upgraded and removed on a real system that has booted, without Node.
import { execFile, execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { BootedSystem, whyNotBootable } from '../support/bootedSystem.js';
import { DaemonClient, numberedFrames, range, readFiles, type Frame } from '../support/daemon.js';
import { SteadyLoad } from '../support/steadyLoad.js';

const ROOT = path.resolve(import.meta.dirname, '../..');
const run = promisify(execFile);
let folder: string;
let deb: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'kahe-deb-'));
  // As `make deb`, packed in less time.
  const { stdout } = await run('make', ['-s', '-C', ROOT, '-o', 'node_modules/.package-lock.json', 'deb', `DEB_DIR=${folder}`, 'DEB_LEVEL=0']);
  deb = stdout.trim();
}, 300_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

test('the package says what it is, and brings the Node that is pinned', async () => {
  const { version } = JSON.parse(await readFile(path.join(ROOT, 'package.json'), 'utf8')) as { version: string };
  const arch = execFileSync('dpkg', ['--print-architecture'], { encoding: 'utf8' }).trim();
  expect(path.basename(deb)).toBe(`kahe_${version.replace('-', '~')}_${arch}.deb`);
  const { stdout } = await run('dpkg-deb', ['--field', deb, 'Package', 'Version', 'Architecture', 'Depends']);
  expect(stdout).toBe(`Package: kahe\nVersion: ${version}\nArchitecture: ${arch}\nDepends: systemd, libc6 (>= 2.28), libstdc++6, libgcc-s1\n`);
  const inside = path.join(folder, 'inside');
  await run('dpkg-deb', ['--raw-extract', deb, inside]);
  expect(await readFile(path.join(inside, 'DEBIAN/conffiles'), 'utf8')).toBe('/etc/kahe/.env.prod.local\n/etc/kahe/buckets.json\n');
  const pinned = (await readFile(path.join(ROOT, 'systemd/deb/node.txt'), 'utf8')).split('\n').find((line) => line.startsWith(`${arch} `))!.split(' ')[2];
  const node = path.join(inside, 'usr/lib/kahe/bin/node');
  expect((await run(node, ['--version'])).stdout).toBe(`v${pinned}\n`);
  expect((await run(node, [path.join(inside, 'usr/lib/kahe/dist/main.js'), '--version'], { env: {} })).stdout).toBe(`${version}\n`);
  expect(await readFile(path.join(inside, 'usr/bin/kahe'), 'utf8')).toContain("exec '/usr/lib/kahe/bin/node' '/usr/lib/kahe/dist/main.js'");
});

const obstacle = whyNotBootable();

describe.skipIf(obstacle !== undefined)(`on a system that has booted${obstacle === undefined ? '' : ` (${obstacle})`}`, { timeout: 180_000 }, () => {
  let system: BootedSystem;

  beforeAll(async () => {
    system = await BootedSystem.boot({ '/root/kahe.deb': deb });
    await system.must('while node=$(command -v node); do rm -f "$node"; done; ! command -v nodejs');
  }, 180_000);
  afterAll(() => system.destroy());

  const socketPath = (): string => system.path('/run/kahe/kahe.sock');

  async function connect(at = '/run/kahe/kahe.sock'): Promise<DaemonClient> {
    const client = await DaemonClient.connect(system.path(at));
    onTestFinished(() => client.destroy());
    return client;
  }

  async function property(name: string): Promise<string> {
    return (await system.must(`systemctl show --property=${name} --value kahe.service`)).trim();
  }

  /** Resolves when the service is up, in another process than `pid`. */
  async function isUp(pid = '0'): Promise<string> {
    const ask = async (): Promise<boolean> => (await property('ActiveState')) === 'active' && !['0', pid].includes(await property('MainPID'));
    await expect.poll(ask, { timeout: 30_000, interval: 100 }).toBe(true);
    return property('MainPID');
  }

  async function filed(bucket: string): Promise<Frame[]> {
    return (await readFiles(system.path('/var/lib/kahe/data'))).filter((frame) => frame.bucket === bucket);
  }

  test('dpkg installs and starts it: a user of its own, nothing more allowed than needed, and it says how it is', async () => {
    await system.must('dpkg -i /root/kahe.deb');
    const pid = await isUp();
    expect((await system.must('systemctl is-enabled kahe.socket kahe.service')).split('\n')).toEqual(['enabled', 'enabled', '']);
    const status = await system.must(`cat /proc/${pid}/status`);
    const id = (await system.must('id -u kahe')).trim();
    expect(status).toMatch(new RegExp(`^Uid:\\t${id}\\t${id}\\t${id}\\t${id}$`, 'm'));
    expect([...status.matchAll(/^(CapEff|CapBnd|NoNewPrivs|Seccomp):\t(.*)$/gm)].map(([, name, value]) => [name, value])).toEqual([['CapEff', '0'.repeat(16)], ['CapBnd', '0'.repeat(16)], ['NoNewPrivs', '1'], ['Seccomp', '2']]);
    expect(await system.must('stat -c "%a %U:%G" /etc/kahe /etc/kahe/.env.prod.local /etc/kahe/buckets.json /run/kahe/kahe.sock /var/lib/kahe')).toBe('750 root:kahe\n640 root:kahe\n640 root:kahe\n660 root:kahe\n750 kahe:kahe\n');
    expect(await property('StatusText')).toBe('1 bucket, 0 frames received, 0 delivered');
    expect(await property('WatchdogUSec')).toBe('1min');
    expect(await system.must(`cd /etc/kahe && environment=prod setpriv --reuid kahe --regid kahe --clear-groups kahe send first hello`)).toBe('1 frame is safe\n');
    await expect.poll(() => filed('first').catch(() => []), { timeout: 20_000 }).toEqual([{ bucket: 'first', key: undefined, message: 'hello' }]);
    expect(await system.must('journalctl --unit kahe --output cat')).not.toMatch(/WARN|ERROR|FATAL/);
    const said = (await system.must('journalctl --unit kahe --output json')).trimEnd().split('\n').map((line) => JSON.parse(line) as { readonly _COMM?: string; readonly PRIORITY: string; readonly MESSAGE: string });
    const own = said.filter(({ _COMM: program }) => program !== 'systemd').map(({ PRIORITY: priority, MESSAGE: text }) => ({ priority, ...(JSON.parse(text) as object) }));
    expect(own).toContainEqual(expect.objectContaining({ priority: '6', level: 'INFO', msg: expect.stringMatching(/^kahe \d+ listens on the socket that systemd holds/) as string }));
  });

  test('kahe status, top and tail find it from any folder, as root; nobody else gets in', async () => {
    await isUp();
    expect(await system.must('stat -c "%a %U" /run/kahe /run/kahe/admin')).toBe('755 root\n700 kahe\n');
    expect(await system.must('cd / && kahe status')).toMatch(/^Kahe \S+ on .*\nready\n/);
    expect(JSON.parse(await system.must('cd /etc/kahe && environment=prod kahe status --json'))).toMatchObject({ program: { pid: Number(await property('MainPID')) } });
    expect(await system.must('kahe top --interval 0.1 --count 1')).toMatch(/^\S+Z\nKahe .*\n(.*\n)+BUCKET /);
    await system.must('cd / && kahe tail looked --json --count 1 > /root/tail.txt 2> /root/tail.err & while ! grep -q "waited for" /root/tail.err; do sleep 0.1; done; cd /etc/kahe && environment=prod kahe send looked hello && wait');
    expect(JSON.parse(await system.must('cat /root/tail.txt'))).toMatchObject({ bucket: 'looked', message: 'hello' });
    expect(await system.run('cd / && setpriv --reuid nobody --regid kahe --clear-groups kahe status')).toMatchObject({ code: 3, output: expect.stringContaining('you may not use it') as string });
  });

  test('systemctl restart under load: no connection is refused, nothing is lost', async () => {
    const load = new SteadyLoad(socketPath(), 'restarted');
    for (let restart = 0; restart < 3; restart++) {
      await load.progress();
      await system.must('systemctl restart kahe');
    }
    await load.progress();
    await load.end();
    expect(load.refusals).toEqual([]);
    await system.must('systemctl restart kahe');
    load.check(await filed('restarted'));
  });

  test('systemctl reload under load: it waits until the changed configuration is in force, in the same process; one that can not be used changes nothing', async () => {
    const pid = await isUp();
    const load = new SteadyLoad(socketPath(), 'reloaded');
    await load.progress();
    await system.must('cp -p /etc/kahe/buckets.json /root/');
    for (const round of range(1, 4)) {
      await system.must(`sed -i 's/"batchTimeout": *[0-9]*/"batchTimeout": ${String(100 * round)}/' /etc/kahe/buckets.json && systemctl reload kahe`);
      expect((await system.must('journalctl --unit kahe --output cat')).match(/SIGHUP: \/etc\/kahe\/buckets\.json is in force: changed/g)).toHaveLength(round);
      await load.progress();
    }
    await system.must('printf "{" > /etc/kahe/buckets.json');
    const { code, output } = await system.run('systemctl reload kahe');
    expect([code, output]).toEqual([1, expect.stringContaining('Job for kahe.service failed') as string]);
    expect(await system.must('journalctl --unit kahe --output cat')).toContain('/etc/kahe/buckets.json: line 1, column');
    expect([await property('ActiveState'), await property('MainPID')]).toEqual(['active', pid]);
    await load.progress();
    await system.must('cp -p /root/buckets.json /etc/kahe/buckets.json && systemctl reload kahe');
    await load.progress();
    await load.end();
    expect(load.refusals).toEqual([]);
    await system.must('systemctl restart kahe');
    load.check(await filed('reloaded'));
  });

  test('one that stands still is replaced by its watchdog', async () => {
    await system.must('mkdir -p /run/systemd/system/kahe.service.d && printf "[Service]\\nWatchdogSec=5\\n" > /run/systemd/system/kahe.service.d/quick.conf && systemctl daemon-reload && systemctl restart kahe');
    const pid = await isUp();
    const before = await connect();
    await before.send(numberedFrames('watched', 'a', { count: 50 }));
    expect(await before.receipt()).toBe(50);
    await system.must(`kill -STOP ${pid}`);
    const meanwhile = await connect();
    await meanwhile.send(numberedFrames('watched', 'b', { count: 50 }));
    expect(await meanwhile.receipt()).toBe(50);
    expect(await isUp(pid)).not.toBe(pid);
    expect(await system.must('journalctl --unit kahe --output cat')).toContain('Watchdog timeout');
    // And one that works is not.
    const next = await property('MainPID');
    const client = await connect();
    for (const round of range(0, 30)) {
      await client.send(numberedFrames('watched', 'c', { from: round, count: 1 }));
      expect(await client.receipt()).toBe(round + 1);
    }
    await expect.poll(async () => (await system.must('journalctl --unit kahe --output cat')).match(/WARN.*systemd/g), { timeout: 1000 }).toBeNull();
    expect(await property('MainPID')).toBe(next);
    await system.must('rm /run/systemd/system/kahe.service.d/quick.conf && systemctl daemon-reload && systemctl restart kahe');
    expect(new Set((await filed('watched')).map(({ message }) => message)).size).toBe(130);
  });

  test('a mistake in the configuration: clients wait, and once it is mended it goes on by itself', async () => {
    await isUp();
    await system.must('cp -p /etc/kahe/buckets.json /root/ && printf "{" > /etc/kahe/buckets.json && systemctl restart kahe || true');
    const client = await connect();
    await client.send(numberedFrames('mended', 'c', { count: 10 }));
    const answer = client.receipt();
    await expect.poll(async () => Number(await property('NRestarts')), { timeout: 30_000 }).toBeGreaterThan(2);
    expect(await system.must('journalctl --unit kahe --output cat')).toContain('/etc/kahe/buckets.json: line 1');
    await system.must('cp -p /root/buckets.json /etc/kahe/buckets.json');
    expect(await answer).toBe(10);
  });

  test('an upgrade under load: no connection is refused, nothing is lost, the configuration stays', async () => {
    const pid = await isUp();
    await system.must('echo "// mine" >> /etc/kahe/buckets.json');
    const load = new SteadyLoad(socketPath(), 'upgraded');
    await load.progress();
    await system.must('dpkg -i /root/kahe.deb');
    await isUp(pid);
    await load.progress();
    await load.end();
    expect(load.refusals).toEqual([]);
    expect(await system.must('tail -n 1 /etc/kahe/buckets.json; stat -c "%a %G" /etc/kahe/buckets.json')).toBe('// mine\n640 kahe\n');
    await system.must('systemctl restart kahe');
    load.check(await filed('upgraded'));
  });

  test("kahego's place, as docs/operations.md has it", async () => {
    const page = await readFile(path.join(ROOT, 'docs/operations.md'), 'utf8');
    const [, indent, dropIn] = /```ini\n( *)(\[Socket\]\n *Symlinks=[^`]*\n) *```/.exec(page)!;
    await system.must(`mkdir -p /etc/systemd/system/kahe.socket.d && cat > /etc/systemd/system/kahe.socket.d/override.conf <<'END'\n${dropIn!.replaceAll(`\n${indent!}`, '\n')}END\nsystemctl daemon-reload`);
    const [, command] = /\n *(sudo rm -f \/tmp\/kahego.sock .*)\n/.exec(page)!;
    await system.must(`nohup socat UNIX-LISTEN:/tmp/kahego.sock EXEC:true >/dev/null 2>&1 & while ! [ -S /tmp/kahego.sock ]; do sleep 0.1; done`);
    await system.must(command!.replaceAll('sudo ', ''));
    const client = await connect('/run/kahe/kahe.sock');
    await client.send(numberedFrames('placed', 'c', { count: 10 }));
    expect(await client.receipt()).toBe(10);
    expect(await system.must('readlink /tmp/kahego.sock; stat -L -c "%a %G" /tmp/kahego.sock')).toBe('/run/kahe/kahe.sock\n660 www-data\n');
  });

  test('removed, it has delivered what it held and is gone; what is stored stays, at a purge too', async () => {
    const client = await connect();
    await client.send(numberedFrames('last', 'c', { count: 500 }));
    await system.must('dpkg -r kahe');
    expect(await filed('last')).toHaveLength(500);
    expect(existsSync(socketPath())).toBe(false);
    expect((await system.run('pgrep -u kahe')).output).toBe('');
    expect(await system.must('cd /etc/kahe && find . -type f; find /usr/lib/systemd/system -name "kahe*"')).toMatch(/^(\.\/(buckets\.json|\.env\.prod\.local)\n){2}$/);
    expect(await system.must('dpkg -P kahe')).toContain('/var/lib/kahe stays');
    expect((await stat(system.path('/var/lib/kahe/data'))).isDirectory()).toBe(true);
    expect(await system.must('ls -d /etc/kahe /usr/lib/kahe /usr/bin/kahe /etc/systemd/system/kahe.* /etc/systemd/system/*/kahe.* 2>/dev/null || true')).toBe('/etc/systemd/system/kahe.socket.d\n');
  });
});
