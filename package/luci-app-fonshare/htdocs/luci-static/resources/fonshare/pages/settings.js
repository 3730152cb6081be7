/* Settings: limits that count at once, backup and restore, and what else is set. */

import { brokerHereCard } from '../brokerhere.js';
import { append, foreign, h, replace, set, visible, write } from '../dom.js';
import { asError, failure, words } from '../errors.js';
import { button, card, checkbox, confirm, field, form, input } from '../parts.js';
import { settingsForm } from '../settingsform.js';
import { _, fill, said, size } from '../words.js';

const KIB = 1024;

export function show(app, scope, page) {
	write(page.title, _('Settings'));
	append(page.content, [h('div', { class: 'fs-grid' }, limits(app),
		app.host.backup ? backup(app) : null, app.host.restore ? restore(app) : null,
		app.host.broker ? brokerHereCard(app) : null), others(app, scope)]);
}

/* --- limits --- */

function limits(app) {
	const content = h('div', { 'aria-busy': 'true' });
	const element = card(_('Limits'), 'settings', content);

	async function load() {
		try {
			draw(await app.call('limits'));
		} catch (error) {
			replace(content, failure(asError(error), load));
		}
		set(content, 'aria-busy', null);
	}

	function draw(now) {
		replace(content, limitsNow(now), limitsForm(app, now, draw));
	}

	load();
	return element;
}

function limitsNow(limits) {
	const words = (value) => value === null ? _('no limit') : value === 0 ? _('nothing moves')
		: fill(_('%s a second'), size(value * KIB));
	return h('p', { class: 'fs-help' }, fill(_('Now: to friends %s, from friends %s.'), words(limits.now.upload_kib_s),
		words(limits.now.download_kib_s)), limits.gives_way ? [' ', _('It gives way while others use the line.')] : null);
}

function limitsForm(app, now, changed) {
	const count = (name, value, most) => input(name, {
		type: 'number', min: '0', max: most, step: '1', inputmode: 'numeric', required: true, value: String(value)
	});
	const rates = '10000000';
	const hours = input('hours', { placeholder: '0-24', value: now.hours || '', inputmode: 'text' });
	return form(app, [
		field(_('To friends, KiB a second'), count('upload', now.upload_kib_s, rates), _('0 is no limit.')),
		field(_('From friends, KiB a second'), count('download', now.download_kib_s, rates), _('0 is no limit.')),
		field(_('Transfers at once'), count('transfers', now.transfers, '8'), _('How many files come at the same time.')),
		field(_('Friends served at once'), count('uploads', now.uploads, '16'), _('Others wait for their turn.')),
		field(_('Hours'), hours, _('Times of day in which files move, as 23-7 or 22:30-06:45. 0-24 is always.')),
		field(_('To friends at other times'), count('other_upload', now.other_upload_kib_s, rates), _('0: nothing moves then.')),
		field(_('From friends at other times'), count('other_download', now.other_download_kib_s, rates), _('0: nothing moves then.')),
		checkbox('house', 'on', _('The limits hold at home, too'), now.house),
		checkbox('give_way', 'on', _('Give way while others use the line'), now.give_way)
	], _('Save the limits'), async (values) => {
		const wanted = {};
		for (const name of ['upload', 'download', 'transfers', 'uploads', 'other_upload', 'other_download'])
			wanted[name] = Number(values[name]);
		wanted.hours = values.hours.trim() || '0-24';
		for (const name of ['house', 'give_way'])
			wanted[name] = values[name] || 'off';
		changed(await app.call('limits', wanted));
		app.notify(_('Saved. The limits count from now on.'));
	});
}

/* --- backup and restore --- */

function passphrase(name, kind) {
	return input(name, { type: 'password', required: true, autocomplete: kind });
}

