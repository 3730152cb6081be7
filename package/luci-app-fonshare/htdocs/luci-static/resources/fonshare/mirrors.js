/* Copies of other servers: shares whose folder follows one that an FTP server has. */

import { foreign, h, set, visible } from './dom.js';
import { notCopied, words } from './errors.js';
import { button, field, form, input, openDialog, parting } from './parts.js';
import { _, day, fill } from './words.js';

/* Return whose copy a share is and when that server was read, with what can be done about
   it; the overview tells its troubles. */
export function mirrorOf(app, row, again) {
	const { name, mirror } = row;
	if (!mirror)
		return null;
	const named = (label) => fill(label, visible(name));
	return h('div', null, h('p', { class: 'fs-help' }, mirrorText(mirror)), notCopied(mirror, (one) => words(one)),
		h('div', { class: 'fs-actions' },
			button(app, _('Read it now'), async () => {
				await app.call('share refresh', { name });
				await again();
			}, { symbol: 'retry', name: named(_('Read it now: %s')) }),
			button(app, _('Password'), () => askForPassword(app, row, again),
				{ symbol: 'key', name: named(_('Password for the server of %s')) })));
}

function mirrorText(mirror) {
	const copy = fill(_('Copy of %s'), visible(mirror.url));
	if (mirror.state === 'reading')
		return copy + ' · ' + _('being read now');
	return copy + ' · ' + (mirror.read_at ? fill(_('last read: %s'), day(mirror.read_at)) : _('not read to its end yet'));
}

function password() {
	return input('password', { type: 'password', autocomplete: 'off' });
}

function askForPassword(app, { name, mirror }, again) {
	const dialog = openDialog(app, _('Password of the server'), form(app, [
		h('p', null, foreign(mirror.url, 'fs-name fs-path')),
		field(_('Password'), password(), _('The server is asked at once whether it is the right one.'))
	], _('Save the password'), async (values) => {
		await app.call('share password', { name, password: values.password });
		dialog.close();
		app.notify(_('Saved. The server is read with it now.'));
		await again();
	}));
}

/* Ask which server's folder to copy, and with whom to share it; *choice*: the groups. */
export function addMirror(app, choice, added) {
	const name = input('name', { required: true, maxlength: '64' });
	const path = input('path', { required: true, autofocus: true, autocapitalize: 'off', inputmode: 'url' });
	const secret = password();
	parting(path, secret);
	path.addEventListener('change', () => {
		if (!name.value)
			name.value = path.value.split('/').slice(3).filter(Boolean).pop() || '';
	});
	const dialog = openDialog(app, _('Copy a server'), form(app, [
		h('p', { class: 'fs-help' }, _('A folder of an old FTP server, copied to your disk, kept up to date and shared. Nothing is changed there.')),
		field(_('Address'), path, _('As ftps://USER@HOST/FOLDER; ftp:// only where the server knows no encryption.')),
		field(_('Password'), secret, _('Kept on this node alone.')),
		field(_('Name'), name, _('What friends see it as.')),
		choice,
		h('details', { class: 'fs-more' }, h('summary', null, _('More')),
			field(_('Folder of the copy'), input('to', { autocapitalize: 'off' }), _('Empty: mirrors, and the name.')),
			field(_('Fingerprint of its certificate'), input('pin', { autocapitalize: 'off' }),
				_('SHA-256, where no authority vouches for it.')),
			field(_('File of authorities'), input('ca', { autocapitalize: 'off' }), _('A PEM file at the node, in the place of the system’s.')))
	], _('Copy and share'), async (values, element) => {
		const wish = { path: values.path.trim(), name: values.name, group: new FormData(element).getAll('group') };
		for (const option of ['password', 'to', 'pin', 'ca']) {
			if (values[option].trim())
				wish[option] = values[option];
		}
		await app.call('share add', wish);
		dialog.close();
		app.notify(_('It is being copied. Friends see each file as it comes.'));
		await added();
	}));
	set(dialog, 'data-dialog', 'mirror');
}
