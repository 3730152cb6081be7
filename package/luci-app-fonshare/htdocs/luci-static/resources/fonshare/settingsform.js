/* All settings as a form, where the host can change the file that they stand in.

   Only what was changed is sent. What is wrong is said at its field; what is saved counts
   once FonShare has started again, which is offered. Knows no option by its name. */

import { complaining, complainingOf, summaryLine } from './complaints.js';
import { append, foreign, h, replace, visible } from './dom.js';
import { icon } from './icons.js';
import { button, confirm, field, form, input, select } from './parts.js';
import { _, fill, said } from './words.js';

const LOOK_S = 4; // whether the agent has taken them
const LOGINS = 'user'; // the section of logins

/* Fill *content* with the form; *instead*(refusal) shows what cannot be changed. */
export async function settingsForm(app, scope, content, instead) {
	const told = await app.host.options.read();
	if (told.refusal) {
		instead(told.refusal);
		return;
	}
	const news = h('div', { class: 'fs-saved', role: 'status' });
	const place = h('div');
	const state = { told, isStarting: false, movesPage: false };
	append(content, [news, place]);

	async function look() {
		state.told = await app.host.options.read();
		showNews(app, news, state, watch);
	}

	const watch = scope.repeat(look, LOOK_S, app.missed);
	draw(app, place, state, () => watch.now());
}

function draw(app, place, state, saved) {
	const fields = state.told.options.map(optionField);
	const logins = loginFields(app, state.told.logins);
	const opened = [...place.querySelectorAll('details[open]')].map((one) => one.getAttribute('data-section'));
	const summary = summaryLine();
	const sections = state.told.sections.map((section) => {
		const own = fields.filter((one) => one.section === section.name);
		const content = section.name === LOGINS ? logins.element : own.map((one) => one.element);
		return section.name === LOGINS || own.length
			? h('details', { 'data-section': section.name, open: opened.includes(section.name) }, h('summary', null, said(section.title)), h('div', { class: 'fs-form' }, content)) : null;
	});
	replace(place, h('p', { class: 'fs-help' }, fill(_('They stand in the file %s; what is changed here is written there.'),
		visible(state.told.file))),
	form(app, [sections, summary], _('Save the settings'), async () => {
		const wish = wished(fields, logins);
		if (!Object.keys(wish.options).length && !wish.logins) {
			app.notify(_('Nothing was changed.'));
			return;
		}
		if (!await mayChange(app, fields.filter((one) => one.caution && one.name in wish.options)))
			return;
		if (await save(app, state, [...fields, ...logins.parts()], wish, summary)) {
			saved();
			draw(app, place, state, saved);
		}
	}));
}

/* Ask about each of *fields*, whose change has more to it than is seen. */
async function mayChange(app, fields) {
	for (const one of fields) {
		const isSure = await confirm(app, fill(_('Change this: %s?'), said(one.title)), h('p', null, said(one.caution)), _('Change it'), 'fs-danger');
		if (!isSure)
			return false;
	}
	return true;
}

/* Have *wish* written; false if something in it is wrong, which is said where it stands. */
function save(app, state, parts, wish, summary) {
	return complainingOf(parts, summary, async () => {
		const done = await app.host.options.save(wish);
		app.notify(_('Saved.'));
		state.movesPage = state.movesPage || done.moves_page;
		state.told = await app.host.options.read();
		return true;
	});
}

/* What was changed, as the host wants it. */
function wished(fields, logins) {
	const options = {};
	for (const one of fields) {
		const value = one.read();
		if (JSON.stringify(value) !== one.before)
			options[one.name] = value;
	}
	const rows = logins.read();
	return rows ? { options, logins: rows.logins, password: rows.password } : { options };
}

/* --- what counts, and what not yet --- */

function showNews(app, news, state, watch) {
	const { pending } = state.told;
	const isWaiting = pending !== null && pending.length > 0;
	if (state.isStarting && pending !== null && !pending.length)
		state.isStarting = false;
	const kind = state.isStarting ? 'starting' : isWaiting ? 'waiting' : pending === null ? 'off' : '';
	if (news.kind === kind + state.movesPage)
		return;
	news.kind = kind + state.movesPage;
	const line = (text, ...more) => h('div', { class: 'fs-finding fs-is-warning' }, icon('warning'), h('div', null, h('p', null, text), more));
	replace(news, kind === 'starting' ? line(_('FonShare is starting again.')) : null,
		kind === 'waiting' ? line(_('What is saved counts once FonShare has started again. Transfers go on where they were.'),
			h('div', { class: 'fs-actions' }, button(app, _('Start FonShare again'), async () => {
				await app.call('restart');
				state.isStarting = true;
				watch.now();
			}, { kind: 'primary', symbol: 'retry' }))) : null,
		kind === 'off' ? line(_('FonShare is not running: what is saved counts when it is started.')) : null,
		state.movesPage ? line(_('Where this page is served counts once `fonshare web` is started again.')) : null);
}

