/* The search: its field, its filters and the searches that are kept. */

import { foreign, h, replace, set, visible } from './dom.js';
import { icon } from './icons.js';
import { button, checkbox, field, form, input, openDialog, select } from './parts.js';
import { decode, encode } from './paths.js';
import { _, fill } from './words.js';

const TYPING_MS = 250; // a pause in typing: then it is searched
const MB = 1000000;
const DAY = 86400;

function choices() {
	return {
		kind: [['', _('Any kind')], ['audio', _('Music and sound')], ['video', _('Films')],
			['picture', _('Pictures')], ['document', _('Documents')]],
		min_size: [['', _('Any size')], [MB, _('Over 1 MB')], [100 * MB, _('Over 100 MB')],
			[1000 * MB, _('Over 1 GB')]],
		max_size: [['', _('No limit')], [MB, _('Under 1 MB')], [100 * MB, _('Under 100 MB')],
			[1000 * MB, _('Under 1 GB')], [4000 * MB, _('Under 4 GB')]],
		newer: [['', _('Any time')], [DAY, _('Last day')], [7 * DAY, _('Last week')],
			[30 * DAY, _('Last month')], [365 * DAY, _('Last year')]],
		older: [['', _('Any time')], [7 * DAY, _('A week')], [30 * DAY, _('A month')],
			[365 * DAY, _('A year')]],
		sort: [['relevance', _('Best first')], ['newest', _('Newest first')],
			['size', _('Largest first')], ['name', _('By name')]]
	};
}

const NUMBERS = new Set(['min_size', 'max_size', 'newer', 'older']);
const FILTERS = ['kind', 'group', 'member', 'sort', ...NUMBERS];

/* Return the field and its filters; *changed*(wish or null) is told after each pause. What
   is searched stands in the address behind *place*, as *asked* now: for coming back, and
   for loading the page again. */
export function searchBox(app, scope, { place, asked }, changed) {
	const kept = wishFrom(asked, app.filters);
	const box = h('input', {
		type: 'search', class: 'fs-input fs-search-input', 'aria-label': _('Search all groups'),
		placeholder: _('Search all groups'), autocomplete: 'off', spellcheck: 'false', enterkeyhint: 'search',
		'aria-keyshortcuts': '/'
	});
	box.value = kept.text;
	const count = h('span', { class: 'fs-count', hidden: true });
	const filters = filterFields(app, scope, kept, later);
	const toggle = h('button', {
		type: 'button', class: 'fs-button', 'aria-expanded': 'false', 'aria-controls': 'fs-filters',
		on: {
			click: () => {
				const isOpen = toggle.getAttribute('aria-expanded') !== 'true';
				set(toggle, 'aria-expanded', isOpen ? 'true' : 'false');
				set(filters.element, 'hidden', !isOpen);
			}
		}
	}, icon('filter'), h('span', { class: 'fs-wide-only' }, _('Filters')), count);
	set(toggle, 'aria-label', _('Filters'));
	const saved = savedSearches(app, kept, () => {
		box.value = kept.text;
		filters.fill();
		now();
	});
	let timer = null;

	function later() {
		clearTimeout(timer);
		timer = setTimeout(now, TYPING_MS);
	}

	function now() {
		clearTimeout(timer);
		kept.text = box.value;
		app.filters = kept.filters;
		const narrowed = Object.keys(kept.filters).filter((name) => name !== 'sort').length;
		set(count, 'hidden', !narrowed);
		replace(count, narrowed ? String(narrowed) : null);
		const wish = wishOf(kept);
		saved.offer(wish);
		if (!scope.isOver)
			app.mark(addressOf(place, wish));
		changed(wish);
	}

	box.addEventListener('input', later);
	scope.atEnd(() => clearTimeout(timer));
	scope.listen(document, 'keydown', (event) => {
		// Nowhere else: to who speaks to the computer a sign alone is a slip, not a wish.
		const isOnList = event.target.closest('.fs-table, .fs-tree');
		if (event.key === '/' && isOnList && !event.ctrlKey && !event.metaKey && !event.altKey) {
			event.preventDefault();
			box.focus();
			box.select();
		}
	});
	box.addEventListener('keydown', (event) => {
		if (event.key === 'Enter')
			now();
	});
	const element = h('form', { class: 'fs-search', role: 'search', on: { submit: (event) => event.preventDefault() } },
		h('div', { class: 'fs-search-line' }, icon('search', 'fs-icon fs-search-icon'), box, toggle),
		filters.element, saved.element);
	return { element, begin: now, clear() {
		box.value = '';
		now();
		box.focus();
	} };
}

/* The address of *place*, with what is searched there. */
function addressOf(place, wish) {
	if (!wish)
		return place ? 'files?' + encode(place) : 'files';
	const { words, ...filters } = wish;
	const asked = Object.entries({ q: words.join(' '), ...filters });
	return 'files?' + encode(place) + asked.map(([name, value]) => '&' + name + '=' + encode(String(value))).join('');
}

