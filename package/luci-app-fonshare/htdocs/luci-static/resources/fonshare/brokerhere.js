/* The broker on this very router, where the host can set one up: who has a login there. */

import { foreign, h, keyed, replace, set, visible } from './dom.js';
import { asError, failure } from './errors.js';
import { button, card, confirm, copyButton, field, form, input, openDialog } from './parts.js';
import { _, fill } from './words.js';

const LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789';
const LOGIN_MAX = 32;

/* Return the card of the logins of the broker here. */
export function brokerHereCard(app) {
	const list = h('ul', { class: 'fs-shares' });
	const trouble = h('div');
	const element = card(_('Broker on this router'), 'line',
		h('p', { class: 'fs-help' }, _('A broker is where a group’s nodes meet. This router can be one, if friends reach it from outside; each group has its own login there.')),
		list, trouble, h('div', { class: 'fs-actions' },
			button(app, _('Add a login'), () => askForLogin(app, load), { symbol: 'add' })));

	async function load() {
		try {
			const rows = await app.host.broker.ls();
			replace(trouble);
			set(list, 'hidden', !rows.length);
			keyed(list, rows, (row) => row.name, (row) => h('li', { class: 'fs-share' },
				h('div', { class: 'fs-share-text' }, foreign(row.name, 'fs-name fs-strong')),
				button(app, _('Take it away'), () => remove(row.name),
					{ symbol: 'close', quiet: true, name: fill(_('Take the login %s away'), visible(row.name)) })));
		} catch (error) {
			replace(trouble, failure(explained(error), load));
		}
	}

	async function remove(name) {
		if (!await confirm(app, _('Take this login away?'), [foreign(name), h('p', { class: 'fs-help' },
			_('A group that meets here by it loses this broker. With the last login the broker itself goes.'))], _('Take it away'), 'fs-danger'))
			return;
		await asking(() => app.host.broker.rm(name));
		await load();
	}

	load();
	return element;
}

function askForLogin(app, added) {
	const name = input('name', { required: true, maxlength: String(LOGIN_MAX), autofocus: true, autocapitalize: 'off' });
	const port = input('port', { type: 'number', min: '1', max: '65535', placeholder: '8883', inputmode: 'numeric' });
	const dialog = openDialog(app, _('Add a login'), form(app, [
		field(_('Name'), name, _('The group’s, for instance: letters, digits, dots and dashes.')),
		field(_('This router’s address'), addressField(), addressHelp()),
		h('details', { class: 'fs-more' }, h('summary', null, _('More')),
			field(_('Port'), port, _('Where the broker listens; the firewall is opened for it.')))
	], _('Add the login'), async (values) => {
		const { url } = await addLogin(app, values.name.trim(), values.address, Number(values.port));
		dialog.close();
		await added();
		showAddress(app, url);
	}));
}

export function addressField() {
	return input('address', { autocapitalize: 'off', inputmode: 'url' });
}

export function addressHelp() {
	return _('The name or address by which friends reach this router. Empty: the public name of the settings.');
}

/* Give *name* a login; resolves to its {url}. */
export function addLogin(app, name, address, port) {
	const wish = { name };
	if (address.trim())
		wish.address = address.trim();
	if (port)
		wish.port = port;
	return asking(() => app.host.broker.add(wish));
}

/* Return a login's name that is like *group*: a broker knows no accents. */
export function loginFor(group) {
	const plain = Array.from(group.normalize('NFD')).filter((sign) => sign < '\u0300' || sign > '\u036f');
	const text = plain.map((sign) => (LETTERS.includes(sign) || '._-'.includes(sign) ? sign : '-')).join('').slice(0, LOGIN_MAX);
	return LETTERS.includes(text.charAt(0)) ? text : ('group' + text).slice(0, LOGIN_MAX);
}

function showAddress(app, url) {
	const shown = h('textarea', { class: 'fs-input', readonly: true, rows: '4', spellcheck: 'false' });
	shown.value = url;
	openDialog(app, _('The login’s address'), [
		field(_('Address'), shown, _('It holds the password and is shown this once. Give it to a group under its brokers; the first one is also where new groups are made, if there was none.')),
		h('div', { class: 'fs-actions' }, copyButton(app, url, shown))]);
}

async function asking(work) {
	try {
		return await work();
	} catch (error) {
		throw explained(error);
	}
}

/* The error *thrown*, with what to do about it here and not on a terminal. */
function explained(thrown) {
	const error = asError(thrown);
	if (error.code === 'not_found' && error.thing === 'mosquitto')
		return { ...error, message: _('Mosquitto is not installed on this router.'), thing: '', next: _('Install mosquitto-ssl under System, Software.') };
	if (error.code === 'usage' && error.thing === 'address')
		return { ...error, message: _('Friends need an address to reach this router.'), thing: '', next: _('Give one here, or a public name in the settings.') };
	if (error.code === 'exists' && error.thing.endsWith('.conf'))
		return { ...error, message: _('Mosquitto on this router has settings of its own.'), thing: '', next: _('Add a login there, and give its address to the group.') };
	return error;
}
