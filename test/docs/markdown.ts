// Takes from a page what a test can check: code blocks, tables, links, anchors. Knows as much of Markdown as
// our pages use.

export interface CodeBlock {
  /** What stands behind the three backticks. */
  readonly language: string;
  readonly code: string;
  /** Of its first line in the page, from 1. */
  readonly line: number;
}

const FENCE = /^```(\w*)$/;

export function codeBlocks(page: string): CodeBlock[] {
  const blocks: CodeBlock[] = [];
  let open: { language: string; lines: string[]; line: number } | undefined;
  for (const [index, text] of page.split('\n').entries()) {
    const fence = FENCE.exec(text);
    if (open === undefined) {
      if (fence !== null) open = { language: fence[1]!, lines: [], line: index + 2 };
    } else if (fence === null) {
      open.lines.push(text);
    } else {
      blocks.push({ language: open.language, code: `${open.lines.join('\n')}\n`, line: open.line });
      open = undefined;
    }
  }
  if (open !== undefined) throw new Error(`the code block of line ${open.line} has no end`);
  return blocks;
}

/** What stands below a heading, up to the next one of the same rank or higher. */
export function section(page: string, heading: string): string {
  const lines = page.split('\n');
  const start = lines.indexOf(heading);
  if (start === -1) throw new Error(`there is no heading "${heading}"`);
  const rank = heading.indexOf(' ');
  const end = lines.findIndex(
    (line, index) => index > start && /^#+ /.test(line) && line.indexOf(' ') <= rank,
  );
  return lines.slice(start + 1, end === -1 ? undefined : end).join('\n');
}

/** The cells of the first table of a text, without its two head lines. */
export function firstTable(text: string): string[][] {
  const lines = text.split('\n');
  const start = lines.findIndex((line) => line.startsWith('| --- '));
  const rest = lines.slice(start + 1);
  const end = rest.findIndex((line) => !line.startsWith('|'));
  return rest.slice(0, end === -1 ? undefined : end).map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

/** What a cell has in backticks, all of it. */
export function quoted(cell: string): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map((found) => found[1]!);
}

/** Targets of links that lead to another place of this project. */
export function internalLinks(page: string): string[] {
  return [...withoutCode(page).matchAll(/\]\(([^)\s]+)\)/g)]
    .map((found) => found[1]!)
    .filter((target) => !/^[a-z]+:/.test(target));
}

/** The anchors that a page's headings make, as GitHub names them. */
export function anchors(page: string): string[] {
  return [...withoutCode(page).matchAll(/^#+ (.*)$/gm)].map((found) => {
    return found[1]!
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replaceAll(' ', '-');
  });
}

function withoutCode(page: string): string {
  return page.replace(/^```[^]*?^```$/gm, '');
}
