// Links of Markdown pages that lead to no file, or to no heading of one. Outside of a checkout, too: in what
// a package has brought.
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { anchors, internalLinks } from './markdown.js';

/** @param page a file; @returns those of its links that lead nowhere */
export function brokenLinks(page: string): string[] {
  return internalLinks(readFileSync(page, 'utf8')).filter((link) => {
    const [file, anchor] = link.split('#');
    const target = file === '' ? page : path.resolve(path.dirname(page), file!);
    if (!existsSync(target)) return true;
    return anchor !== undefined && !anchors(readFileSync(target, 'utf8')).includes(anchor);
  });
}

/** The Markdown pages in and below a folder, links to folders included, relative to it. */
export function pagesBelow(folder: string): string[] {
  return readdirSync(folder)
    .sort()
    .flatMap((name) => {
      const below = path.join(folder, name);
      if (statSync(below).isDirectory())
        return name === 'node_modules' ? [] : pagesBelow(below).map((page) => path.join(name, page));
      return name.endsWith('.md') ? [name] : [];
    });
}

/** `PAGE: LINK` for each that leads nowhere. */
export function brokenLinksBelow(folder: string): string[] {
  return pagesBelow(folder).flatMap((page) =>
    brokenLinks(path.join(folder, page)).map((link) => `${page}: ${link}`),
  );
}
