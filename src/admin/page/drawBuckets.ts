// The status page's buckets: each one's path from the socket to its streams and their backups, with what
// flows and what waits.
export const DRAW_BUCKETS = String.raw`
const MOST_CARDS = 60;
const FILTER_FROM = 9;
const SEVERITY = { error: 0, backup: 1, normal: 2 };
const cards = new Map();

function makeArrow(parent) {
  const arrow = make(parent, 'div', 'arrow');
  const label = make(arrow, 'span');
  const svg = makeSvg(arrow, 'svg', { viewBox: '0 0 60 12', preserveAspectRatio: 'none', 'aria-hidden': 'true' });
  makeSvg(svg, 'line', { x1: 0, y1: 6, x2: 52, y2: 6 });
  makeSvg(svg, 'path', { d: 'M50 1 L60 6 L50 11 Z' });
  const under = make(arrow, 'span');
  return (perSecond, text) => {
    setText(label, rate(perSecond) + '/s');
    setText(under, text);
    setClass(arrow, perSecond > 0 ? 'arrow flows' : 'arrow');
  };
}

function makeCard(bucket) {
  const card = make(byId('buckets'), 'article', 'bucket');
  const source = make(card, 'div', 'source');
  make(source, 'div', 'box', 'socket');
  const parts = { card, arrow: makeArrow(source), streams: new Map() };
  const box = make(card, 'div', 'box');
  make(box, 'b', 'name', bucket.name);
  parts.note = make(box, 'div', 'note');
  parts.way = make(card, 'div', 'streams');
  return parts;
}

function makeWay(parent, stream) {
  const way = make(parent, 'div', 'way');
  const parts = { arrow: makeArrow(way), box: make(way, 'div', 'box') };
  parts.mode = make(parts.box, 'span', 'chip');
  make(parts.box, 'b', '', stream.id + ' ');
  make(parts.box, 'span', 'note', stream.type);
  parts.note = make(parts.box, 'div', 'note');
  parts.problem = make(parts.box, 'div', 'problem');
  if (stream.backupType !== undefined) {
    parts.backupArrow = makeArrow(way);
    const box = make(way, 'div', 'box');
    make(box, 'b', '', 'backup ');
    make(box, 'span', 'note', stream.backupType);
    parts.backup = make(box, 'div', 'note');
  }
  return parts;
}

function worstOf(bucket) {
  return Math.min(2, ...bucket.streams.filter((stream) => stream.isAlive).map((stream) => SEVERITY[stream.mode]));
}

function drawBuckets(before, now) {
  const filter = byId('filter');
  if (now.buckets.length >= FILTER_FROM) filter.hidden = false;
  const wanted = now.buckets.filter((bucket) => bucket.name.includes(filter.value)).sort((a, b) => worstOf(a) - worstOf(b));
  const shown = wanted.slice(0, MOST_CARDS);
  const names = new Set(shown.map((bucket) => bucket.name));
  for (const [name, parts] of cards) if (!names.has(name)) { parts.card.remove(); cards.delete(name); }
  shown.forEach((bucket, place) => {
    if (!cards.has(bucket.name)) cards.set(bucket.name, makeCard(bucket));
    const parts = cards.get(bucket.name);
    const there = byId('buckets').children[place];
    if (there !== parts.card) byId('buckets').insertBefore(parts.card, there ?? null);
    drawBucket(parts, bucket, before, now);
  });
  byId('more').hidden = wanted.length <= MOST_CARDS;
  setText(byId('more'), 'and ' + (wanted.length - MOST_CARDS) + ' buckets more');
}

/** A figure of one bucket, or one of its streams, by what it has grown each second. */
function bucketRate(before, now, bucket, read) {
  return grownPerSecond(before, now, (s) => {
    const found = s.buckets.find((other) => other.name === bucket.name);
    return found === undefined ? 0 : read(found);
  });
}

function streamRate(before, now, bucket, stream, read) {
  return bucketRate(before, now, bucket, (found) => {
    const same = found.streams.find((other) => other.id === stream.id);
    return same === undefined ? 0 : read(same);
  });
}

function drawBucket(parts, bucket, before, now) {
  parts.arrow(bucketRate(before, now, bucket, (b) => b.closed.frames + b.open.frames), bytes(bucketRate(before, now, bucket, (b) => b.closed.bytes + b.open.bytes)) + '/s');
  const { backlog } = bucket;
  const waits = backlog.batches === 0 ? '' : ' · ' + backlog.batches + (backlog.batches === 1 ? ' batch waits (' : ' batches wait (') + bytes(Math.max(backlog.memoryBytes, backlog.diskBytes)) + ')';
  const over = bucket.overLimit === undefined ? 0 : bucket.overLimit.reject;
  setText(parts.note, (bucket.isOnDemand ? 'on demand · ' : '') + 'open batch ' + count(bucket.open.frames) + waits + (over === 0 ? '' : ' · ' + count(over) + ' over the rate limit'));
  for (const stream of bucket.streams) {
    if (!parts.streams.has(stream.id)) parts.streams.set(stream.id, makeWay(parts.way, stream));
    drawStream(parts.streams.get(stream.id), bucket, stream, before, now);
  }
}

function drawStream(parts, bucket, stream, before, now) {
  const { account, lastProblem, backedUp } = stream;
  const mode = stream.isAlive ? stream.mode : 'ended';
  setClass(parts.box, 'box ' + mode);
  setClass(parts.mode, 'chip ' + mode);
  setText(parts.mode, mode);
  parts.arrow(streamRate(before, now, bucket, stream, (s) => s.written.primary.frames + s.written.backup.frames), 'queued ' + count(account.queued));
  const since = stream.mode === 'normal' ? '' : ' · for ' + ago(now.takenAtMs - stream.modeSinceMs);
  const others = [['rejected', account.rejected], ['discarded', account.discarded], ['sliced out', account.slicedOut]].filter(([, n]) => n > 0).map(([what, n]) => ' · ' + what + ' ' + count(n));
  setText(parts.note, 'delivered ' + count(account.delivered) + others.join('') + since);
  setText(parts.problem, lastProblem === undefined ? '' : 'last problem ' + ago(now.takenAtMs - lastProblem.atMs) + ' ago: ' + lastProblem.text);
  if (parts.backup === undefined) return;
  const isSent = backedUp !== undefined && backedUp.isBeingSent;
  parts.backupArrow(streamRate(before, now, bucket, stream, (s) => s.written.backup.frames), isSent ? 'being sent back' : '');
  setText(parts.backup, counted(account.backedUp, 'frame') + (backedUp === undefined ? '' : ' · ' + counted(backedUp.files, 'file') + ' · ' + bytes(backedUp.bytes)));
}
`;
