/* How the page dresses: its sheet, and light or dark after what surrounds it.

   A theme of LuCI is light or dark by its own choice, which no media query tells: there
   the colour that the page stands on is looked at. */

import { h, set } from './dom.js';

const DARK_BELOW = 0.4; // of the brightness of white

export function dress(root, host, scope) {
	const address = new URL('page.css', import.meta.url).href;
	if (![...document.styleSheets].some((sheet) => sheet.href === address)) {
		const sheet = h('link', { rel: 'stylesheet', href: address });
		document.head.append(sheet);
		scope.atEnd(() => sheet.remove());
	}
	const query = window.matchMedia('(prefers-color-scheme: dark)');
	const look = () => {
		const ground = host.kind === 'luci' ? groundOf(root.parentElement) : null;
		const isDark = ground === null ? query.matches : ground < DARK_BELOW;
		set(root, 'data-scheme', isDark ? 'dark' : 'light');
		set(document.body, 'data-fonshare', host.kind === 'luci' ? null : isDark ? 'dark' : 'light');
	};
	scope.listen(query, 'change', look);
	look();
	// LuCI's themes switch by an attribute of the root element, some after us.
	const watcher = new MutationObserver(look);
	watcher.observe(document.documentElement, { attributes: true });
	scope.atEnd(() => {
		watcher.disconnect();
		set(document.body, 'data-fonshare', null);
	});
	requestAnimationFrame(look);
}

/* The brightness, 0 to 1, of what *element* stands on; null if nothing says it. */
function groundOf(element) {
	for (let one = element; one; one = one.parentElement) {
		const parts = window.getComputedStyle(one).backgroundColor.split('(');
		const values = parts.length > 1 ? parts[1].split(',').map(parseFloat) : [];
		if (values.length >= 3 && (values.length === 3 || values[3] > 0.5))
			return (0.299 * values[0] + 0.587 * values[1] + 0.114 * values[2]) / 255;
	}
	return null;
}
