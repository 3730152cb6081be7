/* Files: what friends offer, by friend or all together, and the search through it all. */

import { append, foreign, h, replace, rewrite, set, visible, write } from '../dom.js';
import { canGet, entryRow, idsOf, isPlace, showEntry } from '../entry.js';
import { asError, failure } from '../errors.js';
import { askToFollow, askToKeep, canFollow } from '../follows.js';
import { askToGet, get } from '../get.js';
import { folderListing, searchListing, wholeListing } from '../listing.js';
import { makeRest } from '../live.js';
import { filesKey } from '../moved.js';
import { button, empty } from '../parts.js';
import { askToRate, canRate } from '../ratings.js';
import { decode, encode, placeOf } from '../paths.js';
import { searchBox } from '../search.js';
import { togetherListing, togetherPlace } from '../together.js';
import { tree } from '../tree.js';
import { windowed } from '../window.js';
import { _, fill, number, plural, size } from '../words.js';

const BEST = '/'.repeat(2); // before a group or nothing, what is rated best there: no share is called so
const BEST_SHOWN = 200;
const AGAIN_MS = 3000; // then what could not be listed is asked for once more
const LEFT_KEPT = 8; // listings that one may come back to
const LEFT_ROWS = 50000; // of them together; the last is kept however long it is
const TICK_S = 0.5; // it is looked whether something in sight may be new, without asking anybody

export function show(app, scope, page) {
	write(page.title, _('Files'));
	const [at, ...asked] = page.of.split('&');
	const place = decode(at);
	const chosen = app.chosen || new Map();
	app.chosen = chosen;
	const bar = chosenBar(app, chosen, () => {
		for (const row of view.listing ? view.listing.rows : []) // a chosen row may be of another listing
			row.rating = chosen.has(row.id) ? chosen.get(row.id).rating : row.rating;
		table.update((row) => row.update());
	});
	const said = h('p', { class: 'fs-said', role: 'status' });
	const notHere = h('div');
	const view = { app, scope, place, said, notHere, turn: 0, againAt: Infinity, listing: null, wish: null, showsPath: false, rest: makeRest() };
	view.isChosen = (row) => chosen.has(row.id);
	view.toggle = (row) => {
		if (canGet(row) && !chosen.delete(row.id))
			chosen.set(row.id, row);
		bar.update();
		table.update((one) => one.update());
	};
	view.open = (row) => openRow(view, row);
	const table = windowed(scope, {
		label: _('Files and folders'), columns: columns(), make: (row) => entryRow(view, row),
		keyOf: (row) => row.id, open: view.open, toggle: view.toggle, more: () => more(view)
	});
	view.table = table;
	const search = searchBox(app, scope, { place, asked }, (wish) => look(view, wish));
	view.clear = search.clear;
	append(page.content, [search.element,
		h('div', { class: 'fs-files' + (isTogether(place) ? ' fs-is-together' : '') },
			isTogether(place) ? null : tree(app, scope, place),
			h('div', { class: 'fs-files-main' }, top(view), said, table.element, notHere)), bar.element]);
	bar.update();
	search.begin();
	scope.repeat(() => refresh(view), TICK_S, app.missed);
	scope.atEnd(() => keepLeft(view));
}

function isTogether(place) {
	return place.startsWith('/');
}

function isBest(place) {
	return place.startsWith(BEST);
}

/* Return the place of what *group* has rated best. */
export function bestOf(group) {
	return BEST + group;
}

function columns() {
	return [['fs-cell-box', _('Chosen'), true], ['fs-cell-name', _('Name')], ['fs-cell-size', _('Size')],
		['fs-cell-day', _('Changed')], ['fs-cell-from', _('From')]].map(([name, label, isUnseen]) =>
		h('div', { role: 'columnheader', class: name }, isUnseen ? h('span', { class: 'fs-unseen' }, label) : label));
}

/* Where one is, and the choice between the two trees. */
function top(view) {
	const { app, scope, place } = view;
	const crumbs = h('ol', { class: 'fs-crumbs' });
	const draw = () => rewrite(crumbs, crumbsOf(app, place));
	draw();
	if (!isTogether(place) && place.includes('/'))
		app.status.follow(scope, draw); // names of members
	const way = (address, label, isHere) => h('a', {
		href: app.href('files?' + encode(address)), class: 'fs-choice', 'aria-current': isHere ? 'true' : null
	}, label);
	view.top = h('div', { class: 'fs-files-top' },
		h('nav', { 'aria-label': _('Where you are') }, crumbs), followHere(app, scope, place),
		h('div', { class: 'fs-choices', role: 'group', 'aria-label': _('Show') },
			way('', _('By friend'), !isTogether(place)),
			way('/', _('All together'), isTogether(place) && !isBest(place)),
			way(BEST, _('Best rated'), isBest(place))));
	return view.top;
}

