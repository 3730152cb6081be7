/* The page of FonShare: what frames it, and which page is shown.

   `mount(element, host)` shows it in *element* and returns what takes it away again. All
   that differs between LuCI and a browser elsewhere is in *host* (docs/page.md). Where one
   is, is in the address after `#`, so that going back and reloading work. */

import { h, replace, set, write } from './dom.js';
import { asError, isAway, isPassing, undone, words } from './errors.js';
import { watchHand } from './hand.js';
import { icon } from './icons.js';
import { feed, makeScope } from './live.js';
import { dress } from './look.js';
import { wishesKey } from './moved.js';
import { button } from './parts.js';
import { makeRates } from './rates.js';
import { speaking } from './told.js';
import { _, fill, number, plural, sentence, speakAs } from './words.js';
import { show as files } from './pages/files.js';
import { show as group } from './pages/group.js';
import { show as groups } from './pages/groups.js';
import { show as join } from './pages/join.js';
import { show as overview } from './pages/overview.js';
import { show as settings } from './pages/settings.js';
import { show as transfers } from './pages/transfers.js';
import { show as wizard } from './pages/wizard.js';

const PAGES = { overview, files, transfers, groups, group, join, settings, wizard };
const HOME = { group: 'groups', join: 'groups', wizard: 'overview' }; // where the menu stands
const STATUS_S = 1; // it says what has moved, so that nothing else is asked in vain
const JOBS_S = 1.5;
const NOTICE_S = 6;
const ARRIVALS_S = 20; // what arrives in so long is told at once
const FINDINGS_S = 300; // as long as a look at the node's health is good

export function mount(element, given) {
	const host = speaking(given);
	speakAs(host);
	const scope = makeScope();
	const frame = buildFrame(host);
	const app = buildApp(host, frame, scope);
	dress(frame.root, host, scope);
	restoreByHand(scope);
	replace(element, frame.root);
	showMenu(app, frame);
	let page = null;

	function turn() {
		if (page && (!ownsAddress() || window.location.hash === app.shown))
			return; // the address is of something else in LuCI, or here already
		closeDialogs(frame);
		if (page)
			page.end();
		app.shown = window.location.hash;
		const isFirst = page === null;
		page = makeScope();
		showPage(app, frame, page, isFirst);
	}

	app.turn = turn;
	scope.listen(window, 'hashchange', () => {
		app.isBack = true;
		turn();
	});
	scope.listen(frame.root, 'click', (event) => follow(app, event));
	app.status.follow(scope, (status) => frame.told(app, status));
	app.requests.follow(scope, (rows) => frame.asked(rows));
	turn();
	return () => {
		if (page)
			page.end();
		scope.end();
		frame.root.remove();
		if (host.kind === 'web')
			document.title = app.document;
	};
}

/* A link of ours leads there at once: what is typed or pressed next is on the page that
   it opens, not on the one that is left. */
function follow(app, event) {
	const anchor = event.target.closest('a[href^="#/"]');
	if (!anchor || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey)
		return;
	event.preventDefault();
	app.go(anchor.getAttribute('href').slice(2));
}

/* Each page goes back to where one was itself, when it has what was there. */
function restoreByHand(scope) {
	const { scrollRestoration } = window.history;
	window.history.scrollRestoration = 'manual';
	scope.atEnd(() => { window.history.scrollRestoration = scrollRestoration; });
}

function ownsAddress() {
	return window.location.hash === '' || window.location.hash.startsWith('#/');
}

/* Return {name, of} of the address: `#/files?PATH`, with the path still encoded. */
function route() {
	const [name, ...rest] = window.location.hash.replace('#/', '').split('?');
	return { name: PAGES[name] ? name : 'overview', of: rest.join('?') };
}

function buildFrame(host) {
	const frame = {
		menu: h('nav', { class: 'fs-menu', 'aria-label': _('FonShare') }),
		trouble: h('div', { class: 'fs-trouble', role: 'alert' }),
		alerts: h('div', { class: 'fs-alerts', role: 'alert' }),
		notices: h('div', { class: 'fs-notices', role: 'status', 'aria-live': 'polite' }),
		content: h('div', { class: 'fs-content' }),
		links: new Map()
	};
	frame.root = h('div', { class: 'fonshare', 'data-host': host.kind },
		frame.menu, frame.trouble, frame.alerts, frame.content, frame.notices);
	frame.told = (app, status) => {
		const moving = status.jobs.running + status.jobs.queued;
		count(frame.links.get('transfers'), moving, fill(_('%d under way'), number(moving)));
		if (app.done !== undefined && status.jobs.done > app.done)
			app.arrived(status.jobs.done - app.done);
		app.done = status.jobs.done;
	};
	frame.asked = (rows) => count(frame.links.get('groups'), rows.length,
		fill(_('Asking to join: %d'), number(rows.length)));
	return frame;
}

