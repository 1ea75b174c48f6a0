import { describe, expect, it } from 'vitest';
import { hostname } from 'node:os';
import { randomName, safeName, shortened } from '../../disk/names.js';
import { checkTemplate, expandTemplate } from './fileName.js';

const HOSTILE = [
  '../../x',
  'a/b',
  'a\0b',
  '\xff'.repeat(255),
  'x'.repeat(255),
  '.',
  '..',
  '...',
  '.hidden',
  '-rf',
  '',
  '%',
  '%2F',
  'a%2Fb',
  'ü',
  'a\\b',
  '\n',
  '*',
  '~',
  '.kahe',
  'CON',
];

function expanded(template: string, bucket: string, nowMs = 1_700_000_000_999): string {
  return expandTemplate(template, { bucket, hostname: hostname(), nowMs }).numbered(1);
}

describe('safeName', () => {
  it('leaves a plain name as it is', () => {
    expect(safeName('Orders.v2_x-1')).toBe('Orders.v2_x-1');
  });

  it.each(HOSTILE)('makes %j a plain name', (bucket) => {
    expect(safeName(bucket)).toMatch(/^[A-Za-z0-9_%][A-Za-z0-9._%-]*$/);
  });

  it('gives each text another name', () => {
    expect(new Set(HOSTILE.map(safeName)).size).toBe(HOSTILE.length);
    expect(new Set(HOSTILE.map((bucket) => expanded('{bucket}', bucket))).size).toBe(HOSTILE.length);
  });

  it('can be read back', () => {
    for (const bucket of HOSTILE.filter((text) => text !== ''))
      expect(decodeURIComponent(safeName(bucket))).toBe(bucket);
  });
});

describe('expandTemplate', () => {
  it.each(HOSTILE)('keeps %j below the folder, in any place of the template', (bucket) => {
    for (const template of [
      '{bucket}',
      '{bucket}{PS}{bucket}.bckstm',
      'a/{bucket}/{ts}',
      '.{bucket}',
      '{bucket}-{hostname}-{rand}-{ts}.bckstm',
    ]) {
      const name = expanded(template, bucket);
      const parts = name.split('/');
      expect(parts).toHaveLength(template.replaceAll('{PS}', '/').split('/').length);
      for (const part of parts) {
        expect(['', '.', '..', '.kahe']).not.toContain(part);
        expect(Buffer.byteLength(part)).toBeLessThanOrEqual(235);
        expect(part).not.toContain('\0');
      }
    }
  });

  it('knows every placeholder', () => {
    expect(expanded('{bucket}{PS}{hostname}-{rand}-{ts}.bckstm', 'b')).toMatch(
      new RegExp(`^b/${safeName(hostname())}-[a-z0-9]{8}-1700000000\\.bckstm$`),
    );
    expect(randomName()).not.toBe(randomName());
  });

  it('numbers before the extension, which only the template gives', () => {
    expect(expandTemplate('{bucket}', { bucket: 'my.topic', hostname: 'h', nowMs: 0 }).numbered(2)).toBe(
      'my.topic-2',
    );
    expect(
      expandTemplate('x/{bucket}.tar.bckstm', { bucket: 'my.topic', hostname: 'h', nowMs: 0 }).numbered(13),
    ).toBe('x/my.topic.tar-13.bckstm');
    expect(expandTemplate('frames.bin', { bucket: 'b', hostname: 'h', nowMs: 0 }).numbered(1)).toBe(
      'frames.bin',
    );
  });

  it('cuts a long name and keeps two long ones apart, with the extension', () => {
    const [a, b] = ['a', 'b'].map((last) => expanded('{bucket}.bckstm', 'x'.repeat(254) + last));
    expect(a).not.toBe(b);
    expect(a).toMatch(/^x+%-[0-9a-f]{32}\.bckstm$/);
    expect(a).toHaveLength(235);
    expect(expanded('{bucket}.bckstm', `${'x'.repeat(254)}a`)).toBe(a);
    expect(shortened('short', 40)).toBe('short');
  });

  it.each([
    '../{bucket}',
    '/{bucket}',
    '{bucket}/',
    'a//b',
    './x',
    '',
    'a\0',
    '{buckets}',
    '.kahe/{bucket}',
    '{PS}x',
    'a{PS}..{PS}b',
  ])('refuses the template %j', (template) => {
    expect(() => checkTemplate(template)).toThrow(expect.objectContaining({ name: 'ConfigError' }));
  });
});
