// `make install` below a DESTDIR: what is there then runs by itself, without the checkout.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, lstat, readFile, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { brokenLinksBelow, pagesBelow } from '../docs/brokenLinks.js';
import { BootedSystem, whyNotBootable } from '../../support/bootedSystem.js';
import { fileStream } from '../../support/daemonBuckets.js';
import {
  daemonFolder,
  numberedFrames,
  numbersBySender,
  range,
  readFiles,
  spawnDaemon,
  type DaemonOptions,
} from '../../support/daemon.js';

const ROOT = path.resolve(import.meta.dirname, '../..');
const run = promisify(execFile);
/** Each compiles the program anew, on a machine where other tests run. */
const DEADLINE_MS = 240_000;

/** The packages are those that the tests run with. */
async function make(target: string, variables: Readonly<Record<string, string>>): Promise<string> {
  const { stdout } = await run('make', [
    '-C',
    ROOT,
    '-o',
    'node_modules/.package-lock.json',
    target,
    ...Object.entries(variables).map((entry) => entry.join('=')),
  ]);
  return stdout;
}

async function tree(folder: string): Promise<string[]> {
  const names = await readdir(folder, { recursive: true, withFileTypes: true });
  return names
    .filter((entry) => !entry.isDirectory())
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)))
    .sort();
}

const OWN = [
  'usr/bin/kahe',
  'usr/lib/systemd/system/kahe.service',
  'usr/lib/systemd/system/kahe.socket',
  'usr/lib/sysusers.d/kahe.conf',
  'usr/lib/tmpfiles.d/kahe.conf',
];
const SAID = [
  'usr/share/man/man1/kahe.1',
  'usr/share/bash-completion/completions/kahe',
  'usr/share/zsh/site-functions/_kahe',
  'usr/share/fish/vendor_completions.d/kahe.fish',
];
/** Of the many pages, and what they lead to. */
const PAGES = [
  'README.md',
  'docs/operations.md',
  'bench/RESULTS.md',
  'ops/alerts.yml',
  'ops/grafana-dashboard.json',
  'clients/php/autoload.php',
  'clients/php/src/Client.php',
  'systemd/etc/buckets.json',
];
const CONFIGURATION = ['etc/kahe/.env.prod.local', 'etc/kahe/buckets.json'];

