/* The tree beside the list: groups, members, shares and folders, each opened on demand. */

import { foreign, h, keyed, replace, set, visible } from './dom.js';
import { asError, failure, isAway } from './errors.js';
import { icon } from './icons.js';
import { pictureOf } from './kinds.js';
import { filesKey } from './moved.js';
import { encode, placeOf } from './paths.js';
import { _, fill } from './words.js';

const FOLDERS = 500; // of one folder; the list beside shows all
const WIDE = '(min-width: 1000px)'; // as in page.css

/* Return the tree with *current* marked; what was open stays open in *app*. What is open
   is read anew whenever something known of files has changed; where there is no room for
   the tree, nothing is asked for it. */
export function tree(app, scope, current) {
	const open = app.openPlaces || new Set();
	app.openPlaces = open;
	const parts = current.split('/');
	for (let count = 1; count < parts.length; count += 1)
		open.add(parts.slice(0, count).join('/'));
	const top = branch('');
	const wide = window.matchMedia(WIDE);
	let isBegun = false;
	const begin = () => {
		if (wide.matches && !isBegun) {
			isBegun = true;
			scope.renew(() => top.renew(), () => filesKey(app), app.missed);
		}
	};
	scope.listen(wide, 'change', begin);
	begin();
	return h('nav', { class: 'fs-tree', 'aria-label': _('Folders') }, top.list);

	/* The list of what is in *path*; `renew` reads it and all that is open below. */
	function branch(path) {
		const list = h('ul', { class: 'fs-tree-list', hidden: path !== '' });
		let failed = null, isRead = false;

		async function renew() {
			set(list, 'aria-busy', isRead ? null : 'true');
			try {
				const rows = await app.call('ls', { path, limit: FOLDERS });
				if (failed)
					failed.remove();
				failed = null;
				isRead = true;
				keyed(list, rows.filter((row) => row.kind !== 'file'), (row) => placeOf(row) + '/' + row.name, node, (element, row) => element.update(row));
				for (const one of list.keyedChildren.values())
					await one.renew();
			} catch (error) {
				if (isRead && isAway(asError(error)))
					throw error; // what was read stays; it is tried again
				failed = h('li', null, failure(asError(error), renew));
				replace(list, failed);
			} finally {
				set(list, 'aria-busy', null);
			}
		}
		return { list, renew };
	}

	function node(row) {
		const place = placeOf(row);
		const inner = branch(place);
		const toggle = h('button', {
			type: 'button', class: 'fs-tree-toggle', 'aria-expanded': 'false',
			'aria-label': fill(_('What is in %s'), visible(row.name))
		}, icon('next'));
		const anchor = h('a', {
			href: app.href('files?' + encode(place)), class: 'fs-tree-link',
			'aria-current': place === current ? 'page' : null
		}, icon(pictureOf(row)), foreign(row.name));
		const element = h('li', null, h('div', { class: 'fs-tree-row' }, toggle, anchor), inner.list);
		toggle.addEventListener('click', () => {
			turn(toggle.getAttribute('aria-expanded') !== 'true');
			element.renew().catch((error) => app.fail(error));
		});

		function turn(isOpen) {
			set(toggle, 'aria-expanded', isOpen ? 'true' : 'false');
			set(inner.list, 'hidden', !isOpen);
			if (isOpen)
				open.add(place);
			else
				open.delete(place);
		}

		element.update = (now) => anchor.classList.toggle('fs-is-away', !now.online);
		element.renew = async () => {
			if (open.has(place))
				await inner.renew();
		};
		turn(open.has(place));
		return element;
	}
}