function backup(app) {
	const second = passphrase('again', 'new-password');
	const first = passphrase('passphrase', 'new-password');
	second.addEventListener('input', () => second.setCustomValidity(''));
	return card(_('Backup'), 'key',
		h('p', { class: 'fs-help' }, _('Your node’s keys, its groups and settings in one file, locked by a passphrase. Without it a lost disk means joining every group anew. Keep it elsewhere.')),
		form(app, [field(_('Passphrase'), first), field(_('Passphrase again'), second)], _('Download a backup'),
			async (values, element) => {
				if (values.passphrase !== values.again) {
					second.setCustomValidity(_('The two are not the same.'));
					second.reportValidity();
					return;
				}
				await app.host.backup(values.passphrase);
				element.reset();
				app.notify(_('The backup is made. Keep the file and the passphrase apart.'));
			}));
}

function restore(app) {
	return card(_('Restore'), 'retry',
		h('p', { class: 'fs-help' }, _('Brings keys, groups and settings back from a backup, in the place of those here.')),
		form(app, [
			field(_('Backup file'), h('input', { type: 'file', name: 'file', required: true, class: 'fs-input' })),
			field(_('Passphrase'), passphrase('passphrase', 'off'))
		], _('Restore'), async (values, element) => {
			const isSure = await confirm(app, _('Put the backup in the place of this node?'),
				_('This node becomes the one of the backup. A node that both lives on elsewhere and is restored here breaks both.'),
				_('Restore'), 'fs-danger');
			if (!isSure)
				return;
			await app.host.restore(values.file, values.passphrase);
			element.reset();
			app.notify(_('Restored. FonShare starts again.'));
		}));
}

/* --- what else is set --- */

function others(app, scope) {
	const { settings } = app.host;
	if (settings) {
		const open = typeof settings === 'function'
			? button(app, _('All settings'), settings, { symbol: 'settings' })
			: h('a', { class: 'fs-button', href: settings }, _('All settings'));
		return card(_('More settings'), 'settings', h('div', { class: 'fs-actions' }, open));
	}
	const content = h('div');
	const element = card(_('All settings'), 'settings', content);
	set(element, 'hidden', true);

	async function showTable(refusal) {
		const rows = await app.call('settings');
		set(element, 'hidden', false);
		const help = _('They stand in the settings file; change them there and start the agent again.');
		replace(content, refusal ? words(refusal) : h('p', { class: 'fs-help' }, help), table(rows));
	}

	async function load() {
		try {
			if (!app.host.options) {
				await showTable(null);
				return;
			}
			replace(content);
			set(element, 'hidden', false);
			await settingsForm(app, scope, content, showTable);
		} catch (error) {
			if (error.code === 'usage')
				return; // an agent that does not tell them
			set(element, 'hidden', false);
			replace(content, failure(asError(error), load));
		}
	}

	load();
	return element;
}

function table(rows) {
	return h('div', { class: 'fs-scroll', tabindex: '0', role: 'region', 'aria-label': _('All settings') },
		h('table', { class: 'fs-settings' },
			h('thead', null, h('tr', null, [_('Setting'), _('Value')].map((label) => h('th', { scope: 'col' }, label)))),
			h('tbody', null, rows.map((row) => h('tr', null,
				h('th', { scope: 'row' }, h('code', null, foreign(row.name)), h('p', { class: 'fs-help' }, foreign(said(row.help || '')))),
				h('td', null, foreign(shown(row.value)), otherwise(row)))))));
}

/* What holds where nothing is set, if that is something else. */
function otherwise(row) {
	const preset = row.is_unset ? said(String(row.default)) : shown(row.default);
	if (row.default === undefined || row.default === null || preset === shown(row.value) || preset === '–')
		return null;
	return h('p', { class: 'fs-help' }, fill(_('else: %s'), visible(preset)));
}

function shown(value) {
	if (value === null || value === undefined || value === '' || (Array.isArray(value) && !value.length))
		return '–';
	if (value === true)
		return _('yes');
	if (value === false)
		return _('no');
	return Array.isArray(value) ? value.map(shown).join(', ') : String(value);
}
