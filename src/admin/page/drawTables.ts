// The status page's tables: brokers, the discard report, and what was rejected, each only when there is
// something to tell.
export const DRAW_TABLES = String.raw`
const tables = new Map();

/** @param columns names; those that end with a space are of numbers */
function drawTable(title, columns, rows) {
  let parts = tables.get(title);
  if (parts === undefined && rows.length === 0) return;
  if (parts === undefined) {
    make(byId('tables'), 'h2', '', title);
    const table = make(make(byId('tables'), 'div', 'scroll'), 'table');
    const head = make(make(table, 'thead'), 'tr');
    for (const column of columns) make(head, 'th', column.endsWith(' ') ? 'n' : '', column.trim());
    parts = { body: make(table, 'tbody') };
    tables.set(title, parts);
  }
  const text = JSON.stringify(rows);
  if (parts.text === text) return;
  parts.text = text;
  parts.body.replaceChildren();
  for (const row of rows) {
    const line = make(parts.body, 'tr');
    row.forEach((cell, index) => make(line, 'td', columns[index].endsWith(' ') ? 'n' : '', cell));
  }
}

function drawTables(before, now) {
  drawTable('Discarded', ['bucket', 'stream', 'reason', 'frames ', 'bytes ', 'first', 'last'],
    now.discards.slice(0, 50).map((d) => [d.bucket, d.stream, d.reason, count(d.frames), bytes(d.bytes), time(d.firstMs), time(d.lastMs)]));
  drawTable('Rejected', ['reason', 'frames ', 'bytes ', 'first', 'last'],
    now.rejected.reasons.map((r) => [r.reason, count(r.frames), bytes(r.bytes), time(r.firstMs), time(r.lastMs)]));
  drawTable('Kafka', ['broker', 'connections ', 'requests a second ', 'bytes a second ', 'mean latency ', 'errors'], now.brokers.map((broker) => {
    const of = (read) => grownPerSecond(before, now, (s) => { const found = s.brokers.find((b) => b.name === broker.name); return found === undefined ? 0 : read(found); });
    const answered = sum(broker.latency, (n) => n);
    const errors = Object.entries(broker.errors).map(([code, n]) => code + ' ' + count(n)).join(', ');
    return [broker.name, String(broker.open), rate(of((b) => b.requests)), bytes(of((b) => b.bytes)), answered > 0 ? seconds(broker.latencySumSeconds / answered) : '–', errors];
  }));
}
`;
