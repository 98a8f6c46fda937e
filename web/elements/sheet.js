// Styles of the shared parts, as constructable style sheets: a page's CSP needs to allow no inline styles for them.

/** @param {string} css */
function sheet(css) {
  const made = new CSSStyleSheet();
  made.replaceSync(css);
  return made;
}

/** Colours and type. A site sets `--ingle-*` on the element or any ancestor. */
export const tokens = sheet(`
:host {
  display: block;
  --paper: var(--ingle-paper, light-dark(#fbf7ef, #1b1613));
  --raised: var(--ingle-raised, light-dark(#fffdf9, #251e19));
  --sunk: var(--ingle-sunk, light-dark(#f2ebdd, #15110e));
  --ink: var(--ingle-ink, light-dark(#2b2118, #f0e6d8));
  --soft: var(--ingle-soft, light-dark(#68594a, #b8a795));
  --line: var(--ingle-line, light-dark(#dfd4c2, #3d3229));
  --ember: var(--ingle-ember, light-dark(#9d3c12, #f5a06a));
  --glow: var(--ingle-glow, light-dark(#ffe3ac, #6a4217));
  --moss: var(--ingle-moss, light-dark(#44613a, #a9c995));
  --slate: var(--ingle-slate, light-dark(#4b6076, #9db4cb));
  --serif: var(--ingle-serif, 'Iowan Old Style', 'Palatino Linotype', Palatino, 'Book Antiqua', 'URW Palladio L', 'Liberation Serif', Georgia, serif);
  --sans: var(--ingle-sans, ui-sans-serif, -apple-system, 'Segoe UI', Roboto, Ubuntu, Cantarell, 'Noto Sans', 'Liberation Sans', system-ui, sans-serif);
  --mono: var(--ingle-mono, ui-monospace, 'SF Mono', 'Cascadia Code', 'Liberation Mono', monospace);
  --radius: var(--ingle-radius, 10px);
  color: var(--ink);
  font: 15px/1.5 var(--sans);
}
:host([hidden]) { display: none; }
:host([theme='light']) { color-scheme: light; }
:host([theme='dark']) { color-scheme: dark; }
:host([theme='auto']) { color-scheme: light dark; }
*, ::before, ::after { box-sizing: border-box; }
[hidden] { display: none !important; }
`);

/** Passages, answers, timing: the same in the page and in the widget. */
export const parts = sheet(`
.icon { width: 1.25em; height: 1.25em; flex: none; fill: none; stroke: currentColor; stroke-width: 1.6; stroke-linecap: round; stroke-linejoin: round; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
mark { background: var(--glow); color: inherit; border-radius: 3px; padding: 0 .08em; box-decoration-break: clone; -webkit-box-decoration-break: clone; }
:is(a, button, input, textarea, select, summary, [tabindex]):focus-visible { outline: 2px solid var(--ember); outline-offset: 2px; border-radius: 4px; }

.hit .hit-head { margin: 0; font: 600 1.02em/1.35 var(--serif); }
.hit p { margin: 0; }
.hit-title { color: var(--ink); text-decoration: none; display: inline-flex; gap: .45em; align-items: baseline; overflow-wrap: anywhere; }
.hit-title .icon { align-self: center; color: var(--soft); width: 1.1em; height: 1.1em; }
.hit-title:hover { color: var(--ember); text-decoration: underline; text-underline-offset: .2em; }
.hit .hit-where { color: var(--soft); font-size: .82em; overflow-wrap: anywhere; }
.hit .hit-text { margin-top: .3em; font: 1em/1.6 var(--serif); overflow-wrap: anywhere; white-space: pre-line; }
.hit .hit-text.code { font: .84em/1.5 var(--mono); white-space: pre-wrap; }
.hit .hit-scores { display: flex; flex-wrap: wrap; gap: .2em 1.2em; margin-top: .35em; color: var(--soft); font-size: .8em; font-variant-numeric: tabular-nums; }
.hit-scores b { color: var(--ink); font-weight: 600; }

.kicker { margin: 0 0 .35em; color: var(--ember); font: 600 .78em/1.4 var(--sans); letter-spacing: .04em; }
.kicker span { color: var(--soft); font-weight: 400; letter-spacing: 0; margin-inline-start: .4em; }
.lead blockquote { margin: 0; padding-inline-start: 1rem; border-inline-start: 3px solid var(--ember); }
.lead blockquote p { margin: 0; font: 1.24em/1.55 var(--serif); overflow-wrap: anywhere; text-wrap: pretty; }
.lead .cite ~ blockquote { margin-top: 1.1em; border-color: var(--line); }
.lead .cite ~ blockquote p { font-size: 1.06em; }
.lead .cite { margin: .55em 0 0; padding-inline-start: calc(1rem + 3px); color: var(--soft); font-size: .86em; overflow-wrap: anywhere; }
.cite-link, .ref { color: var(--ember); text-underline-offset: .2em; }
.lead .none { margin: 0; font: 1.15em/1.5 var(--serif); }
.nearest { list-style: none; margin: .9em 0 0; padding: 0; display: grid; gap: .9em; }
.written { margin-top: 1.4em; }
.written .kicker { color: var(--slate); }
.prose { font: 1.04em/1.65 var(--serif); overflow-wrap: anywhere; white-space: pre-line; }
.log { display: inline; }
.tail { color: var(--soft); }
.doubt { margin: .4em 0 0; color: var(--ember); font-size: .86em; }
.doubt:empty { display: none; }
.ref { padding: .15em .5em; margin-inline-start: .15em; font: 600 .72em/1.5 var(--sans); text-align: center; text-decoration: none; border: 1px solid var(--line); border-radius: 4px; background: var(--raised); }
.ref:hover { border-color: var(--ember); }
sup { line-height: 0; }
.answer-status { margin: .9em 0 0; color: var(--soft); font-size: .88em; display: flex; flex-wrap: wrap; gap: .3em .8em; align-items: center; }
.answer-status:empty { display: none; }
.answer-status.failed { color: var(--ink); display: block; padding: .6em .8em; border: 1px solid var(--ember); border-radius: var(--radius); }
progress { appearance: none; width: 9em; height: 5px; border: 0; border-radius: 3px; overflow: hidden; background: var(--line); vertical-align: middle; }
progress::-webkit-progress-bar { background: var(--line); }
progress::-webkit-progress-value { background: var(--ember); }
progress::-moz-progress-bar { background: var(--ember); }

.timing { margin-top: 1em; color: var(--soft); font-size: .84em; font-variant-numeric: tabular-nums; }
.timing summary { display: flex; flex-wrap: wrap; gap: .3em .8em; align-items: center; cursor: pointer; list-style: none; }
.timing summary::-webkit-details-marker { display: none; }
.timing .bar { display: flex; width: 7em; height: 6px; gap: 1px; border-radius: 3px; overflow: hidden; }
.timing .bar i { flex-basis: 0; min-width: 2px; }
.bar-search { background: var(--moss); } :is(.bar-load, .bar-queue, .bar-network, .bar-squeeze) { background: color-mix(in srgb, var(--soft) 45%, transparent); } .bar-prefill { background: var(--slate); } .bar-decode { background: var(--ember); }
.timing dl { display: flex; flex-wrap: wrap; gap: .3em 1.4em; margin: .6em 0 .2em; }
.timing dl div { display: flex; gap: .45em; align-items: baseline; }
.timing dl div::before { content: ''; width: .6em; height: .6em; border-radius: 2px; align-self: center; }
.of-search::before { background: var(--moss); } :is(.of-load, .of-queue, .of-network, .of-squeeze)::before { background: color-mix(in srgb, var(--soft) 45%, transparent); } .of-prefill::before { background: var(--slate); } .of-decode::before { background: var(--ember); }
.timing dd { margin: 0; color: var(--ink); }
.timing p { margin: 0; }
.met { color: var(--moss); } .missed { color: var(--ember); }
`);