/* The buttons that follow or keep the open share or folder of a friend. */
function followHere(app, scope, place) {
	const parts = place.split('/');
	if (isTogether(place) || parts.length < 3)
		return null;
	const name = parts[parts.length - 1];
	const element = h('div', { class: 'fs-actions' },
		button(app, _('Follow'), () => askToFollow(app, name, [place]),
			{ symbol: 'star', name: fill(_('Follow %s'), visible(name)) }),
		button(app, _('Keep'), () => askToKeep(app, name, [place]),
			{ symbol: 'disk', name: fill(_('Keep %s'), visible(name)) }));
	app.status.follow(scope, (status) => set(element, 'hidden', status.node.id === parts[1]));
	return element;
}

function crumbsOf(app, place) {
	const isMerged = isTogether(place);
	const parts = place.split('/').filter(Boolean);
	const start = isBest(place) ? BEST : isMerged ? '/' : '';
	const steps = [[start, isBest(place) ? _('The best first') : isMerged ? _('All shares') : _('All groups')]];
	parts.forEach((part, at) => {
		const path = start + parts.slice(0, at + 1).join('/');
		steps.push([path, !isMerged && at === 1 ? memberName(app, parts[0], part) : part]);
	});
	return steps.map(([path, label], at) => h('li', null, at === steps.length - 1
		? h('span', { 'aria-current': 'page' }, foreign(label))
		: h('a', { href: app.href('files?' + encode(path)), class: 'fs-link' }, foreign(label))));
}

function memberName(app, group, id) {
	const status = app.status.latest;
	const found = status && status.groups.find((one) => one.name === group);
	const member = found && found.members.find((one) => one.id === id);
	return member ? member.name : id.slice(0, 7);
}

function openRow(view, row) {
	if (!isPlace(row)) {
		const { app } = view;
		showEntry(app, row, { get: () => get(app, [row]), choose: () => askToGet(app, [row]) },
			() => view.table.update((one) => one.update()));
		return;
	}
	const leads = isTogether(view.place) && !view.wish ? togetherPlace(row) : placeOf(row);
	view.app.go('files?' + encode(leads));
}

/* --- what is listed --- */

/* Show what *wish* finds, the place itself without one. */
function look(view, wish) {
	if (view.listing && JSON.stringify(wish) === JSON.stringify(view.wish))
		return;
	view.wish = wish;
	view.showsPath = wish !== null || isBest(view.place);
	set(view.top, 'hidden', wish !== null);
	begin(view);
}

async function begin(view) {
	view.turn += 1;
	view.againAt = Infinity;
	const turn = view.turn;
	const isStale = () => turn !== view.turn || view.scope.isOver;
	const left = takeLeft(view);
	set(view.table.element, 'aria-busy', 'true');
	write(view.said, view.wish ? _('Searching …') : _('Looking …'));
	try {
		const found = left ? left.listing : makeListing(view);
		await (left || found.more());
		if (isStale())
			return;
		view.listing = found;
		fillTable(view, (rows, isComplete) => view.table.show(rows, isComplete, true));
		if (left)
			view.table.goBack(left.whereabouts);
	} catch (thrown) {
		if (isStale())
			return;
		const error = asError(thrown);
		view.listing = null;
		view.againAt = error.code === 'not_found' ? Infinity : performance.now() + AGAIN_MS;
		view.table.show([], true, true);
		write(view.said, '');
		replace(view.notHere, failure(error, () => begin(view)));
		set(view.table.element, 'hidden', true);
	}
	set(view.table.element, 'aria-busy', null);
}

function bestWish(place) {
	const group = place.slice(BEST.length);
	return group ? { group, limit: BEST_SHOWN } : { limit: BEST_SHOWN };
}

function makeListing({ app, wish, place }) {
	const keyNow = () => filesKey(app);
	if (wish)
		return searchListing(app.call, wish, keyNow);
	if (isBest(place))
		return wholeListing(() => app.call('rate ls', bestWish(place)), keyNow);
	if (isTogether(place))
		return togetherListing(app, place);
	return folderListing(app.call, place, keyNow);
}

/* --- coming back --- */

/* Keep what is listed and where one was in it, for who comes back. */
function keepLeft({ app, listing, table }) {
	const left = app.left || new Map();
	app.left = left;
	left.delete(app.shown);
	if (listing)
		left.set(app.shown, { listing, whereabouts: table.whereabouts() });
	const rows = () => [...left.values()].reduce((sum, one) => sum + one.listing.rows.length, 0);
	while (left.size > LEFT_KEPT || (left.size > 1 && rows() > LEFT_ROWS))
		left.delete(left.keys().next().value); // the oldest
}

/* Return what was kept of this address, once, if one has come back to it. */
function takeLeft(view) {
	const { app } = view;
	const left = app.isBack && !view.hasBegun && app.left ? app.left.get(app.shown) : null;
	view.hasBegun = true;
	return left;
}