/* Show *value* beside an entry of the menu; nothing for zero. */
function count(entry, value, label) {
	write(entry.count, value ? number(value) : '');
	set(entry.count, 'hidden', !value);
	write(entry.said, value ? ', ' + label : '');
}

function showMenu(app, frame) {
	const entries = [['overview', 'home', _('Overview')], ['files', 'folder', _('Files')],
		['transfers', 'transfers', _('Transfers')], ['groups', 'groups', _('Groups')],
		['settings', 'settings', _('Settings')]];
	replace(frame.menu, h('ul', null, entries.map(([name, symbol, label]) => {
		const figure = h('span', { class: 'fs-count', 'aria-hidden': 'true', hidden: true });
		const said = h('span', { class: 'fs-unseen' });
		const anchor = h('a', { href: app.href(name) }, icon(symbol), h('span', null, label), figure, said);
		frame.links.set(name, { anchor, label, count: figure, said });
		return h('li', null, anchor);
	})));
}

function showPage(app, frame, page, isFirst) {
	const { name, of } = route();
	for (const [entry, { anchor }] of frame.links)
		set(anchor, 'aria-current', entry === (HOME[name] || name) ? 'page' : null);
	replace(frame.alerts);
	const title = h('h1', { class: 'fs-title', tabindex: '-1' });
	replace(frame.content, title);
	set(frame.content, 'data-page', name);
	try {
		PAGES[name](app, page, { of, title, content: frame.content });
	} catch (error) {
		app.fail(error);
	}
	const focused = document.activeElement;
	if (app.host.kind === 'web') {
		const entry = frame.links.get(name);
		document.title = [entry ? entry.label : title.textContent, app.document].join(' – ');
	}
	if (!isFirst && (focused === title || !frame.content.contains(focused))) {
		title.focus({ preventScroll: true });
		if (frame.root.getBoundingClientRect().top < 0)
			frame.root.scrollIntoView();
	}
}

/* What every page is given: commands, feeds, notices, where to go. */
function buildApp(host, frame, scope) {
	const hand = watchHand(scope);
	const app = {
		host, root: frame.root, rates: makeRates(), document: document.title,
		href: (address) => '#/' + address,
		go(address) {
			app.isBack = false;
			window.location.hash = '#/' + address;
			app.turn();
		},
		/* Name where one is, for a reload and for coming back, without going anywhere. */
		mark(address) {
			window.history.replaceState(window.history.state, '', '#/' + address);
			app.shown = window.location.hash;
		},
		async call(command, values) {
			try {
				const answer = await calmly(host.call(command, values || {}), hand);
				app.back();
				return answer;
			} catch (thrown) {
				const error = asError(thrown);
				if (isAway(error))
					app.away(error);
				throw error;
			}
		},
		/* Show *thrown*, which somebody waits for. */
		fail(thrown) {
			const error = asError(thrown);
			if (isAway(error))
				app.away(error);
			showAlert(frame, undone(error));
		},
		/* Show *thrown*, which met something that asks again by itself. */
		missed(thrown) {
			const error = asError(thrown);
			if (isAway(error))
				app.away(error);
			else if (!isPassing(error))
				showAlert(frame, error);
		},
		notify: (text, ...more) => showNotice(frame, scope, [text, more])
	};
	app.arrived = arrivals(app, scope);
	app.findings = keptFindings(app);
	app.away = (error) => showTrouble(app, frame, error);
	app.back = () => endTrouble(app, frame);
	app.status = feed(() => app.call('status'), STATUS_S, app.missed);
	app.jobs = feed(async () => app.rates.note(await app.call('jobs'), performance.now()), JOBS_S,
		app.missed);
	app.requests = feed(() => app.call('group requests'), () => wishesKey(app), app.missed);
	return app;
}

