/* Copies from one FTP server to another, neither of them this node's: they pass it by.

   Each is a process at the node, which goes on while nobody looks; passwords go there and
   are kept by nobody, so who tries again gives them again. */

import { foreign, h, keyed, replace, set, visible, write } from './dom.js';
import { notCopied, words } from './errors.js';
import { icon } from './icons.js';
import { describeJob, hasEnded, stateWord } from './jobs.js';
import { button, card, checkbox, confirm, field, form, input, openDialog, parting, progress, select } from './parts.js';
import { makeRates } from './rates.js';
import { _, fill, plural } from './words.js';

const LOOK_MS = 1500; // while one moves
const REST_MS = 15000; // while none does

/* Return the card of these copies, and of the wish for one. */
export function serversCard(app, scope) {
	const list = h('ul', { class: 'fs-jobs', 'aria-label': _('Copies between servers') });
	const clear = button(app, _('Clear the list'), () => act('fxp rm', 'all'), { symbol: 'close' });
	const element = card(_('From server to server'), 'line',
		h('p', { class: 'fs-help' }, _('A file or folder of one FTP server, copied to another: straight from there to there where both allow it. It goes on while this page is closed.')),
		list, h('div', { class: 'fs-actions' },
			button(app, _('Copy from server to server'), () => askToCopy(app, null, running.now), { symbol: 'add' }), clear));
	const rates = makeRates();
	let isMoving = false;
	const running = scope.renew(load, () => Math.floor(performance.now() / (isMoving ? LOOK_MS : REST_MS)), app.missed);

	async function load() {
		const rows = rates.note(await app.call('fxp ls'), performance.now());
		isMoving = rows.some((row) => !hasEnded(row));
		set(list, 'hidden', !rows.length);
		set(clear, 'hidden', !rows.some(hasEnded));
		keyed(list, rows.reverse(), (row) => row.id + row.entry + row.path, (row) => copyRow(app, row, act, running.now), (element, row) => element.update(row));
	}

	async function act(command, id) {
		await app.call(command, { id });
		running.now();
	}
	return element;
}

function copyRow(app, row, act, look) {
	const named = (label) => fill(label, visible(row.name));
	const bar = progress(named(_('Progress of %s')));
	const state = h('span', { class: 'fs-state' });
	const numbers = h('p', { class: 'fs-job-numbers' });
	const why = h('div', { class: 'fs-job-why', hidden: true });
	const stop = button(app, _('Stop'), async () => {
		if (await confirm(app, _('Stop this copy?'), [foreign(row.name), h('p', { class: 'fs-help' },
			_('What has arrived stays there. The same copy, begun again, goes on from it.'))], _('Stop the copy'), 'fs-danger'))
			await act('fxp stop', row.id);
	}, { symbol: 'pause', name: named(_('Stop %s')) });
	const retry = button(app, _('Try again'), () => askToCopy(app, row.wish, look), { symbol: 'retry', name: named(_('Try again: %s')) });
	const remove = button(app, _('Take off the list'), () => act('fxp rm', row.id),
		{ symbol: 'close', quiet: true, name: named(_('Take off the list: %s')) });
	const element = h('li', { class: 'fs-job' }, h('span', { class: 'fs-job-symbol' }, icon('line')),
		h('div', { class: 'fs-job-main' }, h('p', { class: 'fs-job-name' }, foreign(row.name)),
			h('p', { class: 'fs-help' }, _('From'), ' ', foreign(row.entry, 'fs-name fs-path')),
			h('p', { class: 'fs-help' }, _('To'), ' ', foreign(row.path, 'fs-name fs-path')),
			bar, h('p', { class: 'fs-job-line' }, state), numbers, why),
		h('div', { class: 'fs-job-tools' }, stop, retry, remove));
	let told = '';
	element.update = (now) => {
		const isOver = hasEnded(now);
		set(element, 'data-state', now.state);
		set(bar, 'hidden', isOver);
		bar.update(now.state === 'locating' ? null : now.size ? now.done_bytes / now.size : 0, describeJob(now));
		write(state, copyState(now));
		write(numbers, now.state === 'locating' ? '' : describeJob(now) + (now.files ? ' · ' + plural(now.files, _('%d file'), _('%d files')) : ''));
		set(stop, 'hidden', isOver);
		set(retry, 'hidden', !isOver || now.state === 'done');
		set(remove, 'hidden', !isOver);
		const key = JSON.stringify([now.error, now.failures, now.relayed, now.skipped]);
		if (key === told)
			return;
		told = key;
		replace(why, now.error ? words(now.error, advice(now.error)) : null, notes(now));
		set(why, 'hidden', !why.firstChild);
	};
	return element;
}

