"""The style sheet of an assessment's page and of its charts, for light and dark screens."""

STYLE = """
:root { --paper: #fff; --ink: #1c2430; --quiet: #68717f; --rule: #e1e5ea; --one: #2563b0;
  --two: #d98324; --three: #2b8a5f; --four: #a23b8f; --five: #8a6d1f; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181e; --ink: #e4e8ee; --quiet: #98a2b0;
  --rule: #2c333d; --one: #6aa5f0; --two: #f0a552; --three: #5fc596; --four: #d77fc6;
  --five: #cdb05c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 64rem; color: var(--ink);
  background: var(--paper); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0; } h2 { font-size: 1.2rem; margin: 2.6rem 0 .3rem; }
p { max-width: 46rem; margin: .3rem 0 .9rem; } .quiet, figcaption { color: var(--quiet); }
table { border-collapse: collapse; margin: .6rem 0 1rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--rule); }
th { color: var(--quiet); font-weight: 500; } th:first-child, td:first-child { text-align: left; }
.tiles { display: flex; flex-wrap: wrap; gap: .6rem 2.4rem; margin: 1.4rem 0; }
.tiles b { display: block; font-size: 1.5rem; font-weight: 600; }
.tiles span { color: var(--quiet); }
.side { display: flex; flex-wrap: wrap; gap: 1rem 2rem; align-items: flex-start; }
.wide { overflow-x: auto; }
svg { width: 100%; height: auto; font: 11px system-ui, sans-serif; }
svg text { fill: var(--ink); } svg .grid { stroke: var(--rule); }
svg .bar { fill: var(--one); } svg .gap { fill: var(--two); }
svg text.light { fill: var(--paper); }
.side > svg { flex: 1 1 20rem; }
.images { display: grid; grid-template-columns: repeat(auto-fill, minmax(7rem, 1fr)); gap: .9rem; }
.images figure { margin: 0; } .images img { width: 100%; image-rendering: pixelated; }
.images figcaption { font-size: .8rem; line-height: 1.3; overflow-wrap: anywhere; }
"""
