/* Overview: how the node is, who is there, what moves and what is new. */

import { append, foreign, h, keyed, replace, rewrite, set, write } from '../dom.js';
import { failure } from '../errors.js';
import { icon } from '../icons.js';
import { badge, button, card, confirm, empty, link, person, progress, shortId } from '../parts.js';
import { encode, placeOf } from '../paths.js';
import { describeJob, isMoving } from '../jobs.js';
import { wishesKey } from '../moved.js';
import { _, fill, list, number, percent, plural, rate, size } from '../words.js';

const HEALTH_S = 600; // `doctor` has friends knock at this node: not often
const NEWS_SHOWN = 5; // of each saved search
const MOVING_SHOWN = 4;

export function show(app, scope, page) {
	write(page.title, _('Overview'));
	const parts = [welcome(app), disk(), line(), friends(app), moving(app, scope)];
	append(page.content, [
		h('div', { class: 'fs-welcome-place' }, parts[0].element),
		h('div', { class: 'fs-grid' }, parts.slice(1).map((part) => part.element),
			news(app, scope), health(app, scope))
	]);
	app.status.follow(scope, (status) => {
		rewrite(page.title, foreign(status.node.name));
		for (const part of parts)
			part.update(status);
	});
}

/* Where there is no group yet: what to do first. */
function welcome(app) {
	const element = h('section', { class: 'fs-card fs-welcome', hidden: true },
		h('h2', null, _('Welcome to FonShare')),
		h('p', null, _('Share the disk at your router with friends, and theirs with you. Nobody in between.')),
		h('div', { class: 'fs-actions' },
			h('a', { class: 'fs-button fs-primary', href: app.href('wizard') }, _('Set it up')),
			h('a', { class: 'fs-button', href: app.href('join') }, _('I have an invite'))));
	return { element, update: (status) => set(element, 'hidden', status.groups.length > 0) };
}

function disk() {
	const bar = progress(_('Used space of the disk'));
	const figure = h('p', { class: 'fs-figure' });
	const text = h('p', { class: 'fs-help' });
	const shared = h('p', { class: 'fs-help' });
	const element = card(_('Disk'), 'disk', figure, bar, text, shared);
	function update({ disk: state, index }) {
		set(bar, 'hidden', !state.present);
		const problem = state.problem ? state.problem.message : '';
		element.classList.toggle('fs-is-bad', Boolean(problem));
		if (!state.present) {
			write(figure, _('Not there'));
			rewrite(text, foreign(problem));
			return;
		}
		const used = state.total_bytes - state.free_bytes;
		const share = state.total_bytes ? used / state.total_bytes : 0;
		bar.update(share, percent(share));
		bar.classList.toggle('fs-is-full', share > 0.95);
		write(figure, fill(_('%s free'), size(state.free_bytes)));
		rewrite(text, problem ? foreign(problem) : fill(_('of %s'), size(state.total_bytes)));
		write(shared, index.scanning ? _('Looking for what is new on it …')
			: plural(index.files, _('%d file known'), _('%d files known')) + ', ' + size(index.bytes));
	}
	return { element, update };
}

function line() {
	const figure = h('p', { class: 'fs-figure' });
	const text = h('p', { class: 'fs-help' });
	const element = card(_('Line'), 'line', figure, text);
	function update({ broker, node }) {
		write(figure, broker.connected ? _('Connected') : _('Not connected'));
		element.classList.toggle('fs-is-bad', !broker.connected);
		rewrite(text, broker.connected ? [_('Your node’s id:'), ' ', shortId(node.id)]
			: _('Friends cannot reach you. It keeps trying; see the health below.'));
	}
	return { element, update };
}

