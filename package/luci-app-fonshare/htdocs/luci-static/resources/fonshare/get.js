/* Getting: at once as it is usual, or with a word on where it goes and what comes first. */

import { foreign, h } from './dom.js';
import { idsOf, isPlace } from './entry.js';
import { folderChooser } from './folders.js';
import { checkbox, field, form, input, link, openDialog } from './parts.js';
import { _, plural } from './words.js';

/* Get *rows*; *wish*: {to, stream} where somebody said so. */
export async function get(app, rows, wish) {
	const entries = rows.flatMap(idsOf);
	const jobs = await app.call('get', { entries, ...wish });
	app.jobs.now();
	app.notify(plural(jobs.length, _('%d transfer is on its way.'), _('%d transfers are on their way.')), ' ',
		link(app, 'transfers', _('See transfers')));
}

/* Ask where *rows* shall go. Calls *done* when they are on their way. */
export function askToGet(app, rows, done) {
	const to = input('to', { autocapitalize: 'off' });
	const chooser = folderChooser(app, (chosen) => {
		to.value = chosen;
	});
	const dialog = openDialog(app, _('Get to a folder'), form(app, [
		h('p', null, foreign(rows.map((row) => row.name).join(', '))),
		chooser,
		field(_('Folder of the disk'), to, _('One that is not there yet is made. Empty: in the downloads, by group and friend.')),
		rows.some(isPlace) ? null : [
			checkbox('stream', 'yes', _('The beginning first, to play it while it arrives'), false),
			h('p', { class: 'fs-help' }, _('Transfers then shows where a player finds it.'))]
	], _('Get'), async (values) => {
		const wish = {};
		if (values.to.trim())
			wish.to = values.to.trim();
		if (values.stream)
			wish.stream = true;
		await get(app, rows, wish);
		dialog.close();
		if (done)
			done();
	}));
}
