// The Debian package: what is in it, and how it is installed, used, upgraded and removed on a real system
// that has booted, without Node.
import { execFile, execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { BootedSystem, whyNotBootable } from '../../support/bootedSystem.js';
import { DaemonClient, numberedFrames, range, readFiles, type Frame } from '../../support/daemon.js';
import { SteadyLoad } from '../../support/steadyLoad.js';

const ROOT = path.resolve(import.meta.dirname, '../..');
const run = promisify(execFile);
let folder: string;
let deb: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'kahe-deb-'));
  // As `make deb`, packed in less time.
  const { stdout } = await run('make', [
    '-s',
    '-C',
    ROOT,
    '-o',
    'node_modules/.package-lock.json',
    'deb',
    `DEB_DIR=${folder}`,
    'DEB_LEVEL=0',
  ]);
  deb = stdout.trim();
}, 300_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

test('the package says what it is, and brings the Node that is pinned', async () => {
  const { version } = JSON.parse(await readFile(path.join(ROOT, 'package.json'), 'utf8')) as {
    version: string;
  };
  const arch = execFileSync('dpkg', ['--print-architecture'], { encoding: 'utf8' }).trim();
  expect(path.basename(deb)).toBe(`kahe_${version.replace('-', '~')}_${arch}.deb`);
  const { stdout } = await run('dpkg-deb', ['--field', deb, 'Package', 'Version', 'Architecture', 'Depends']);
  expect(stdout).toBe(
    `Package: kahe\nVersion: ${version}\nArchitecture: ${arch}\nDepends: systemd, passwd, libc6 (>= 2.28), libstdc++6, libgcc-s1\n`,
  );
  const inside = path.join(folder, 'inside');
  await run('dpkg-deb', ['--raw-extract', deb, inside]);
  expect(await readFile(path.join(inside, 'DEBIAN/conffiles'), 'utf8')).toBe(
    '/etc/kahe/.env.prod.local\n/etc/kahe/buckets.json\n',
  );
  const pinned = (await readFile(path.join(ROOT, 'systemd/deb/node.txt'), 'utf8'))
    .split('\n')
    .find((line) => line.startsWith(`${arch} `))!
    .split(' ')[2];
  const node = path.join(inside, 'usr/lib/kahe/bin/node');
  expect((await run(node, ['--version'])).stdout).toBe(`v${pinned}\n`);
  expect(
    (await run(node, [path.join(inside, 'usr/lib/kahe/dist/main.js'), '--version'], { env: {} })).stdout,
  ).toBe(`${version}\n`);
  expect(await readFile(path.join(inside, 'usr/bin/kahe'), 'utf8')).toContain(
    "exec '/usr/lib/kahe/bin/node' '/usr/lib/kahe/dist/main.js'",
  );
});

const obstacle = whyNotBootable();