async function more(view) {
	const { listing, turn } = view;
	if (view.asked === listing)
		return;
	view.asked = listing;
	try {
		await listing.more();
		if (turn === view.turn && !view.scope.isOver)
			fillTable(view, (rows, isComplete) => view.table.show(rows, isComplete, false));
	} catch (error) {
		view.app.missed(error); // scrolling on asks again
	} finally {
		leave(view, listing);
	}
}

function leave(view, listing) {
	if (view.asked === listing)
		view.asked = null;
}

function fillTable(view, show) {
	const { rows, isComplete } = view.listing;
	const only = (kind) => rows.length > 0 && rows.every((row) => row.kind === kind);
	view.table.element.classList.toggle('fs-is-plain', only('group') || only('member') || only('share'));
	view.table.element.classList.toggle('fs-is-bare', only('group') || only('member'));
	set(view.table.element, 'hidden', !rows.length);
	show(rows, isComplete);
	write(view.said, counted(view, rows.length, isComplete));
	replace(view.notHere, rows.length ? null : nothing(view));
}

function counted(view, count, isComplete) {
	if (!count)
		return view.wish ? _('Nothing found.') : '';
	if (!isComplete)
		return fill(_('The first %s; more come as you scroll.'), number(count));
	return view.wish ? plural(count, _('%d found'), _('%d found')) : plural(count, _('%d entry'), _('%d entries'));
}

function nothing(view) {
	const { app, place, wish } = view;
	const parts = place.split('/').filter(Boolean);
	if (wish)
		return empty('search', _('Nothing found'), _('Try fewer or shorter words, or take filters away.'),
			button(app, _('Clear the search'), () => view.clear()));
	if (isBest(place))
		return empty('star', _('Nothing is rated yet'), _('Open a file and give it stars: what is rated best stands here.'));
	if (!parts.length)
		return empty('groups', _('No friends yet'), _('Files appear here once you are in a group.'),
			h('a', { class: 'fs-button fs-primary', href: app.href('wizard') }, _('Set it up')));
	if (parts.length === 2 && !isTogether(place)) {
		const status = app.status.latest;
		return status && status.node.id === parts[1]
			? empty('folder', _('You share nothing here yet'), _('Choose a folder of your disk for your friends.'),
				h('a', { class: 'fs-button fs-primary', href: app.href('group?' + encode(parts[0])) }, _('Share a folder')))
			: empty('folder', _('Nothing shared here yet'), _('What this friend shares with the group appears here.'));
	}
	return empty('folder', _('This folder is empty'), '');
}

/* See what is new of what is in sight; nothing moves under the reader. */
async function refresh(view) {
	const { listing, turn } = view;
	if (!listing && performance.now() > view.againAt)
		begin(view);
	if (!listing || view.asked === listing || view.rest.lasts())
		return;
	view.asked = listing;
	const isOver = () => turn !== view.turn || view.scope.isOver;
	let isOther = false;
	try {
		isOther = await view.rest.after(() => listing.renew(...view.table.sight()));
	} catch (error) {
		if (error.code !== 'not_found')
			throw error; // what is shown stays, and is looked at again
		if (!isOver())
			begin(view); // the place is gone: that is said in its stead
	} finally {
		leave(view, listing);
	}
	if (isOther && !isOver())
		fillTable(view, view.table.renew);
}

/* --- what is chosen --- */

function chosenBar(app, chosen, changed) {
	const text = h('p', { class: 'fs-chosen-text', role: 'status' });
	const clear = () => {
		chosen.clear();
		update();
		changed();
	};
	const place = (ask) => () => {
		const rows = [...chosen.values()];
		ask(app, rows.map((row) => row.name).join(', '), rows.flatMap(idsOf), clear);
	};
	const follow = button(app, _('Follow'), place(askToFollow), { symbol: 'star' });
	const keep = button(app, _('Keep'), place(askToKeep), { symbol: 'disk' });
	const rate = button(app, _('Rate'), () => askToRate(app, [...chosen.values()], () => {
		changed();
		clear();
	}), { symbol: 'star' });
	const element = h('div', { class: 'fs-chosen', hidden: true }, text,
		h('div', { class: 'fs-actions' },
			button(app, _('Clear'), clear, { symbol: 'close' }), follow, keep, rate,
			button(app, _('To a folder'), () => askToGet(app, [...chosen.values()], clear),
				{ symbol: 'folder', quiet: true }),
			button(app, _('Get'), async () => {
				await get(app, [...chosen.values()]);
				clear();
			}, { kind: 'primary', symbol: 'get' })));

	function update() {
		const rows = [...chosen.values()];
		const bytes = rows.reduce((sum, row) => sum + row.size, 0);
		set(element, 'hidden', !rows.length);
		set(follow, 'hidden', !canFollow(rows));
		set(keep, 'hidden', !canFollow(rows));
		set(rate, 'hidden', !canRate(rows));
		write(text, rows.length ? plural(rows.length, _('%d chosen'), _('%d chosen'))
			+ (bytes ? ' · ' + size(bytes) : '') : '');
	}
	return { element, update };
}