function friends(app) {
	const figure = h('p', { class: 'fs-figure' });
	const people = h('ul', { class: 'fs-people' });
	const element = card(_('Friends'), 'groups', figure, people);
	function update({ groups, node }) {
		const all = new Map();
		for (const group of groups) {
			for (const member of group.members) {
				if (member.id === node.id)
					continue;
				const known = all.get(member.id) || { ...member, online: false, groups: [] };
				known.online = known.online || member.online;
				known.groups.push(group.name);
				all.set(member.id, known);
			}
		}
		const rows = [...all.values()].sort((one, other) =>
			Number(other.online) - Number(one.online) || one.name.localeCompare(other.name));
		const online = rows.filter((row) => row.online).length;
		write(figure, rows.length ? fill(_('%s of %s online'), number(online), number(rows.length))
			: _('Nobody yet'));
		keyed(people, rows.slice(0, 8), (row) => [row.id, row.online, row.name, row.groups].join(' '), (row) =>
			h('li', null, h('a', { href: app.href('group?' + encode(row.groups[0])), class: 'fs-link' },
				person(row.name, row.online)), h('span', { class: 'fs-help' },
				foreign(row.groups.join(', ')))));
	}
	return { element, update };
}

function moving(app, scope) {
	const rows = h('ul', { class: 'fs-moving' });
	const figure = h('p', { class: 'fs-figure' });
	const text = h('p', { class: 'fs-help' });
	const element = card(_('Transfers'), 'transfers', figure, rows, text,
		h('p', null, link(app, 'transfers', _('All transfers'))));
	app.jobs.follow(scope, (jobs) => {
		const running = jobs.filter(isMoving);
		const total = running.reduce((sum, job) => sum + job.rate, 0);
		write(figure, !running.length ? _('Nothing moves') : total ? rate(total)
			: plural(running.length, _('%d arrives'), _('%d arrive')));
		keyed(rows, running.slice(0, MOVING_SHOWN), (job) => job.id, (job) => {
			const bar = progress(_('Progress'));
			const state = h('span', { class: 'fs-help' });
			const row = h('li', null, foreign(job.name, 'fs-name fs-cut'), bar, state);
			row.update = (now) => {
				bar.update(now.size ? now.done_bytes / now.size : null, describeJob(now));
				write(state, describeJob(now));
			};
			return row;
		}, (row, job) => row.update(job));
	});
	function update({ jobs }) {
		write(text, list([
			jobs.queued ? plural(jobs.queued, _('%d waits'), _('%d wait')) : '',
			jobs.done ? plural(jobs.done, _('%d is done'), _('%d done')) : ''
		].filter(Boolean)));
	}
	return { element, update };
}

/* What saved searches have found since they were last read. */
function news(app, scope) {
	const content = h('div');
	const element = card(_('What is new'), 'star', content);
	element.classList.add('fs-wide');
	let shown = '';
	const running = scope.renew(load, () => wishesKey(app), (error) => {
		shown = '';
		replace(content, failure(error, again));
	});

	function again() {
		running.now();
	}

	async function load() {
		const [saved, rows] = await Promise.all([app.call('search ls'),
			app.call('search new', { keep: true, limit: NEWS_SHOWN })]);
		const key = JSON.stringify([saved, rows]);
		if (key === shown)
			return;
		shown = key;
		if (!saved.length) {
			replace(content, empty('search', _('Be told what is new'),
				_('Search for something in Files and keep the search: what is new of it stands here.'),
				h('a', { class: 'fs-button', href: app.href('files') }, _('Search'))));
			return;
		}
		const found = saved.map((search) => [search, rows.filter((row) => row.search === search.name)]);
		const some = found.filter(([, hits]) => hits.length);
		replace(content, some.length ? some.map(([search, hits]) => section(search, hits))
			: h('p', { class: 'fs-help' }, _('Nothing since you last looked.')));
	}

	function section(search, hits) {
		return h('div', { class: 'fs-news' },
			h('div', { class: 'fs-news-head' }, h('h3', null, foreign(search.name)),
				button(app, _('Seen'), async () => {
					await app.call('search new', { name: search.name });
					await load();
				}, { symbol: 'ok', name: fill(_('Seen: what is new of %s'), search.name) })),
			h('ul', { class: 'fs-list' }, hits.map((row) => h('li', null, icon('file'),
				h('a', { class: 'fs-link', href: app.href('files?' + encode(folderOf(row))) },
					foreign(row.name)),
				h('span', { class: 'fs-help' }, size(row.size), ' · ', foreign(row.member)),
				row.own ? badge(_('yours')) : button(app, _('Get'), async () => {
					await app.call('get', { entries: [row.id] });
					app.notify(_('On its way.'), ' ', link(app, 'transfers', _('Transfers')));
				}, { symbol: 'get', name: fill(_('Get %s'), row.name), quiet: true })))));
	}
	return element;
}

