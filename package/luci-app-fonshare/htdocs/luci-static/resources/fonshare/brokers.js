/* The brokers that a group lives on: seen by all, changed by its admins. */

import { addLogin, addressField, addressHelp, loginFor } from './brokerhere.js';
import { foreign, h, keyed, set, visible } from './dom.js';
import { asError, isAway } from './errors.js';
import { button, card, confirm, field, form, input, openDialog } from './parts.js';
import { _, fill } from './words.js';

const TRIES = 60;
const TRY_MS = 1000;

/* Return the card of the brokers of *group*; `update(brokers, mayManage)` shows them. */
export function brokersCard(app, group) {
	const list = h('ul', { class: 'fs-shares' });
	const add = button(app, _('Add a broker'), () => askForBroker(app, group), { symbol: 'add' });
	const element = card(_('Brokers'), 'line',
		h('p', { class: 'fs-help' }, _('Where the group’s nodes meet. They see who talks when, nothing else. Each member uses all of them, so the group goes on while one is away.')),
		list, h('div', { class: 'fs-actions' }, add));

	function update(brokers, mayManage) {
		set(add, 'hidden', !mayManage);
		const mayRemove = mayManage && brokers.length > 1;
		keyed(list, brokers, (url) => url + mayRemove, (url) => h('li', { class: 'fs-share' },
			h('div', { class: 'fs-share-text' }, foreign(url, 'fs-name fs-path')),
			mayRemove ? button(app, _('Leave this broker'), () => remove(url),
				{ symbol: 'close', quiet: true, name: fill(_('Leave the broker %s'), visible(url)) }) : null));
	}

	async function remove(url) {
		if (await confirm(app, _('Leave this broker?'), [foreign(url), h('p', { class: 'fs-help' },
			_('Who has not heard of another one of the group’s brokers yet loses touch.'))], _('Leave the broker'), 'fs-danger')) {
			await app.call('group broker', { group, action: 'remove', url });
			app.status.now();
		}
	}
	return { element, update };
}

function askForBroker(app, group) {
	const added = () => {
		dialog.close();
		app.status.now();
		app.notify(_('Added. The members hear of it now.'));
	};
	const add = (url) => app.call('group broker', { group, action: 'add', url });
	const elsewhere = form(app, [
		field(_('Address'), input('url', { required: true, autofocus: true, autocapitalize: 'off', inputmode: 'url' }),
			_('As mqtts://USER:PASSWORD@HOST:8883. All members get it, with its password.'))
	], _('Add the broker'), async ({ url }) => {
		await add(url.trim());
		added();
	});
	let made = null; // a login that is there already, should the rest have failed
	const here = app.host.broker ? h('details', { class: 'fs-more' }, h('summary', null, _('Or this router')),
		form(app, [field(_('This router’s address'), addressField(), addressHelp())], _('Have this router be it'), async ({ address }) => {
			made = made || await addLogin(app, loginFor(group), address, 0);
			await patiently(() => add(made.url));
			added();
		})) : null;
	const dialog = openDialog(app, _('Add a broker'), [elsewhere, here]);
}

/* Do *work* once the node answers: the first login here has it started again. */
async function patiently(work) {
	for (let left = TRIES; ; left -= 1) {
		try {
			return await work();
		} catch (error) {
			if (!isAway(asError(error)) || !left)
				throw error;
		}
		await new Promise((resolve) => setTimeout(resolve, TRY_MS));
	}
}