/* Return what the parts *asked* of an address say; *usual*: the filters where they say nothing. */
function wishFrom(asked, usual) {
	const told = new Map(asked.map((one) => one.split('=')).map(([name, value]) => [name, decode(value || '')]));
	if (!told.has('q'))
		return { text: '', filters: { ...usual } };
	const filters = told.has('online') ? { online: true } : {};
	for (const name of FILTERS) {
		const value = NUMBERS.has(name) ? Number(told.get(name)) : told.get(name);
		if (value)
			filters[name] = value;
	}
	return { text: told.get('q'), filters };
}

/* Return what `find` is asked, null while there is no word. */
function wishOf({ text, filters }) {
	const words = text.split(' ').filter(Boolean);
	if (!words.length)
		return null;
	return { words, ...filters };
}

function filterFields(app, scope, kept, changed) {
	const controls = {};
	const lists = choices();
	for (const name of Object.keys(lists))
		controls[name] = select(name, lists[name]);
	controls.group = select('group', [['', _('All groups')]]);
	controls.member = select('member', [['', _('Everybody')]]);
	const online = checkbox('online', 'yes', _('Only what is online now'), false);
	const labels = {
		kind: _('Kind'), group: _('Group'), member: _('Who'), min_size: _('At least'), max_size: _('At most'),
		newer: _('Changed'), older: _('Unchanged for'), sort: _('Order')
	};
	const element = h('div', { class: 'fs-filters', id: 'fs-filters', hidden: true },
		Object.keys(labels).map((name) => field(labels[name], controls[name])), online);
	let groups = [];

	function read() {
		const filters = {};
		for (const [name, control] of Object.entries(controls)) {
			if (control.value && !(name === 'sort' && control.value === 'relevance'))
				filters[name] = NUMBERS.has(name) ? Number(control.value) : control.value;
		}
		if (online.firstChild.checked)
			filters.online = true;
		kept.filters = filters;
	}

	function show() {
		for (const [name, control] of Object.entries(controls))
			control.value = kept.filters[name] === undefined ? (name === 'sort' ? 'relevance' : '')
				: String(kept.filters[name]);
		online.firstChild.checked = kept.filters.online === true;
	}

	app.status.follow(scope, (status) => {
		const key = JSON.stringify(status.groups.map((group) => [group.name,
			group.members.map((member) => [member.id, member.name])]));
		if (groups.key === key)
			return;
		groups = status.groups.slice();
		groups.key = key;
		const people = new Map(groups.flatMap((group) => group.members).map((one) => [one.id, one.name]));
		fillChoice(controls.group, _('All groups'), groups.map((group) => [group.name, group.name]));
		fillChoice(controls.member, _('Everybody'), [...people]);
		show();
	});
	element.addEventListener('change', () => {
		read();
		changed();
	});
	show();
	return { element, fill: show };
}

function fillChoice(control, all, options) {
	replace(control, [['', all], ...options].map(([value, label]) =>
		h('option', { value }, visible(label))));
}

/* The searches that are kept: one press searches again. */
function savedSearches(app, kept, chosen) {
	const chips = h('ul', { class: 'fs-chips', 'aria-label': _('Kept searches') });
	const keep = button(app, _('Keep this search'), () => ask(), { symbol: 'star' });
	set(keep, 'hidden', true);
	const element = h('div', { class: 'fs-saved' }, chips, keep);
	let wish = null;

	async function load() {
		const rows = await app.call('search ls');
		replace(chips, rows.map((row) => h('li', { class: 'fs-chip' },
			h('button', { type: 'button', on: { click: () => choose(row) } }, foreign(row.name)),
			button(app, _('Forget'), async () => {
				await app.call('search rm', { name: row.name });
				await load();
			}, { symbol: 'close', quiet: true, name: fill(_('Forget the search %s'), visible(row.name)) }))));
	}

	function choose(row) {
		kept.text = row.words.join(' ');
		kept.filters = {};
		for (const name of ['group', 'kind', 'min_size', 'max_size', 'newer', 'older']) {
			if (row[name] !== null)
				kept.filters[name] = row[name];
		}
		if (row.member_id)
			kept.filters.member = row.member_id;
		if (row.online)
			kept.filters.online = true;
		chosen();
	}

	function ask() {
		const values = { ...wish };
		delete values.sort; // an order is no part of what is kept
		const dialog = openDialog(app, _('Keep this search'), form(app, [
			h('p', { class: 'fs-help' }, _('What is new of it then stands on the overview.')),
			field(_('Name'), input('name', { required: true, value: values.words.join(' '), maxlength: '60' }))
		], _('Keep'), async ({ name }) => {
			await app.call('search save', { name, ...values });
			dialog.close();
			app.notify(_('Kept. What is new of it stands on the overview.'));
			await load();
		}));
	}

	load().catch((error) => app.missed(error));
	return {
		element,
		offer(now) {
			wish = now;
			set(keep, 'hidden', now === null);
		}
	};
}
