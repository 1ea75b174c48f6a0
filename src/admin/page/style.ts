// How the status page looks: by day and by night, on a wide screen and on a telephone. Every state is
// written, too, not only coloured.
export const STYLE = `
:root {
  --ground: #f6f7f9; --card: #ffffff; --ink: #1c2430; --soft: #5d6878; --line: #d6dbe3;
  --normal: #1a7f4b; --backup: #a86200; --error: #c0292b; --flow: #2563c9; --second: #8a46c2;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #11151b; --card: #1a2029; --ink: #e6eaf0; --soft: #98a3b3; --line: #2e3744;
    --normal: #4cc38a; --backup: #f0a63c; --error: #ff6b6b; --flow: #6aa5ff; --second: #c58af9;
  }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 78rem; padding: 1rem; background: var(--ground); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; font-variant-numeric: tabular-nums; }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: .25rem 1rem; }
h1 { margin: 0; font-size: 1.4rem; }
h1 small { font-size: .85rem; font-weight: normal; color: var(--soft); }
h2 { margin: 1.6rem 0 .6rem; font-size: 1.05rem; display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center; }
input { font: inherit; font-size: .9rem; padding: .2rem .5rem; border: 1px solid var(--line); border-radius: .4rem; background: var(--card); color: inherit; min-width: 0; }
a { color: inherit; }
footer, #more { color: var(--soft); font-size: .85rem; margin-top: 1.5rem; }
[hidden] { display: none !important; }
.chip { margin: 0; padding: 0 .55rem; border: 1px solid currentColor; border-radius: 1rem; font-size: .8rem; white-space: nowrap; color: var(--soft); }
.normal { color: var(--normal); } .backup { color: var(--backup); } .error { color: var(--error); }
#reasons { margin: .8rem 0; padding: .6rem 1rem .6rem 2rem; border-left: 4px solid var(--error); background: var(--card); overflow-wrap: anywhere; }
#tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.2rem, 1fr)); gap: .6rem; margin: 1rem 0; }
.tile, .chart, .bucket { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .6rem .8rem; }
.tile b { display: block; font-size: 1.35rem; font-weight: 600; line-height: 1.25; }
.tile span, .note { color: var(--soft); font-size: .82rem; }
.bar { height: 4px; margin-top: .35rem; border-radius: 2px; background: var(--line); overflow: hidden; }
.bar i { display: block; height: 100%; width: 0; background: var(--flow); }
.bar i.high { background: var(--error); }
#charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: .6rem; }
.chart svg { display: block; width: 100%; height: 5.5rem; margin-top: .3rem; border-bottom: 1px solid var(--line); }
.chart polyline { fill: none; stroke-width: 1.6; vector-effect: non-scaling-stroke; stroke-linejoin: round; }
.chart p { margin: 0; display: flex; flex-wrap: wrap; gap: 0 .8rem; font-size: .82rem; color: var(--soft); }
.chart h3 { margin: 0; font-size: .85rem; font-weight: 600; }
.c0 { stroke: var(--flow); color: var(--flow); } .c1 { stroke: var(--normal); color: var(--normal); } .c2 { stroke: var(--backup); color: var(--backup); } .c3 { stroke: var(--second); color: var(--second); }
.bucket { margin-bottom: .6rem; display: grid; grid-template-columns: auto minmax(8rem, 14rem) 1fr; align-items: center; gap: .3rem; }
.box { border: 1px solid var(--line); border-radius: .5rem; padding: .4rem .6rem; min-width: 0; overflow-wrap: anywhere; }
.box b { font-weight: 600; }
.source { display: flex; align-items: center; gap: .3rem; }
.streams { display: flex; flex-direction: column; gap: .5rem; min-width: 0; }
.way { display: grid; grid-template-columns: 6.5rem minmax(10rem, 1.4fr) 6.5rem minmax(8rem, 1fr); align-items: center; gap: .3rem; }
.way > .box { border-left: 4px solid var(--line); }
.way > .box.normal, .way > .box.backup, .way > .box.error { border-left-color: currentColor; }
.way > .box > * { color: var(--ink); }
.way > .box > .note { color: var(--soft); } .way > .box > .problem { color: var(--soft); font-size: .82rem; display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 3; overflow: hidden; }
.way > .box .chip { float: right; } .way > .box .chip.normal { color: var(--normal); } .way > .box .chip.backup { color: var(--backup); } .way > .box .chip.error { color: var(--error); }
.arrow { min-width: 4.8rem; text-align: center; font-size: .8rem; color: var(--soft); line-height: 1.1; }
.arrow svg { display: block; width: 100%; height: 12px; }
.arrow line { stroke: var(--line); stroke-width: 2; vector-effect: non-scaling-stroke; }
.arrow path { fill: var(--line); }
.flows line { stroke: var(--flow); stroke-dasharray: 6 4; animation: run .6s linear infinite; } .flows path { fill: var(--flow); }
@keyframes run { to { stroke-dashoffset: -10; } }
@media (prefers-reduced-motion: reduce) { .flows line { animation: none; } }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; background: var(--card); font-size: .88rem; }
th, td { text-align: left; padding: .3rem .6rem; border: 1px solid var(--line); overflow-wrap: anywhere; }
th { color: var(--soft); font-weight: 600; } td.n, th.n { text-align: right; white-space: nowrap; }
@media (max-width: 52rem) {
  .bucket { grid-template-columns: 1fr; } .way { grid-template-columns: 1fr; }
  .source .box { display: none; }
  .arrow { width: 100%; text-align: left; display: flex; align-items: center; gap: .5rem; padding-left: 1rem; }
  .arrow svg { width: 14px; height: 20px; transform: rotate(90deg); flex: none; }
}
@media (max-width: 30rem) { .chart svg { height: 3.5rem; } body { padding: .6rem; } #tiles { grid-template-columns: 1fr 1fr; } }
`;