test(
  'installs what runs, keeps a configuration that is there, and takes away what it brought',
  async () => {
    const destdir = await daemonFolder();
    await make('install', { PREFIX: '/usr', DESTDIR: destdir });
    const files = await tree(destdir);
    expect(files.filter((name) => !/^usr\/(lib|share|share\/doc)\/kahe\//.test(name))).toEqual(
      [...OWN, ...SAID, ...CONFIGURATION].sort(),
    );
    expect(files).toEqual(expect.arrayContaining(PAGES.map((name) => `usr/share/kahe/${name}`)));
    expect(files.filter((name) => /^usr\/share\/kahe\/(src|test|clients\/php\/tests)\//.test(name))).toEqual(
      [],
    );
    // As they stand, and by way of share/doc.
    for (const below of ['usr/share/kahe', 'usr/share/doc/kahe']) {
      const pages = path.join(destdir, below);
      expect(pagesBelow(pages)).toEqual(
        expect.arrayContaining(['README.md', 'clients/php/README.md', 'docs/metrics.md']),
      );
      expect(brokenLinksBelow(pages)).toEqual([]);
    }
    await isSaid(destdir);
    expect(
      files.filter(
        (name) =>
          /^usr\/lib\/kahe\/(?!node_modules)/.test(name) &&
          !/kahe\/(dist\/.*(?<!\.test)\.js|package\.json|LICENSE)$/.test(name),
      ),
    ).toEqual([]);
    // What the program needs, and nothing of the tools.
    const packages = new Set(
      files
        .map((name) => /^usr\/lib\/kahe\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(name)?.[1])
        .filter((name) => name !== undefined),
    );
    const { dependencies } = JSON.parse(await readFile(path.join(ROOT, 'package.json'), 'utf8')) as {
      dependencies: object;
    };
    expect([...packages]).toEqual(expect.arrayContaining(Object.keys(dependencies)));
    expect(
      ['typescript', 'vitest', 'eslint', 'tsx', '@types/node'].filter((name) => packages.has(name)),
    ).toEqual([]);
    const service = await readFile(path.join(destdir, 'usr/lib/systemd/system/kahe.service'), 'utf8');
    expect(service).toContain('\nExecStart=/usr/bin/kahe\n');
    expect((await lstat(path.join(destdir, 'etc/kahe/buckets.json'))).mode & 0o777).toBe(0o640);
    for (const name of OWN)
      expect(await readFile(path.join(destdir, name), 'utf8'), name).not.toMatch(/@[A-Z]+@/);

    // Its places are those without DESTDIR, as a package needs them.
    const launcher = await readFile(path.join(destdir, 'usr/bin/kahe'), 'utf8');
    expect(launcher).toBe(`#!/bin/sh\nexec '${process.execPath}' '/usr/lib/kahe/dist/main.js' "$@"\n`);
    await deliversFrom({ program: [path.join(destdir, 'usr/lib/kahe/dist/main.js')] });

    await writeFile(path.join(destdir, 'etc/kahe/buckets.json'), 'mine');
    await chmod(path.join(destdir, 'etc/kahe/buckets.json'), 0o600);
    expect(await make('install', { PREFIX: '/usr', DESTDIR: destdir })).toContain(
      'etc/kahe/buckets.json is there already: it stays as it is',
    );
    expect(await readFile(path.join(destdir, 'etc/kahe/buckets.json'), 'utf8')).toBe('mine');
    expect(await tree(destdir)).toEqual(files);

    await make('uninstall', { PREFIX: '/usr', DESTDIR: destdir });
    expect(await tree(destdir)).toEqual(CONFIGURATION);
    expect(existsSync(path.join(destdir, 'usr/lib/kahe'))).toBe(false);
  },
  DEADLINE_MS,
);

test(
  'without DESTDIR its command runs where it is, and what is left to do is said',
  async () => {
    const folder = await daemonFolder();
    const [prefix, sysconfdir] = [path.join(folder, 'opt'), path.join(folder, 'etc')];
    expect(await make('install', { PREFIX: prefix, SYSCONFDIR: sysconfdir })).toContain(
      'systemctl daemon-reload && systemctl enable --now kahe.socket kahe.service',
    );
    await deliversFrom({ under: ['sh', '-c', 'exec "$0"', path.join(prefix, 'bin/kahe')] });
    expect(await readFile(path.join(prefix, 'lib/systemd/system/kahe.service'), 'utf8')).toContain(
      `\nExecStart=${prefix}/bin/kahe\n`,
    );
  },
  DEADLINE_MS,
);

const obstacle = whyNotBootable();

test.skipIf(obstacle !== undefined)(
  `make install and what it says is left to do, on a system that has booted${obstacle === undefined ? '' : ` (${obstacle})`}`,
  async () => {
    const system = await BootedSystem.boot({ [ROOT]: ROOT, '/root/node': process.execPath });
    onTestFinished(() => system.destroy());
    // Where the service can reach it.
    await system.must('cp /root/node /usr/local/bin/node');
    const said = await system.must(
      `make -C '${ROOT}' -o node_modules/.package-lock.json install NODE=/usr/local/bin/node`,
    );
    const commands = said.split('\n').filter((line) => /^ {2}system/.test(line));
    expect(commands).toHaveLength(2);
    expect(said).not.toContain('warning');
    await system.must(commands.join('\n'));
    expect(await system.must('systemctl show --property=ActiveState,ExecStart,FragmentPath kahe')).toMatch(
      /path=\/usr\/local\/bin\/kahe .*\nActiveState=active\nFragmentPath=\/usr\/local\/lib\/systemd\/system\/kahe\.service\n/,
    );
    expect(
      await system.must('stat -c "%a %U:%G" /etc/kahe /etc/kahe/.env.prod.local /etc/kahe/buckets.json'),
    ).toBe('750 root:kahe\n640 root:kahe\n640 root:kahe\n');
    expect(await system.must('cd /etc/kahe && environment=prod kahe send requests hello')).toBe(
      '1 frame: 1 delivered\n',
    );
    expect(await system.must('stat -c "%a %U:%G" /run/kahe/kahe.sock /var/lib/kahe')).toBe(
      '660 root:kahe-clients\n700 kahe:kahe\n',
    );
    // As after the installation of a Kahe whose socket was the group kahe's.
    await system.must('useradd --groups kahe writer');
    expect(
      await system.must(
        `make -C '${ROOT}' -o node_modules/.package-lock.json install NODE=/usr/local/bin/node`,
      ),
    ).toContain('warning: writer can read the passwords in /etc/kahe');
    await system.must(`make -C '${ROOT}' uninstall`);
    expect((await system.run('systemctl is-active kahe.socket kahe.service')).output).toBe(
      'inactive\ninactive\n',
    );
    expect((await readFiles(system.path('/var/lib/kahe/data'))).map(({ message }) => message)).toEqual([
      'hello',
    ]);
    expect(await system.must('find /usr/local /etc/systemd -name "kahe*"; ls -A /etc/kahe')).toBe(
      '.env.prod.local\nbuckets.json\n',
    );
  },
  DEADLINE_MS,
);

/** The manual page and the completions are those of the program that is installed. */
async function isSaid(destdir: string): Promise<void> {
  const { stdout, stderr } = await run('man', ['--warnings', '-l', path.join(destdir, SAID[0]!)], {
    env: { PATH: process.env['PATH'], LC_ALL: 'C.UTF-8' },
  });
  expect([stderr, stdout]).toEqual(['', expect.stringContaining('kahe send BUCKET') as string]);
  const kahe = path.join(destdir, 'usr/lib/kahe/dist/main.js');
  for (const [index, shell] of ['bash', 'zsh', 'fish'].entries()) {
    expect(await readFile(path.join(destdir, SAID[index + 1]!), 'utf8')).toBe(
      (await run(process.execPath, [kahe, 'completion', shell])).stdout,
    );
  }
}

/** Native packages included: those of the codecs are loaded for Kafka, that of the checksum for the spool. */
async function deliversFrom(options: Pick<DaemonOptions, 'under' | 'program'>): Promise<void> {
  const folder = await daemonFolder();
  await writeFile(
    path.join(folder, 'buckets.json'),
    JSON.stringify({
      streamsConfigs: { files: fileStream('data') },
      buckets: [{ id: 'orders', streams: ['files'], batchTimeout: 30 }],
    }),
  );
  await writeFile(path.join(folder, '.env.dev.local'), 'SPOOL=spool');
  const daemon = await spawnDaemon(folder, {}, options);
  await daemon.answers();
  const client = await daemon.connect();
  await client.send(numberedFrames('orders', 'c', { count: 100 }));
  expect(await client.receipt()).toBe(100);
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  expect(numbersBySender((await daemon.files('data')).map(({ message }) => message))).toEqual(
    new Map([['c', range(0, 100)]]),
  );
}