/* The answer *promise*, once no hand holds anything that it may move or make anew. */
async function calmly(promise, hand) {
	try {
		return await promise;
	} finally {
		while (hand())
			await hand();
	}
}

/* Return a function that says how many transfers more have arrived: once in a while,
   however many come. */
function arrivals(app, scope) {
	let count = 0, timer = null;

	function say() {
		timer = null;
		if (!count)
			return;
		app.notify(plural(count, _('A transfer has arrived.'), _('%d transfers have arrived.')));
		count = 0;
		timer = setTimeout(say, ARRIVALS_S * 1000);
	}

	scope.atEnd(() => clearTimeout(timer));
	return (more) => {
		count += more;
		if (timer === null)
			say();
	};
}

/* What `doctor` finds, asked anew only after a while or if *isFresh* is wanted. */
function keptFindings(app) {
	let findings = null, at = 0;
	return async (isFresh) => {
		if (isFresh || findings === null || performance.now() - at > FINDINGS_S * 1000) {
			findings = (await app.call('doctor')).findings.map((one) => ({ ...one, message: sentence(one.message) }));
			at = performance.now();
		}
		return findings;
	};
}

/* Say that nobody answers, until somebody does; the page stays as it was. */
function showTrouble(app, frame, error) {
	if (app.trouble === error.code)
		return;
	app.trouble = error.code;
	set(frame.root, 'data-trouble', error.code);
	replace(frame.trouble, icon('warning'), words(error, adviceOf(app, error)),
		error.code === 'session_expired' ? h('button', {
			type: 'button', class: 'fs-button', on: { click: () => window.location.reload() }
		}, _('Sign in')) : null,
		mayStart(app, error) ? button(app, _('Start FonShare'), async () => {
			await app.host.start();
			app.status.now();
		}, { symbol: 'resume' }) : null);
}

function mayStart(app, error) {
	return error.code === 'no_agent' && Boolean(app.host.start);
}

/* What to do about *error*, where somebody knows better than the page alone. */
function adviceOf(app, error) {
	if (app.host.kind === 'luci')
		return error.next;
	if (mayStart(app, error))
		return _('Started here it runs as long as this page’s program.');
	return error.code === 'no_agent' ? _('Start its service, or `fonshare agent`, where it is installed; this page then goes on by itself.') : '';
}

function endTrouble(app, frame) {
	if (!app.trouble)
		return;
	app.trouble = null;
	set(frame.root, 'data-trouble', null);
	replace(frame.trouble);
	app.status.now();
	// What could not be shown for want of an answer is asked for now.
	for (const failed of frame.content.querySelectorAll('.fs-empty[data-code] .fs-button'))
		failed.click();
}

/* A dialog belongs to the page that it was opened from: going back closes it. */
function closeDialogs(frame) {
	for (const dialog of frame.root.querySelectorAll('dialog[open]'))
		dialog.close('no');
}

/* All but the dialog on top is hidden from who does not see: what is said belongs there. */
function openDialogOf(frame) {
	return [...frame.root.querySelectorAll('dialog[open]')].pop() || null;
}

function showAlert(frame, error) {
	const dialog = openDialogOf(frame);
	const place = dialog ? dialog.querySelector('.fs-alerts') : frame.alerts;
	const key = [error.code, error.message, error.thing].join(' ');
	if (place.firstChild && place.firstChild.alertKey === key)
		return; // said already, and not yet read
	const alert = h('div', { class: 'fs-alert', 'data-code': error.code }, icon('error'), words(error),
		h('button', {
			type: 'button', class: 'fs-button fs-quiet', 'aria-label': _('Dismiss'),
			on: { click: () => alert.remove() }
		}, icon('close')));
	alert.alertKey = key;
	replace(place, alert);
	if (alert.getBoundingClientRect().top < 0)
		alert.scrollIntoView({ block: 'center' });
}

function showNotice(frame, scope, content) {
	const notice = h('div', { class: 'fs-notice' }, icon('ok'), h('div', null, content));
	const dialog = openDialogOf(frame);
	(dialog ? dialog.querySelector('.fs-dialog-notices') : frame.notices).append(notice);
	let timer = null;
	const wait = () => {
		timer = setTimeout(() => {
			if (notice.matches(':hover, :focus-within'))
				wait(); // somebody is at it
			else
				notice.remove();
		}, NOTICE_S * 1000);
	};
	wait();
	scope.atEnd(() => clearTimeout(timer));
}
