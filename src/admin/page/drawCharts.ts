// The status page's charts: the last five minutes, kept in the page.
export const DRAW_CHARTS = String.raw`
const KEPT_MS = 5 * 60 * 1000;
const SHORTEST_MS = 30 * 1000;
const WIDTH = 300;
const HEIGHT = 80;
let points = [];

function forgetCharts() {
  points = [];
}

function latencyOf(before, now) {
  const requests = (s) => sum(s.brokers, (broker) => sum(broker.latency, (n) => n));
  const passed = requests(now) - requests(before);
  const mean = passed > 0 ? (sum(now.brokers, (b) => b.latencySumSeconds) - sum(before.brokers, (b) => b.latencySumSeconds)) / passed : 0;
  const grown = now.latencyBounds.concat(Infinity).map((_, step) => sum(now.brokers, (b) => b.latency[step]) - sum(before.brokers, (b) => b.latency[step]));
  let seen = 0;
  const step = grown.findIndex((n) => (seen += n) >= passed * 0.99);
  return { mean, p99: passed > 0 ? now.latencyBounds[Math.min(step, now.latencyBounds.length - 1)] : 0 };
}

const CHARTS = [
  { title: 'frames a second', write: rate, lines: [
    ['in', (p) => p.received], ['delivered', (p) => p.delivered], ['to the backup', (p) => p.backedUpRate]] },
  { title: 'frames that wait', write: count, lines: [['queued', (p) => p.queued], ['', () => 0], ['backed up', (p) => p.backedUp]] },
  { title: 'memory and spool', write: bytes, lines: [['memory', (p) => p.memory], ['', () => 0], ['', () => 0], ['spool', (p) => p.spool]] },
  { title: 'Kafka answers within', write: seconds, lines: [['mean', (p) => p.mean], ['', () => 0], ['99 % (step)', (p) => p.p99]] },
];

function makeChart(chart) {
  const box = make(byId('charts'), 'div', 'chart');
  make(box, 'h3', '', chart.title);
  const svg = makeSvg(box, 'svg', { viewBox: '0 0 ' + WIDTH + ' ' + HEIGHT, preserveAspectRatio: 'none', role: 'img', 'aria-label': chart.title });
  const legend = make(box, 'p');
  chart.parts = chart.lines.map(([name], index) => (name === '' ? undefined : { line: makeSvg(svg, 'polyline', { class: 'c' + index }), label: make(legend, 'span', 'c' + index) }));
  chart.top = make(legend, 'span');
}

function drawCharts(before, now) {
  const streams = allStreams(now);
  points.push({
    t: now.takenAtMs,
    received: grownPerSecond(before, now, (s) => s.socket.received),
    delivered: grownPerSecond(before, now, (s) => sum(allStreams(s), (stream) => stream.account.delivered)),
    backedUpRate: grownPerSecond(before, now, (s) => sum(allStreams(s), (stream) => stream.written.backup.frames)),
    queued: sum(streams, (stream) => stream.account.queued),
    backedUp: sum(streams, (stream) => stream.account.backedUp),
    memory: now.memory.heldBytes,
    spool: now.spool ? now.spool.bytes : 0,
    ...latencyOf(before, now),
  });
  points = points.filter((point) => point.t > now.takenAtMs - KEPT_MS);
  for (const chart of CHARTS) drawChart(chart, now);
}

function drawChart(chart, now) {
  if (chart.parts === undefined) makeChart(chart);
  // A page that was just opened has less to show than five minutes.
  const shownMs = Math.max(SHORTEST_MS, now.takenAtMs - points[0].t);
  const most = Math.max(...points.map((point) => Math.max(...chart.lines.map(([, read]) => read(point)))));
  chart.lines.forEach(([name, read], index) => {
    const part = chart.parts[index];
    if (part === undefined) return;
    const place = (point) => (WIDTH - ((now.takenAtMs - point.t) / shownMs) * WIDTH).toFixed(1) + ',' + (HEIGHT - 1 - (most > 0 ? read(point) / most : 0) * (HEIGHT - 4)).toFixed(1);
    part.line.setAttribute('points', points.map(place).join(' '));
    setText(part.label, name + ' ' + chart.write(read(points[points.length - 1])));
  });
  setText(chart.top, 'top ' + chart.write(most));
}
`;
