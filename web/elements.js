// Inglenook in any page: <ingle-nook src="/docs.nook"> to search and ask, <ingle-search src="/docs.nook"> to search.
//
// Needs no COOP/COEP. CSP of the embedding page: script-src with this script's origin and 'wasm-unsafe-eval',
// worker-src and connect-src with the same origin (and `blob:` in worker-src where that is not the page's own). No inline
// styles.

import { IngleNook } from './elements/nook.js';
import { IngleSearch } from './elements/search.js';

export { IngleNook, IngleSearch };

if (!customElements.get('ingle-search')) customElements.define('ingle-search', IngleSearch);
if (!customElements.get('ingle-nook')) customElements.define('ingle-nook', IngleNook);