describe.skipIf(obstacle !== undefined)(
  `on a system that has booted${obstacle === undefined ? '' : ` (${obstacle})`}`,
  { timeout: 540_000 },
  () => {
    let system: BootedSystem;

    beforeAll(async () => {
      system = await BootedSystem.boot({ '/root/kahe.deb': deb });
      await system.must('while node=$(command -v node); do rm -f "$node"; done; ! command -v nodejs');
    });
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
      const ask = async (): Promise<boolean> =>
        (await property('ActiveState')) === 'active' && !['0', pid].includes(await property('MainPID'));
      await expect.poll(ask, { interval: 100 }).toBe(true);
      return property('MainPID');
    }

    async function filed(bucket: string): Promise<Frame[]> {
      return (await readFiles(system.path('/var/lib/kahe/data'))).filter((frame) => frame.bucket === bucket);
    }

    test('dpkg installs and starts it: a user of its own, allowed what it needs, and a status line', async () => {
      await system.must('dpkg -i /root/kahe.deb');
      const pid = await isUp();
      expect((await system.must('systemctl is-enabled kahe.socket kahe.service')).split('\n')).toEqual([
        'enabled',
        'enabled',
        '',
      ]);
      const status = await system.must(`cat /proc/${pid}/status`);
      const id = (await system.must('id -u kahe')).trim();
      expect(status).toMatch(new RegExp(`^Uid:\\t${id}\\t${id}\\t${id}\\t${id}$`, 'm'));
      expect(
        [...status.matchAll(/^(CapEff|CapBnd|NoNewPrivs|Seccomp):\t(.*)$/gm)].map(([, name, value]) => [
          name,
          value,
        ]),
      ).toEqual([
        ['CapEff', '0'.repeat(16)],
        ['CapBnd', '0'.repeat(16)],
        ['NoNewPrivs', '1'],
        ['Seccomp', '2'],
      ]);
      expect(
        await system.must(
          'stat -c "%a %U:%G" /etc/kahe /etc/kahe/.env.prod.local /etc/kahe/buckets.json /run/kahe/kahe.sock /var/lib/kahe',
        ),
      ).toBe('750 root:kahe\n640 root:kahe\n640 root:kahe\n660 root:kahe-clients\n700 kahe:kahe\n');
      expect(await property('StatusText')).toBe('1 bucket, 0 frames received, 0 delivered');
      expect(await property('WatchdogUSec')).toBe('1min');
      expect(
        await system.must(
          `cd /etc/kahe && environment=prod setpriv --reuid kahe --regid kahe --init-groups kahe send first hello`,
        ),
      ).toBe('1 frame: 1 delivered\n');
      await expect
        .poll(() => filed('first').catch(() => []))
        .toEqual([{ bucket: 'first', key: undefined, message: 'hello' }]);
      expect(await system.must('journalctl --unit kahe --output cat')).not.toMatch(/WARN|ERROR|FATAL/);
      const said = (await system.must('journalctl --unit kahe --output json'))
        .trimEnd()
        .split('\n')
        .map(
          (line) =>
            JSON.parse(line) as {
              readonly _COMM?: string;
              readonly PRIORITY: string;
              readonly MESSAGE: string;
            },
        );
      const own = said
        .filter(({ _COMM: program }) => program !== 'systemd')
        .map(({ PRIORITY: priority, MESSAGE: text }) => ({ priority, ...(JSON.parse(text) as object) }));
      expect(own).toContainEqual(
        expect.objectContaining({
          priority: '6',
          level: 'INFO',
          msg: expect.stringMatching(/^kahe \d+ listens on the socket that systemd holds/) as string,
        }),
      );
    });

    test('kahe status, top and tail find it from any folder, as root; nobody else gets in', async () => {
      await isUp();
      expect(await system.must('stat -c "%a %U" /run/kahe /run/kahe/admin')).toBe('755 root\n700 kahe\n');
      expect(await system.must('cd / && kahe status')).toMatch(/^Kahe \S+ on .*\nready\n/);
      expect(
        JSON.parse(await system.must('cd /etc/kahe && environment=prod kahe status --json')),
      ).toMatchObject({ program: { pid: Number(await property('MainPID')) } });
      expect(await system.must('kahe top --interval 0.1 --count 1')).toMatch(
        /^\S+Z\nKahe .*\n(.*\n)+BUCKET /,
      );
      await system.must(
        'cd / && kahe tail looked --json --count 1 > /root/tail.txt 2> /root/tail.err & while ! grep -q "waited for" /root/tail.err; do sleep 0.1; done; cd /etc/kahe && environment=prod kahe send looked hello && wait',
      );
      expect(JSON.parse(await system.must('cat /root/tail.txt'))).toMatchObject({
        bucket: 'looked',
        message: 'hello',
      });
      expect(
        await system.run('cd / && setpriv --reuid nobody --regid kahe --clear-groups kahe status'),
      ).toMatchObject({ code: 3, output: expect.stringContaining('you may not use it') as string });
    });

    test('a member of kahe-clients may write, and read nothing; others may not even write', async () => {
      await isUp();
      await system.must('useradd --groups kahe-clients member && useradd stranger');
      const as = (user: string, command: string): ReturnType<BootedSystem['run']> =>
        system.run(`setpriv --reuid ${user} --regid ${user} --init-groups sh -c 'cd / && ${command}'`);
      const send = (user: string, bucket: string): ReturnType<BootedSystem['run']> =>
        as(user, `SOCKET=/run/kahe/kahe.sock kahe send ${bucket} hello`);
      await system.must('cp -p /etc/kahe/buckets.json /root/');
      onTestFinished(async () => {
        await system.must('cp -p /root/buckets.json /etc/kahe/buckets.json && systemctl restart kahe');
      });
      // A place for each kind of file: delivered, in a backup, in the spool (with the batch that waits),
      // rejected.
      await system.must(`cat > /etc/kahe/buckets.json <<'END'
      { streamsConfigs: {
          files: { type: 'file', settings: { path: '/var/lib/kahe/data' } },
          away: { type: 'kafka', settings: { 'bootstrap.servers': '127.0.0.1:1', 'message.timeout.ms': 1 }, backup: { type: 'file', settings: { path: '/var/lib/kahe/backup' } } } },
        buckets: [{ id: 'delivered', streams: ['files'] }, { id: 'away', streams: ['away'], batchTimeout: 20 }, { id: 'waiting', streams: ['files'], batchTimeout: 3600000 }] }
END
systemctl restart kahe`);
      await isUp();
      const said = {
        delivered: '1 delivered',
        away: '1 in a backup',
        waiting: '1 safe, not all delivered yet',
        nowhere: '1 rejected (unknown bucket, and there is no defaultBucket)',
      };
      for (const [bucket, words] of Object.entries(said))
        expect(await send('member', bucket)).toEqual({
          code: bucket === 'nowhere' ? 1 : 0,
          output: `1 frame: ${words}\n`,
        });
      expect((await send('stranger', 'delivered')).code).toBe(1);

      const places = ['data/delivered', 'backup/away', 'spool/waiting/*.bckstm', 'rejected/*.bckstm'];
      const files = async (place: string): Promise<string[]> =>
        (await system.run(`find /var/lib/kahe/${place} -size +0`)).output
          .split('\n')
          .filter((line) => line.startsWith('/'));
      for (const place of places) await expect.poll(() => files(place)).toHaveLength(1);
      const secret = [
        '/etc/kahe/buckets.json',
        '/etc/kahe/.env.prod.local',
        ...(await Promise.all(places.map(files))).flat(),
      ];
      for (const file of secret) {
        expect(await system.run(`cat ${file}`), file).toMatchObject({ code: 0 });
        expect(await as('member', `cat ${file}`), file).toMatchObject({
          code: 1,
          output: expect.stringContaining('Permission denied') as string,
        });
      }
      expect(
        (await as('member', 'find /etc/kahe /var/lib/kahe /run/kahe -type f -readable 2>/dev/null')).output,
      ).toBe('');
      expect(
        (await as('member', 'ls /etc/kahe; ls /var/lib/kahe; ls /run/kahe/admin')).output.match(
          /Permission denied/g,
        ),
      ).toHaveLength(3);
      // Not because of the folder above alone.
      expect(await system.must('find /var/lib/kahe -perm /077')).toBe('');
      expect((await as('member', 'kahe status')).code).toBe(3);
    });

    test('a password that systemd hands over: root alone can read its file, and the service works with it', async () => {
      const page = await readFile(path.join(ROOT, 'docs/configuration.md'), 'utf8');
      const [, dropIn] = /```ini\n( *\[Service\]\n *LoadCredential=[^`]*) *```/.exec(page)!;
      const [, byHand] =
        /`(cd \/etc\/kahe && sudo environment=prod CREDENTIALS_DIRECTORY=\S+ kahe check)`/.exec(page)!;
      const clean =
        'cp -p /root/buckets.json /etc/kahe/buckets.json; rm -rf /etc/kahe/secret /run/secrets /etc/systemd/system/kahe.service.d; systemctl daemon-reload && systemctl restart kahe';
      await system.must('cp -p /etc/kahe/buckets.json /root/');
      onTestFinished(async () => {
        await system.must(clean);
      });
      const configure = (location: string): Promise<string> =>
        system.must(`cat > /etc/kahe/buckets.json <<'END'
      { streamsConfigs: { away: { type: 'kafka', backup: { type: 'file', settings: { path: '/var/lib/kahe/handed' } }, settings: { 'bootstrap.servers': '127.0.0.1:1', 'security.protocol': 'sasl_ssl',
          'message.timeout.ms': 1, 'sasl.mechanisms': 'PLAIN', 'sasl.username': 'me', 'sasl.password.location': '${location}' } } },
        buckets: [{ id: 'handed', streams: ['away'], batchTimeout: 20 }] }
END`);
      await configure('${CREDENTIALS_DIRECTORY}/kafka-password');
      await system.must(
        `mkdir -m 700 /etc/kahe/secret && cd /etc/kahe/secret && printf 'handed over\\n' > kafka-password && chmod 600 kafka-password && mkdir -p /etc/systemd/system/kahe.service.d`,
      );
      await system.must(
        `cat > /etc/systemd/system/kahe.service.d/override.conf <<'END'\n${dropIn!.replaceAll(/^ +/gm, '')}END\nsystemctl daemon-reload && systemctl restart kahe`,
      );
      await isUp();
      // What systemctl reload checks beforehand runs without the service's credentials.
      expect((await system.run('systemctl reload kahe')).code).not.toBe(0);
      await system.must(
        `systemctl kill --signal HUP --kill-who main kahe && timeout 20 sh -c "until journalctl --unit kahe --output cat | grep -q 'SIGHUP:.*in force'; do sleep 0.1; done"`,
      );
      expect(await system.must('SOCKET=/run/kahe/kahe.sock kahe send handed hello')).toBe(
        '1 frame: 1 in a backup\n',
      );
      expect(
        (
          await system.run(
            'setpriv --reuid kahe --regid kahe --init-groups cat /etc/kahe/secret/kafka-password',
          )
        ).code,
      ).toBe(1);
      expect(
        (
          await system.run(
            'setpriv --reuid member --regid member --init-groups cat /run/credentials/kahe.service/kafka-password',
          )
        ).code,
      ).toBe(1);
      const checked = await system.run(byHand!.replace('sudo ', ''));
      expect(checked).toMatchObject({
        code: 0,
        output: expect.stringContaining('/etc/kahe/buckets.json are sound') as string,
      });
      expect(await system.run('cd /etc/kahe && environment=prod kahe check')).toMatchObject({
        code: 1,
        output: expect.stringContaining(
          'By hand, as root: CREDENTIALS_DIRECTORY=/run/credentials/kahe.service',
        ) as string,
      });
      for (const said of [
        checked.output,
        await system.must('journalctl --unit kahe --output cat; systemctl show kahe; ps -e -ww -o args'),
      ])
        expect(said).not.toMatch(/handed over|holds a secret/);

      // As a container has it: whoever is inside may read it, and that is no news.
      await system.must(
        `mkdir -p /run/secrets && printf 'handed over\\n' | tee /run/secrets/kafka-password > /root/kafka-password && chmod 444 /run/secrets/kafka-password /root/kafka-password`,
      );
      for (const [file, warnings] of [
        ['/run/secrets/kafka-password', 0],
        ['/root/kafka-password', 1],
      ] as const) {
        await configure(file);
        const { code, output } = await system.run('cd /etc/kahe && environment=prod kahe check');
        expect(
          [
            code,
            output.match(/holds a secret \(streamsConfigs\.away\.settings\.sasl\.password\.location\)/g)
              ?.length ?? 0,
          ],
          file,
        ).toEqual([0, warnings]);
      }
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

    test('systemctl reload under load waits until it is in force; a bad configuration changes nothing', async () => {
      const pid = await isUp();
      const load = new SteadyLoad(socketPath(), 'reloaded');
      await load.progress();
      await system.must('cp -p /etc/kahe/buckets.json /root/');
      for (const round of range(1, 4)) {
        await system.must(
          `sed -i 's/"batchTimeout": *[0-9]*/"batchTimeout": ${String(100 * round)}/' /etc/kahe/buckets.json && systemctl reload kahe`,
        );
        expect(
          (await system.must('journalctl --unit kahe --output cat')).match(
            /SIGHUP: \/etc\/kahe\/buckets\.json is in force: changed/g,
          ),
        ).toHaveLength(round);
        await load.progress();
      }
      await system.must('printf "{" > /etc/kahe/buckets.json');
      const { code, output } = await system.run('systemctl reload kahe');
      expect([code, output]).toEqual([1, expect.stringContaining('Job for kahe.service failed') as string]);
      expect(await system.must('journalctl --unit kahe --output cat')).toContain(
        '/etc/kahe/buckets.json: line 1, column',
      );
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
      await system.must(
        'mkdir -p /run/systemd/system/kahe.service.d && printf "[Service]\\nWatchdogSec=5\\n" > /run/systemd/system/kahe.service.d/quick.conf && systemctl daemon-reload && systemctl restart kahe',
      );
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
      await expect
        .poll(
          async () => (await system.must('journalctl --unit kahe --output cat')).match(/WARN.*systemd/g),
          { timeout: 1000 },
        )
        .toBeNull();
      expect(await property('MainPID')).toBe(next);
      await system.must(
        'rm /run/systemd/system/kahe.service.d/quick.conf && systemctl daemon-reload && systemctl restart kahe',
      );
      expect(new Set((await filed('watched')).map(({ message }) => message)).size).toBe(130);
    });

    test('a mistake in the configuration: clients wait, and once it is fixed it goes on by itself', async () => {
      await isUp();
      await system.must(
        'cp -p /etc/kahe/buckets.json /root/ && printf "{" > /etc/kahe/buckets.json && systemctl restart kahe || true',
      );
      const client = await connect();
      await client.send(numberedFrames('mended', 'c', { count: 10 }));
      const answer = client.receipt();
      await expect.poll(async () => Number(await property('NRestarts'))).toBeGreaterThan(2);
      expect(await system.must('journalctl --unit kahe --output cat')).toContain(
        '/etc/kahe/buckets.json: line 1',
      );
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
      expect(
        await system.must('tail -n 1 /etc/kahe/buckets.json; stat -c "%a %G" /etc/kahe/buckets.json'),
      ).toBe('// mine\n640 kahe\n');
      await system.must('systemctl restart kahe');
      load.check(await filed('upgraded'));
    });

    test("kahego's place, as docs/operations.md has it", async () => {
      const page = await readFile(path.join(ROOT, 'docs/operations.md'), 'utf8');
      const [, indent, dropIn] = /```ini\n( *)(\[Socket\]\n *Symlinks=[^`]*\n) *```/.exec(page)!;
      await system.must(
        `mkdir -p /etc/systemd/system/kahe.socket.d && cat > /etc/systemd/system/kahe.socket.d/override.conf <<'END'\n${dropIn!.replaceAll(`\n${indent!}`, '\n')}END\nsystemctl daemon-reload`,
      );
      const [, command] = /\n *(sudo rm -f \/tmp\/kahego.sock .*)\n/.exec(page)!;
      await system.must(
        `nohup socat UNIX-LISTEN:/tmp/kahego.sock EXEC:true >/dev/null 2>&1 & while ! [ -S /tmp/kahego.sock ]; do sleep 0.1; done`,
      );
      await system.must(command!.replaceAll('sudo ', ''));
      const client = await connect('/run/kahe/kahe.sock');
      await client.send(numberedFrames('placed', 'c', { count: 10 }));
      expect(await client.receipt()).toBe(10);
      expect(await system.must('readlink /tmp/kahego.sock; stat -L -c "%a %G" /tmp/kahego.sock')).toBe(
        '/run/kahe/kahe.sock\n660 www-data\n',
      );
    });

    test('removed, it has delivered what it held and is gone; what is stored stays, at a purge too', async () => {
      const client = await connect();
      await client.send(numberedFrames('last', 'c', { count: 500 }));
      await system.must('dpkg -r kahe');
      expect(await filed('last')).toHaveLength(500);
      expect(existsSync(socketPath())).toBe(false);
      expect((await system.run('pgrep -u kahe')).output).toBe('');
      expect(
        await system.must('cd /etc/kahe && find . -type f; find /usr/lib/systemd/system -name "kahe*"'),
      ).toMatch(/^(\.\/(buckets\.json|\.env\.prod\.local)\n){2}$/);
      expect(await system.must('dpkg -P kahe')).toContain('/var/lib/kahe stays');
      expect((await stat(system.path('/var/lib/kahe/data'))).isDirectory()).toBe(true);
      expect(
        await system.must(
          'ls -d /etc/kahe /usr/lib/kahe /usr/bin/kahe /etc/systemd/system/kahe.* /etc/systemd/system/*/kahe.* 2>/dev/null || true',
        ),
      ).toBe('/etc/systemd/system/kahe.socket.d\n');
    });
  },
);

