// What the status page does: asks for status.json each second and draws it. Whatever a client or a broker has
// named goes into the page as text (`textContent`), never as markup. Parts: what stands in the page, how
// figures are written, the drawing of each section, the asking.
import { DRAW_BUCKETS } from './drawBuckets.js';
import { DRAW_CHARTS } from './drawCharts.js';
import { DRAW_TABLES } from './drawTables.js';

const BASICS = String.raw`
'use strict';
const SVG = 'http://www.w3.org/2000/svg';
const byId = (id) => document.getElementById(id);

function make(parent, tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}

function makeSvg(parent, tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  parent.append(element);
  return element;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function setClass(element, className) {
  if (element.className !== className) element.className = className;
}

function scaled(value, base, units) {
  let unit = 0;
  while (Math.abs(value) >= base && unit < units.length - 1) { value /= base; unit++; }
  return (value >= 100 || (unit === 0 && Number.isInteger(value)) ? Math.round(value) : value.toFixed(value >= 10 ? 1 : 2)) + units[unit];
}

const count = (value) => scaled(value, 1000, ['', 'k', 'M', 'G', 'T']);
const counted = (value, noun) => count(value) + ' ' + noun + (value === 1 ? '' : 's');
const rate = (value) => (value > 0 && value < 0.1 ? '<0.1' : count(value >= 10 ? Math.round(value) : Math.round(value * 10) / 10));
const bytes = (value) => scaled(value, 1024, [' B', ' KB', ' MB', ' GB', ' TB']);
const seconds = (value) => (value >= 1 ? value.toFixed(2) + ' s' : (value * 1000).toFixed(value >= 0.01 ? 0 : 1) + ' ms');
const time = (ms) => new Date(ms).toLocaleString();

function ago(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 90) return s + ' s';
  if (s < 5400) return Math.round(s / 60) + ' min';
  return s < 129600 ? Math.round(s / 3600) + ' h' : Math.round(s / 86400) + ' days';
}

function sum(list, of) {
  return list.reduce((all, one) => all + of(one), 0);
}

/** By how much a figure grew each second between two snapshots; 0 while there is only one. */
function grownPerSecond(before, now, read) {
  const passed = (now.takenAtMs - before.takenAtMs) / 1000;
  return passed > 0 ? Math.max(0, (read(now) - read(before)) / passed) : 0;
}

const allStreams = (snapshot) => snapshot.buckets.flatMap((bucket) => bucket.streams);
`;

const DRAW_HEAD = String.raw`
const tiles = new Map();

function tile(name, value, note, share) {
  let parts = tiles.get(name);
  if (parts === undefined) {
    const box = make(byId('tiles'), 'div', 'tile');
    const label = make(box, 'span', '', name);
    parts = { value: make(box, 'b'), note: make(box, 'span'), label };
    if (share !== undefined) parts.bar = make(make(box, 'div', 'bar'), 'i');
    tiles.set(name, parts);
  }
  setText(parts.value, value);
  setText(parts.note, note);
  if (parts.bar) {
    parts.bar.style.width = Math.min(100, share * 100) + '%';
    setClass(parts.bar, share > 0.9 ? 'high' : '');
  }
}

function drawHead(before, now) {
  const { program, readiness } = now;
  setText(byId('host'), program.hostname + ' · ' + now.socket.path + ' · ' + program.version + ' · pid ' + program.pid + ' · up ' + ago(now.takenAtMs - now.startedAtMs));
  const problem = now.reloads && now.reloads.problem;
  const told = (problem ? ['the configuration was not reloaded: ' + problem] : []).concat(readiness.reasons);
  showState(readiness.state, readiness.text);
  byId('reasons').hidden = told.length === 0;
  if (byId('reasons').textContent !== told.join('')) byId('reasons').replaceChildren(...told.map((reason) => {
    const item = document.createElement('li');
    item.textContent = reason;
    return item;
  }));
}

function showState(state, text) {
  setClass(byId('state'), 'chip ' + state);
  setText(byId('state'), text);
  document.title = (state === 'normal' ? '' : '⚠ ') + 'Kahe: ' + text;
}

function drawTiles(before, now) {
  const queued = sum(allStreams(now), (stream) => stream.account.queued);
  const backedUp = sum(allStreams(now), (stream) => stream.account.backedUp);
  tile('in', rate(grownPerSecond(before, now, (s) => s.socket.received)) + '/s', counted(now.socket.received, 'frame') + ' in all');
  tile('delivered', rate(grownPerSecond(before, now, (s) => sum(allStreams(s), (stream) => stream.account.delivered))) + '/s', count(sum(allStreams(now), (stream) => stream.account.delivered)) + ' in all');
  tile('queued', count(queued), 'frames');
  tile('backed up', count(backedUp), 'frames in files');
  tile('memory', bytes(now.memory.heldBytes), 'of ' + bytes(now.memory.limitBytes), now.memory.heldBytes / now.memory.limitBytes);
  if (now.spool) tile('spool', bytes(now.spool.bytes), 'of ' + bytes(now.spool.maxBytes), now.spool.bytes / now.spool.maxBytes);
  tile('connections', count(now.socket.open), count(now.socket.accepted) + ' in all');
  tile('clients waited', ago(now.paused.ms), counted(now.paused.times, 'time'));
  tile('discarded', count(sum(now.discards, (d) => d.frames)), 'frames');
  tile('rejected', count(sum(now.rejected.reasons, (r) => r.frames)), 'frames');
  const cpu = grownPerSecond(before, now, (s) => s.process.userCpuSeconds + s.process.systemCpuSeconds);
  tile('processor', (cpu * 100).toFixed(0) + ' %', bytes(now.process.residentBytes) + ' resident');
  if (now.eventLoopDelay) tile('event loop delay', seconds(now.eventLoopDelay.p99), '99th percentile');
}
`;

const ASK = String.raw`
const ASK_EVERY_MS = 1000;
const SMOOTHED_OVER = 5;
/** The last few snapshots, for rates. */
let last = [];

async function ask() {
  try {
    const answer = await fetch('status.json', { cache: 'no-store', signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error((await answer.text()).trim());
    draw(await answer.json());
  } catch (error) {
    showState('error', 'no answer: ' + error.message);
  }
  setTimeout(ask, ASK_EVERY_MS);
}

function draw(now) {
  // Another daemon: nothing of before counts.
  if (last.length > 0 && last[0].startedAtMs !== now.startedAtMs) { last = []; forgetCharts(); }
  last.push(now);
  if (last.length > SMOOTHED_OVER + 1) last.shift();
  const before = last[0];
  drawHead(before, now);
  drawTiles(before, now);
  drawCharts(before, now);
  drawBuckets(before, now);
  drawTables(before, now);
}

byId('filter').addEventListener('input', () => last.length > 0 && drawBuckets(last[0], last[last.length - 1]));
ask();
`;

export const SCRIPT = [BASICS, DRAW_HEAD, DRAW_CHARTS, DRAW_BUCKETS, DRAW_TABLES, ASK].join('');
