'use strict';
'require baseclass';

// Loads the page's modules as new as the router has them. uhttpd does not say how long a
// file is good, so a browser would mix old and new modules for a while after an upgrade.
// An upgrade writes all of them anew: if the first has changed, all are fetched again.

const FIRST = 'fonshare/app.js';
const KEPT = 'fonshare.modules';
const NAMES = new RegExp('\'([a-z./_-]+\\.(?:js|css))\'', 'g');

// Fetch *address*, and all that it names, into the browser's cache.
async function renew(address, seen) {
	if (seen.has(address))
		return;
	seen.add(address);
	const response = await fetch(address, { cache: 'reload' });
	if (!response.ok)
		return;
	const text = await response.text();
	await Promise.all(Array.from(text.matchAll(NAMES),
		found => renew(new URL(found[1], address).href, seen)));
}

function addressOf(path) {
	return new URL(L.resource(path), window.location.href).href;
}

function markOf(response) {
	return [ 'etag', 'last-modified' ].map(name => response.headers.get(name)).join(' ');
}

return baseclass.extend({
	// Return the module *path* of LuCI's resources.
	async load(path) {
		const first = addressOf(FIRST);
		const mark = markOf(await fetch(first, { cache: 'no-cache' }));
		if (window.localStorage.getItem(KEPT) != mark) {
			await renew(first, new Set());
			window.localStorage.setItem(KEPT, mark);
		}
		return import(addressOf(path));
	}
});