function folderOf(row) {
	const place = placeOf(row);
	return place.slice(0, place.lastIndexOf('/'));
}

/* What `doctor` finds, each with what mends it at once where that is safe. */
function health(app, scope) {
	const content = h('div', null, h('p', { class: 'fs-help' }, _('Looking …')));
	const element = card(_('Health'), 'health', content);
	element.classList.add('fs-wide');
	scope.repeat(() => load(false), HEALTH_S, (error) => replace(content, failure(error, again)));

	function again() {
		load(true).catch((error) => replace(content, failure(error, again)));
	}

	async function load(isFresh) {
		const findings = await app.findings(isFresh);
		const wrong = findings.filter((one) => one.level !== 'ok');
		const order = ['error', 'warning'];
		wrong.sort((one, other) => order.indexOf(one.level) - order.indexOf(other.level));
		replace(content, wrong.length ? null : h('p', { class: 'fs-fine' }, icon('ok'), _('All is well.')),
			h('ul', { class: 'fs-findings' }, wrong.map((one) => finding(one))),
			findings.length > wrong.length ? h('details', null,
				h('summary', null, _('What was looked at')),
				h('ul', { class: 'fs-findings' }, findings.filter((one) => one.level === 'ok').map(finding))) : null,
			h('div', { class: 'fs-actions' }, button(app, _('Look again'), () => load(true), { symbol: 'retry' })));
	}

	function finding(one) {
		const words = { error: _('Error'), warning: _('Warning'), ok: _('Good') };
		return h('li', { class: 'fs-finding fs-is-' + one.level, 'data-code': one.code },
			icon(one.level), h('div', null,
				h('p', { class: 'fs-finding-what' }, h('span', { class: 'fs-unseen' }, words[one.level], ': '),
					foreign(one.message)),
				one.next ? h('p', { class: 'fs-help' }, foreign(one.next)) : null,
				remedy(app, one, again)));
	}
	return element;
}

function remedy(app, finding, again) {
	switch (finding.code) {
	case 'disk.wrong':
		return button(app, _('Take this disk'), async () => {
			if (await confirm(app, _('Take the disk that is plugged in?'),
				_('It becomes this node’s disk. What is on it stays there.'), _('Take this disk'))) {
				await app.call('disk adopt');
				again();
			}
		}, { kind: 'primary' });
	case 'share.held_back':
	case 'mirror.held_back':
		return button(app, _('They are deleted'), async () => {
			if (await confirm(app, _('Are these files deleted for good?'),
				_('Friends then see them no more. If the disk is only half there, say no.'),
				_('They are deleted'))) {
				await app.call('share confirm', { name: finding.thing });
				again();
			}
		});
	case 'share.missing':
	case 'share.no_group':
		return link(app, 'groups', _('See your shares'));
	case 'code.second_joiner':
		return link(app, 'groups', _('See your groups'));
	case 'backup.never':
		return link(app, 'settings', _('Make a backup'));
	default:
		return finding.level !== 'ok' && (finding.code.startsWith('broker') || finding.code === 'settings.warning')
			? link(app, 'settings', _('See the settings')) : null;
	}
}