function copyState(row) {
	if (row.state === 'locating')
		return _('Signing in at both');
	return row.state === 'running' ? _('Being copied') : stateWord(row);
}

/* What to do about *error* here, where the agent names options of the command line. */
function advice({ code }) {
	switch (code) {
	case 'fxp.login':
		return _('Try again with the right ones.');
	case 'fxp.unreachable':
		return _('Check its address and your network, then try again.');
	case 'fxp.lost':
		return _('What has arrived is kept: try again, and it goes on from there.');
	case 'fxp.certificate':
		return _('No password was sent. If the server is yours, give the fingerprint of its certificate.');
	case 'fxp.forbidden':
		return _('Try again, and under More let the bytes pass this node.');
	case 'fxp.unprotected':
		return _('Try again, and under More let the bytes pass this node, or go without encryption.');
	case 'fxp.partial':
		return _('Delete it there, or try again and under More replace files that differ.');
	default:
		return '';
	}
}

/* What else is to be known of *row*: what was left out, and why. */
function notes(row) {
	return [row.relayed ? h('p', null, _('The bytes pass this node: the servers do not connect to each other.')) : null,
		row.skipped ? h('p', null, plural(row.skipped, _('%d is no file and was left out.'), _('%d are no files and were left out.'))) : null,
		notCopied(row, ({ error }) => words(error, advice(error)))];
}

/* --- the wish for one --- */

function askToCopy(app, before, begun) {
	const given = before || {};
	const [source, sourceLogin] = serverFields('source', _('From'), given.source,
		_('As ftps://USER@HOST/FOLDER; ftp:// only where the server knows no encryption.'));
	const [target, targetLogin] = serverFields('target', _('To'), given.target,
		_('A folder’s files go into this folder; a file gets this name.'));
	const pin = (name) => input(name, { value: given[name] || '', autocapitalize: 'off' });
	const relay = select('relay', [['auto', _('Where the servers forbid it otherwise')], ['always', _('Always')], ['never', _('Never')]], given.relay);
	const isSpecial = ['overwrite', 'plain_data', 'src_pin', 'dst_pin', 'ca'].some((name) => given[name]) || (given.relay || 'auto') !== 'auto';
	const dialog = openDialog(app, _('Copy from server to server'), form(app, [
		source, sourceLogin, target, targetLogin,
		h('details', { class: 'fs-more', open: isSpecial }, h('summary', null, _('More')),
			field(_('By way of this node'), relay, _('The bytes then pass here, and nothing is kept.')),
			checkbox('overwrite', 'yes', _('Replace files that differ there'), given.overwrite),
			checkbox('plain_data', 'yes', _('The bytes may go from server to server without encryption'), given.plain_data),
			field(_('Fingerprint of the first one’s certificate'), pin('src_pin'), _('SHA-256, where no authority vouches for it.')),
			field(_('Fingerprint of the second one’s certificate'), pin('dst_pin'), _('SHA-256, where no authority vouches for it.')),
			field(_('File of authorities'), pin('ca'), _('A PEM file at the node, in the place of the system’s.')))
	], _('Begin to copy'), async (values) => {
		await app.call('fxp start', wishOf(values));
		dialog.close();
		app.notify(_('It begins. You may close this page meanwhile.'));
		begun();
	}));
	set(dialog, 'data-dialog', 'servers');
}

/* Return the fields of one server: its address and its password. */
function serverFields(name, label, value, help) {
	const url = input(name, { required: true, autofocus: name === 'source', autocapitalize: 'off', inputmode: 'url', value: value || '' });
	const password = input(name + '_password', { type: 'password', autocomplete: 'off' });
	parting(url, password);
	return [field(label, url, help), field(fill(_('Password: %s'), label), password, _('Of the user in the address. It is kept nowhere.'))];
}

function wishOf(values) {
	const wish = { relay: values.relay, overwrite: values.overwrite === 'yes', plain_data: values.plain_data === 'yes' };
	for (const name of ['source', 'target', 'src_pin', 'dst_pin', 'ca']) {
		if (values[name].trim())
			wish[name] = values[name].trim();
	}
	for (const name of ['source_password', 'target_password']) {
		if (values[name])
			wish[name] = values[name];
	}
	return wish;
}
