/* Follows: which places of friends are followed or kept, and the wish to do so with one.

   A follow has what comes new to a share or folder fetched, within a budget of the disk;
   what is kept is fetched whole, and offered on to the group. */

import { foreign, h, replace, set, visible, write } from './dom.js';
import { reason } from './errors.js';
import { icon } from './icons.js';
import { wishesKey } from './moved.js';
import { button, card, checkbox, confirm, field, form, input, link, openDialog, select } from './parts.js';
import { _, fill, number, plural, size } from './words.js';

const GB = 1e9;
const BUDGETS = [1, 5, 10, 20, 50, 100, 500];

/* Return the card of what is followed; `labelOf(id)` names a follow. Hidden without one. */
export function followsCard(app, scope) {
	const list = h('ul', { class: 'fs-shares' });
	const element = card(_('What you follow'), 'star', list);
	const labels = new Map();
	let shown = '';
	set(element, 'hidden', true);
	const running = scope.renew(load, () => wishesKey(app), app.missed);

	async function load() {
		const rows = await app.call('follow ls');
		const key = JSON.stringify(rows);
		if (key === shown)
			return;
		shown = key;
		labels.clear();
		for (const row of rows)
			labels.set(row.id, placeName(row));
		replace(list, rows.map((row) => followRow(app, row, () => running.now())));
		set(element, 'hidden', !rows.length);
	}
	return { element, labelOf: (id) => labels.get(id) || '' };
}

function placeName(row) {
	return [row.member, row.share, row.path].filter(Boolean).join(' / ');
}

function followRow(app, row, changed) {
	const name = placeName(row);
	return h('li', { class: 'fs-share' }, icon('folder'),
		h('div', { class: 'fs-share-text' },
			h('p', null, foreign(name, 'fs-name fs-strong'), ' ', h('span', { class: 'fs-help' }, foreign(row.group))),
			h('p', { class: 'fs-help' }, fill(_('%s of %s'), size(row.used_bytes), size(row.budget)), ' · ',
				plural(row.files, _('%d file'), _('%d files')), ' · ', stateWord(row)),
			row.kept ? h('p', { class: 'fs-help' }, _('kept for the group as'), ' ', foreign(row.kept)) : null,
			row.error ? h('p', { class: 'fs-job-why' }, visible(reason(row.error))) : null),
		button(app, _('Stop following'), async () => {
			if (await confirm(app, _('Stop following?'), [foreign(name), h('p', { class: 'fs-help' },
				_('What has arrived stays on your disk; what is on its way is cancelled.')),
			row.kept ? h('p', { class: 'fs-help' }, _('The group gets it from you no more.')) : null], _('Stop following'), 'fs-danger')) {
				await app.call('unfollow', { entry: row.id });
				app.jobs.now();
				changed();
			}
		}, { symbol: 'close', quiet: true, name: fill(_('Stop following %s'), visible(name)) }));
}

function stateWord(row) {
	switch (row.state) {
	case 'looking':
		return _('looking at what is there');
	case 'full':
		return _('budget used');
	case 'gone':
		return _('nothing there now');
	default:
		return _('waiting for what is new');
	}
}

/* Whether all of *rows* are places of friends that can be followed. */
export function canFollow(rows) {
	return rows.length > 0 && rows.every((row) => row.kind === 'folder' || row.kind === 'share');
}

/* Ask how to follow the places *entries*, called *name*. Calls *done* when they are. */
export function askToFollow(app, name, entries, done) {
	askForPlaces(app, name, entries, done, {
		title: _('Follow'), told: _('Followed.'),
		help: _('What is new there is fetched by itself, behind what you get yourself.'),
		more: checkbox('all', 'yes', _('Also what is there already'), false),
		send: (entry, budget, values) => app.call('follow', { entry, budget, all: values.all === 'yes' })
	});
}

/* Ask how to keep the places *entries*: to fetch all of them and to offer them on. */
export function askToKeep(app, name, entries, done) {
	askForPlaces(app, name, entries, done, {
		title: _('Keep'), told: _('Kept.'),
		help: _('All of it is fetched, now and later, and offered on to the group, so that it is there while its owner is away.'),
		more: entries.length === 1 ? field(_('Name'), input('name', { maxlength: '60' }),
			_('Of the share by which you offer it on; empty: as its owner calls it.')) : null,
		send: (entry, budget, values) => app.call('keep', values.name ? { entry, budget, name: values.name } : { entry, budget })
	});
}

function askForPlaces(app, name, entries, done, { title, told, help, more, send }) {
	const budget = select('budget', BUDGETS.map((one) => [String(one * GB), fill(_('%s GB'), number(one))]), String(10 * GB));
	const dialog = openDialog(app, title, form(app, [
		h('p', null, foreign(name)),
		h('p', { class: 'fs-help' }, help),
		field(_('At most'), budget, _('Of your disk, for each place. When it is used, what is new waits.')),
		more
	], title, async (values) => {
		for (const entry of entries)
			await send(entry, Number(values.budget), values);
		dialog.close();
		app.jobs.now();
		app.notify(told, ' ', link(app, 'transfers', _('See transfers')));
		if (done)
			done();
	}));
}

/* Show at *element* which follow wants a job, if one does. */
export function tellFollow(element, job, labelOf) {
	set(element, 'hidden', !job.follow);
	const label = job.follow ? visible(labelOf(job.follow)) : '';
	write(element, label ? fill(_('followed: %s'), label) : _('followed'));
}
