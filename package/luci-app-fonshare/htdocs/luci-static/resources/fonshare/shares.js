/* Shares: which folders of the own disk friends see, and in which groups. */

import { foreign, h, replace, set, visible } from './dom.js';
import { asError, failure } from './errors.js';
import { folderChooser } from './folders.js';
import { icon } from './icons.js';
import { addMirror, mirrorOf } from './mirrors.js';
import { sharesKey } from './moved.js';
import { button, card, checkbox, confirm, empty, field, input, openDialog, form } from './parts.js';
import { _, fill, plural, size } from './words.js';

/* Return the card of the shares of *group*, or of all groups. */
export function shares(app, scope, group) {
	const content = h('div');
	const element = card(_('What you share'), 'folder', content);
	const running = scope.renew(load, () => sharesKey(app), (error) => {
		if (!content.querySelector('.fs-shares, .fs-empty-title'))
			replace(content, failure(asError(error), () => running.now()));
	});
	let shown = '';

	async function load() {
		const rows = await app.call('share ls');
		const mine = group === null ? rows : rows.filter((row) => row.groups.includes(group));
		// The seconds until a server is read again change nothing that is shown.
		const key = JSON.stringify(rows, (field, value) => field === 'next_s' ? undefined : value);
		if (key === shown)
			return;
		shown = key;
		const more = [button(app, _('Share a folder'), () => addShare(app, group, again), { symbol: 'add' }),
			button(app, _('Copy a server'), () => addMirror(app, groupChoice(app, group), again), { symbol: 'line' })];
		replace(content, mine.length ? [h('ul', { class: 'fs-shares' }, mine.map((row) => shareRow(app, row, again))),
			h('div', { class: 'fs-actions' }, more)]
			: empty('folder', _('Nothing yet'), _('Friends see only the folders that you choose, and cannot change them.'), ...more));
	}

	async function again() {
		shown = '';
		await load();
	}
	return element;
}

function shareRow(app, row, again) {
	return h('li', { class: 'fs-share' }, icon('folder'),
		h('div', { class: 'fs-share-text' }, h('p', null, foreign(row.name, 'fs-name fs-strong')),
			h('p', { class: 'fs-help' }, foreign(row.path, 'fs-name fs-path')),
			h('p', { class: 'fs-help' }, plural(row.files, _('%d file'), _('%d files')), ' · ', size(row.bytes), ' · ',
				row.groups.length ? foreign(row.groups.join(', ')) : _('in no group')),
			mirrorOf(app, row, again)),
		button(app, _('Stop sharing'), async () => {
			if (await confirm(app, _('Stop sharing this folder?'), [foreign(row.name), h('p', { class: 'fs-help' },
				_('Friends see it no more. Its files stay on your disk.'))], _('Stop sharing'), 'fs-danger')) {
				await app.call('share rm', { name: row.name });
				await again();
			}
		}, { symbol: 'close', quiet: true, name: fill(_('Stop sharing %s'), visible(row.name)) }));
}

/* Return the choice of groups to share with; *group* is chosen, or the only one. */
function groupChoice(app, group) {
	const status = app.status.latest;
	const groups = status ? status.groups.map((one) => one.name) : [];
	return h('fieldset', { class: 'fs-field' }, h('legend', null, _('With the groups')),
		groups.map((one) => checkbox('group', one, foreign(one), group === null ? groups.length === 1 : one === group)));
}

/* Ask which folder to share, under which name and with whom. */
export function addShare(app, group, added) {
	const name = input('name', { required: true, maxlength: '64' });
	const path = input('path', { required: true, autofocus: true, autocapitalize: 'off' });
	path.addEventListener('input', () => {
		if (!name.isOwn)
			name.value = path.value.split('/').filter(Boolean).pop() || '';
	});
	name.addEventListener('input', () => {
		name.isOwn = true;
	});
	const chooser = folderChooser(app, (chosen) => {
		path.value = chosen;
		path.dispatchEvent(new Event('input'));
	});
	const dialog = openDialog(app, _('Share a folder'), form(app, [
		chooser,
		field(_('Folder of the disk'), path, _('Films, for instance, or Photos/2024. It must be there already.')),
		field(_('Name'), name, _('What friends see it as.')),
		groupChoice(app, group)
	], _('Share'), async (values, element) => {
		await app.call('share add', {
			path: values.path, name: values.name, group: new FormData(element).getAll('group')
		});
		dialog.close();
		app.notify(_('Shared. Friends see it in a moment.'));
		await added();
	}));
	set(dialog, 'data-dialog', 'share');
}