/** The widget's own frame, box and list. */
export const widget = sheet(`
.combo { position: relative; display: flex; align-items: center; }
.lens { position: absolute; inset-inline-start: .9em; color: var(--soft); display: flex; pointer-events: none; }
.combo input { flex: 1; min-width: 0; width: 100%; padding: .75em 1em .75em 2.9em; font: inherit; font-size: 16px; color: var(--ink); background: var(--raised); border: 1px solid var(--line); border-radius: var(--radius); }
.combo input::placeholder { color: var(--soft); opacity: 1; }
.combo input:focus { outline: 2px solid var(--ember); outline-offset: 0; border-color: transparent; }
.options { position: absolute; z-index: 10; inset: calc(100% + 6px) 0 auto; max-height: min(60vh, 30em); overflow: auto; margin: 0; padding: .3em; list-style: none; background: var(--raised); border: 1px solid var(--line); border-radius: var(--radius); box-shadow: 0 12px 32px #0003; }
.options li { padding: .55em .7em; border-radius: 7px; cursor: pointer; }
.options li:hover, .options li[aria-selected='true'] { background: var(--sunk); }
.options li[aria-selected='true'] { box-shadow: inset 3px 0 var(--ember); }
.option-title { display: flex; flex-wrap: wrap; gap: 0 .7em; align-items: baseline; font-weight: 600; overflow-wrap: anywhere; }
.option-title small { color: var(--soft); font-weight: 400; }
.option-text { display: block; font: .95em/1.5 var(--serif); overflow-wrap: anywhere; }
.frame { padding: clamp(.8em, 3vw, 1.3em); background: var(--paper); border: 1px solid var(--line); border-radius: calc(var(--radius) + 4px); }
.note { margin: .7em 0 0; color: var(--soft); font-size: .86em; display: flex; flex-wrap: wrap; gap: .3em .8em; align-items: center; }
.note:empty { display: none; }
.body { margin-top: 1.2em; }
.body:empty { display: none; }
button { font: inherit; color: var(--ink); background: var(--raised); border: 1px solid var(--line); border-radius: 8px; padding: .4em .8em; cursor: pointer; }
button:hover { border-color: var(--ember); }
.source { margin-top: 1.2em; border: 1px solid var(--line); border-radius: var(--radius); background: var(--raised); overflow: hidden; }
.source header { display: flex; gap: .8em; align-items: center; justify-content: space-between; padding: .5em .6em .5em .9em; border-bottom: 1px solid var(--line); }
.source h3 { margin: 0; font: 600 1em/1.4 var(--serif); overflow-wrap: anywhere; }
.source pre { margin: 0; padding: 1em; max-height: 22em; overflow: auto; font: .98em/1.6 var(--serif); white-space: pre-wrap; overflow-wrap: anywhere; }
.source canvas { display: block; width: 100%; height: auto; }
@media (prefers-reduced-motion: no-preference) {
  .answer, .source { animation: come .25s ease-out; }
  @keyframes come { from { opacity: 0; transform: translateY(4px); } }
}
`);