describe.skipIf(obstacle !== undefined)(
  `an upgrade of a package in which the group kahe could write${obstacle === undefined ? '' : ` (${obstacle})`}`,
  { timeout: 540_000 },
  () => {
    /** As it was: one group for all, a umask of 0027. */
    async function earlierPackage(): Promise<string> {
      const [inside, earlier] = [path.join(folder, 'earlier'), path.join(folder, 'earlier.deb')];
      if (existsSync(earlier)) return earlier;
      await run('dpkg-deb', ['--raw-extract', deb, inside]);
      await run('sh', [
        '-ec',
        `cd '${inside}' && echo 'u kahe - "Kahe" /var/lib/kahe' > usr/lib/sysusers.d/kahe.conf
      sed -i 's/^SocketGroup=.*/SocketGroup=kahe/; s/^UMask=.*/UMask=0027/; s/^StateDirectoryMode=.*/StateDirectoryMode=0750/' usr/lib/systemd/system/kahe.*
      sed -i 's/^Version: .*/Version: 0.0.9/' DEBIAN/control && sed -i '/^hand_over_socket$/d; /^for writer/d; /^writers/d; /^getent group kahe-clients/d' DEBIAN/postinst`,
      ]);
      await run('dpkg-deb', ['--root-owner-group', '-Znone', '--build', inside, earlier]);
      return earlier;
    }

    async function installed(): Promise<BootedSystem> {
      const system = await BootedSystem.boot({
        '/root/kahe.deb': deb,
        '/root/earlier.deb': await earlierPackage(),
      });
      onTestFinished(() => system.destroy());
      await system.must('dpkg -i /root/earlier.deb && useradd writer');
      return system;
    }

    test('its members go on writing; those who can still read are told, with the commands that end it', async () => {
      const system = await installed();
      const send = (groups: string): ReturnType<BootedSystem['run']> =>
        system.run(
          `cd / && SOCKET=/run/kahe/kahe.sock setpriv --reuid writer --regid writer ${groups} kahe send requests hello`,
        );
      const read = (): ReturnType<BootedSystem['run']> =>
        system.run('setpriv --reuid writer --regid writer --init-groups cat /etc/kahe/buckets.json');
      const may = { code: 0, output: '1 frame: 1 delivered\n' };
      await system.must('usermod -aG kahe writer');
      expect(await send('--init-groups')).toEqual(may);
      expect((await read()).code).toBe(0);

      const said = await system.must('dpkg -i /root/kahe.deb');
      expect(said).toContain('WARNING: writer can read the passwords in /etc/kahe');
      // A program that has run since before the upgrade, and one that was started after it.
      expect(await send('--groups kahe')).toEqual(may);
      expect(await send('--init-groups')).toEqual(may);
      await system.must(
        [...said.matchAll(/^ {2}(.+)$/gm)]
          .map(([, command]) => command!)
          .filter((command) => /^(chgrp|gpasswd)/.test(command))
          .join('\n'),
      );
      expect(await send('--init-groups')).toEqual(may);
      expect((await send('--groups kahe')).code).toBe(1);
      expect(await read()).toMatchObject({
        code: 1,
        output: expect.stringContaining('Permission denied') as string,
      });
      await system.must('systemctl restart kahe.socket kahe');
      expect(await send('--init-groups')).toEqual(may);
      expect(await system.must('dpkg -i /root/kahe.deb')).not.toContain('WARNING');
    });

    test("without members nothing is told, and the open socket is the new group's at once", async () => {
      const system = await installed();
      const said = await system.must('systemctl is-active kahe.socket && dpkg -i /root/kahe.deb');
      expect(said).not.toContain('WARNING');
      expect(await system.must('stat -c "%a %U:%G" /run/kahe/kahe.sock')).toBe('660 root:kahe-clients\n');
      await expect.poll(() => system.must('stat -c "%a %U:%G" /var/lib/kahe')).toBe('700 kahe:kahe\n');
    });
  },
);
