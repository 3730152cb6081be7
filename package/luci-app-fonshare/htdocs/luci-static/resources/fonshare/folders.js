/* Choosing a folder of the own disk, so that nobody has to know a path by heart. */

import { foreign, h, replace, set } from './dom.js';
import { icon } from './icons.js';
import { badge } from './parts.js';
import { _ } from './words.js';

/* Return a list to walk through the disk's folders; *chosen*(path) is told of each step. */
export function folderChooser(app, chosen) {
	const crumbs = h('ol', { class: 'fs-crumbs' });
	const list = h('ul', { class: 'fs-folders' });
	const element = h('div', { class: 'fs-chooser', role: 'group', 'aria-label': _('Folders of the disk'), hidden: true },
		crumbs, list);
	let turn = 0;

	async function open(path) {
		turn += 1;
		const mine = turn;
		set(list, 'aria-busy', 'true');
		const rows = await app.call('disk ls', path ? { path } : {});
		if (mine !== turn)
			return;
		set(list, 'aria-busy', null);
		set(element, 'hidden', false);
		replace(crumbs, steps(path).map(([target, label], at, all) => h('li', null, at === all.length - 1
			? h('span', { 'aria-current': 'location' }, label) : step(target, label))));
		replace(list, rows.length ? rows.map((row) => h('li', null, h('button', {
			type: 'button', class: 'fs-folder', on: { click: () => go(row.path) }
		}, icon('folder'), foreign(row.name), row.shared ? badge(_('shared already')) : null)))
			: h('li', { class: 'fs-help' }, _('No folder in here.')));
	}

	function step(target, label) {
		return h('button', { type: 'button', class: 'fs-step-link', on: { click: () => go(target) } }, label);
	}

	function steps(path) {
		const parts = path.split('/').filter(Boolean);
		return [['', _('Disk')], ...parts.map((part, at) => [parts.slice(0, at + 1).join('/'), foreign(part)])];
	}

	function go(path) {
		chosen(path);
		open(path).then(() => {
			const first = list.querySelector('button') || crumbs.querySelector('button');
			if (first && !element.contains(document.activeElement))
				first.focus();
		}, (error) => app.fail(error));
	}

	open('').catch((error) => {
		if (error.code !== 'usage') // an agent that lists none: the path is typed
			app.fail(error);
	});
	return element;
}