/* --- one option --- */

function optionField(row) {
	const make = { flag: flagField, choice: choiceField, list: listField }[row.widget] || textField;
	const part = make(row);
	part.name = row.name;
	part.section = row.section;
	part.title = row.title;
	part.caution = row.caution;
	part.before = JSON.stringify(part.read());
	return complaining(part);
}

function flagField(row) {
	const isOn = row.value === null ? row.default === true : row.value === true;
	const control = h('input', { type: 'checkbox', name: row.name, id: 'fs-option-' + row.name, checked: isOn });
	const element = h('div', { class: 'fs-field' },
		h('label', { class: 'fs-check' }, control, h('span', null, said(row.title))), h('p', { class: 'fs-help' }, said(row.help)));
	return { element, control, read: () => control.checked };
}

function choiceField(row) {
	const control = select(row.name, row.choices.map((word) => [word, said(word)]), String(row.value === null ? row.default : row.value));
	return { element: field(said(row.title), control, said(row.help)), control, read: () => control.value };
}

function listField(row) {
	const lines = Array.isArray(row.value) ? row.value : row.value === null ? [] : [String(row.value)];
	const control = h('textarea', {
		name: row.name, class: 'fs-input', rows: String(Math.max(2, lines.length + 1)), spellcheck: 'false', autocomplete: 'off',
		placeholder: (row.default || []).join('\n')
	});
	control.value = lines.join('\n');
	const read = () => {
		const found = control.value.split('\n').map((line) => line.trim()).filter(Boolean);
		return found.length ? found : null;
	};
	return { element: field(said(row.title), control, [said(row.help), ' ', _('One in each line.')]), control, read };
}

function textField(row) {
	const otherwise = row.default === null || row.default === undefined ? '' : row.is_unset ? said(String(row.default)) : String(row.default);
	const control = input(row.name, {
		value: row.value === null ? '' : String(row.value), placeholder: otherwise,
		inputmode: row.is_number ? 'numeric' : 'text'
	});
	return { element: field(said(row.title), control, said(row.help)), control, read: () => control.value.trim() || null };
}

/* --- logins --- */

function loginFields(app, logins) {
	const list = h('div', { class: 'fs-form' });
	const rows = [];
	const own = input('password', { type: 'password', autocomplete: 'current-password' });
	const proof = complaining({
		name: 'password', control: own,
		element: field(_('Your present password'), own, _('Needed to change logins. Afterwards other browsers sign in again.'))
	});
	const begin = (login) => {
		const row = loginRow(app, login, () => {
			rows.splice(rows.indexOf(row), 1);
			row.element.remove();
		});
		rows.push(row);
		list.append(row.element);
		return row;
	};
	logins.forEach((login) => begin({ ...login, was: login.name }));
	const before = JSON.stringify(rows.map((row) => row.read()));
	const add = button(app, _('Add a login'), () => begin({ was: null, name: '', access: 'read' }).control.focus(), { symbol: 'add' });
	return {
		element: [list, h('div', { class: 'fs-actions' }, add), proof.element],
		read() {
			const now = rows.map((row) => row.read());
			return JSON.stringify(now) === before ? null : { logins: now, password: own.value };
		},
		/* Where something may be wrong: each row as the agent calls it, all together, the proof. */
		parts() {
			rows.forEach((row, at) => { row.name = 'ftp.users[' + at + ']'; });
			return [...rows, { ...proof, name: 'ftp.users' }, proof].filter((part) => part.control.isConnected);
		}
	};
}

function loginRow(app, login, gone) {
	const name = input('login', { value: login.name, autocapitalize: 'none' });
	const access = select('access', [['read', _('may read')], ['write', _('may read and write')]], login.access);
	const password = input('login-password', {
		type: 'password', autocomplete: 'new-password', placeholder: login.was === null ? '' : _('as it is')
	});
	const element = h('fieldset', { class: 'fs-login' }, h('legend', { class: 'fs-unseen' }, _('Login'), ' ', foreign(login.name)),
		field(_('Login'), name), field(_('Access'), access), field(_('Password'), password),
		h('div', { class: 'fs-actions' }, button(app, _('Take it away'), gone,
			{ symbol: 'close', name: login.name ? fill(_('Take the login %s away'), visible(login.name)) : _('Take it away') })));
	return complaining({
		element, control: name,
		read: () => ({ was: login.was, name: name.value.trim(), access: access.value, password: password.value || (login.was === null ? '' : null) })
	});
}
