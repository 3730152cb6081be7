/* One entry of a listing: as a row, and all that is known of it as a dialog. */

import { append, foreign, h, replace, set, visible } from './dom.js';
import { icon } from './icons.js';
import { pictureOf } from './kinds.js';
import { badge, button, openDialog, person } from './parts.js';
import { ratingBadge, starButtons } from './ratings.js';
import { _, day, fill, plural, size } from './words.js';
import { cell } from './window.js';

/* What can be fetched: no own file, and nothing above a share. */
export function canGet(row) {
	if (row.kind === 'group' || row.kind === 'member')
		return false;
	return isPlace(row) && row.rows ? row.rows.some((one) => !one.own) : !row.own;
}

export function isPlace(row) {
	return row.kind !== 'file';
}

/* The ids that fetch *row*: a folder of several members is all of their folders. */
export function idsOf(row) {
	if (!row.rows || row.kind === 'file')
		return [row.id];
	return row.rows.filter((one) => !one.own).map((one) => one.id);
}

function sourcesOf(row) {
	return row.sources || row.rows || [row];
}

/* Return the row's element; *list*: {isChosen(row), toggle(row), open(row), showsPath}. */
export function entryRow(list, row) {
	const box = h('input', {
		type: 'checkbox', class: 'fs-box', tabindex: '-1', 'aria-label': fill(_('Choose %s'), visible(row.name))
	});
	box.addEventListener('change', () => list.toggle(row));
	const name = h('button', {
		type: 'button', class: 'fs-entry-name', tabindex: '-1', title: visible(row.name),
		on: { click: () => list.open(row) }
	}, foreign(row.name));
	const rating = h('span');
	const below = h('span', { class: 'fs-entry-path' }, rating, list.showsPath ? foreign(pathLine(row)) : null);
	const text = h('div', { class: 'fs-entry-text' }, name);
	const element = h('div', { class: 'fs-row fs-entry', 'data-kind': row.kind },
		cell('fs-cell-box', canGet(row) ? box : null),
		cell('fs-cell-name', icon(pictureOf(row)), text),
		cell('fs-cell-size', row.kind === 'file' ? size(row.size) : ''),
		cell('fs-cell-day', day(row.modified)),
		cell('fs-cell-from', from(row)));
	element.update = () => {
		const isChosen = list.isChosen(row);
		box.checked = isChosen;
		replace(rating, ratingBadge(row));
		if (row.rating || list.showsPath)
			append(text, [below]);
		else
			below.remove();
		set(element, 'aria-selected', canGet(row) ? String(isChosen) : null);
	};
	element.classList.toggle('fs-is-away', !row.online);
	element.update();
	return element;
}

function pathLine(row) {
	const folder = row.path.slice(0, row.path.lastIndexOf('/') + 1);
	return [row.group, row.share, folder].filter(Boolean).join(' / ');
}

function from(row) {
	if (row.kind === 'group')
		return '';
	const sources = sourcesOf(row);
	if (row.own)
		return badge(_('yours'), 'own');
	if (sources.length > 1)
		return badge(plural(sources.length, _('%d source'), _('%d sources')));
	if (row.kind === 'member')
		return row.online ? _('online') : _('offline');
	return person(row.member, row.online);
}

/* Show all that is known of a file, and who has it; *ways*: get() and choose() where to;
   *rated* is told of a new rating. */
export function showEntry(app, row, ways, rated) {
	const sources = sourcesOf(row);
	const fact = (name, value) => [h('dt', null, name), h('dd', null, value)];
	const dialog = openDialog(app, foreign(row.name), [
		h('dl', { class: 'fs-facts' },
			fact(_('Size'), size(row.size)),
			row.modified ? fact(_('Changed'), day(row.modified)) : null,
			fact(_('Where'), foreign([row.share, row.path].join('/'), 'fs-name fs-path'))),
		h('h3', null, _('Rating')),
		starButtons(app, [row], rated),
		h('h3', null, _('Who has it')),
		h('ul', { class: 'fs-people' }, sources.map((one) => h('li', null, person(one.member, one.online),
			h('span', { class: 'fs-help' }, foreign(one.group), ' · ', foreign(one.share))))),
		h('div', { class: 'fs-actions' }, canGet(row) ? [button(app, _('To a folder'), () => {
			dialog.close();
			ways.choose();
		}, { symbol: 'folder' }), button(app, _('Get'), async () => {
			await ways.get();
			dialog.close();
		}, { kind: 'primary', symbol: 'get' })] : h('p', { class: 'fs-help' }, _('This is on your own disk.')))
	]);
	return dialog;
}
