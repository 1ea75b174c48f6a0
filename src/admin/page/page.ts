// The status page: one document without a single reference to the outside, and the policy that lets nothing
// else in.
import { createHash } from 'node:crypto';
import { SCRIPT } from './script.js';
import { STYLE } from './style.js';

export const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Kahe</title>
<link rel="icon" href="data:,">
<style>${STYLE}</style>
</head>
<body>
<header>
  <h1>Kahe <small id="host"></small></h1>
  <p id="state" class="chip" role="status">waiting for the first answer</p>
</header>
<ul id="reasons" hidden></ul>
<section id="tiles" aria-label="now"></section>
<section id="charts" aria-label="the last five minutes"></section>
<section>
  <h2>Buckets <input id="filter" type="search" placeholder="a part of a name" aria-label="show only buckets with this in their name" hidden></h2>
  <div id="buckets"></div>
  <p id="more" hidden></p>
</section>
<section id="tables"></section>
<noscript>This page needs JavaScript. The same as text: <a href="status.json">status.json</a>, <a href="metrics">metrics</a>, <a href="readyz">readyz</a>.</noscript>
<footer>each second from <a href="status.json">status.json</a> · <a href="metrics">metrics</a> · <a href="readyz">readyz</a> · <a href="healthz">healthz</a></footer>
<script>${SCRIPT}</script>
</body>
</html>
`;

export const PAGE_POLICY = [
  "default-src 'none'",
  `script-src '${hashOf(SCRIPT)}'`,
  `style-src '${hashOf(STYLE)}'`,
  "connect-src 'self'",
  'img-src data:',
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

function hashOf(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`;
}
