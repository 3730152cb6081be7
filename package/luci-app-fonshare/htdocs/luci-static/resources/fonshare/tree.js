/* The tree beside the list: groups, members, shares and folders, each opened on demand. */

import { foreign, h, replace, set, visible } from './dom.js';
import { failure } from './errors.js';
import { icon } from './icons.js';
import { pictureOf } from './kinds.js';
import { encode, placeOf } from './paths.js';
import { _, fill } from './words.js';

const FOLDERS = 500; // of one folder; the list beside shows all

/* Return the tree with *current* marked; what was open stays open in *app*. */
export function tree(app, current) {
	const open = app.openPlaces || new Set();
	app.openPlaces = open;
	const parts = current.split('/');
	for (let count = 1; count < parts.length; count += 1)
		open.add(parts.slice(0, count).join('/'));
	const list = h('ul', { class: 'fs-tree-list' });
	load('', list);
	return h('nav', { class: 'fs-tree', 'aria-label': _('Folders') }, list);

	async function load(path, into) {
		set(into, 'aria-busy', 'true');
		try {
			const rows = await app.call('ls', { path, limit: FOLDERS });
			replace(into, rows.filter((row) => row.kind !== 'file').map(node));
		} catch (error) {
			replace(into, h('li', null, failure(error, () => load(path, into))));
		}
		set(into, 'aria-busy', null);
	}

	function node(row) {
		const place = placeOf(row);
		const inner = h('ul', { class: 'fs-tree-list', hidden: true });
		const toggle = h('button', {
			type: 'button', class: 'fs-tree-toggle', 'aria-expanded': 'false',
			'aria-label': fill(_('What is in %s'), visible(row.name))
		}, icon('next'));
		toggle.addEventListener('click', () => turn(toggle.getAttribute('aria-expanded') !== 'true'));
		const element = h('li', null, h('div', { class: 'fs-tree-row' }, toggle,
			h('a', {
				href: app.href('files?' + encode(place)), class: 'fs-tree-link' + (row.online ? '' : ' fs-is-away'),
				'aria-current': place === current ? 'page' : null
			}, icon(pictureOf(row)), foreign(row.name))), inner);

		function turn(isOpen) {
			set(toggle, 'aria-expanded', isOpen ? 'true' : 'false');
			set(inner, 'hidden', !isOpen);
			if (!isOpen) {
				open.delete(place);
				return;
			}
			open.add(place);
			load(place, inner);
		}

		if (open.has(place))
			turn(true);
		return element;
	}
}
