/* One group: its members, invites, shares, and the way out. */

import { brokersCard } from '../brokers.js';
import { append, foreign, h, keyed, replace, rewrite, set, visible, write } from '../dom.js';
import { icon } from '../icons.js';
import { invite } from '../invite.js';
import { badge, button, card, confirm, link, person, shortId, swap } from '../parts.js';
import { decode, encode } from '../paths.js';
import { requests } from '../requests.js';
import { shares } from '../shares.js';
import { _, ago, fill } from '../words.js';
import { bestOf } from './files.js';

export function show(app, scope, page) {
	const group = decode(page.of);
	replace(page.title, foreign(group));
	const members = h('ul', { class: 'fs-members' });
	const gone = h('p', { class: 'fs-empty', hidden: true }, _('This node is not in that group.'), ' ',
		link(app, 'groups', _('All groups')));
	const view = { app, group, role: null, me: '' };
	const inviting = inviteCard(view), brokers = brokersCard(app, group);
	const content = h('div', { class: 'fs-grid' },
		card(_('Members'), 'groups', members), inviting.element, shares(app, scope, group),
		brokers.element, leaveCard(view));
	append(page.content, [
		h('p', { class: 'fs-actions' }, link(app, 'groups', _('All groups')),
			h('a', { class: 'fs-button', href: app.href('files?' + encode(group)) }, icon('folder'),
				h('span', null, _('Browse its files'))),
			h('a', { class: 'fs-button', href: app.href('files?' + encode(bestOf(group))) }, icon('star'),
				h('span', null, _('Best rated')))),
		requests(app, scope, group), gone, content]);

	app.status.follow(scope, (status) => {
		const found = status.groups.find((one) => one.name === group);
		view.me = status.node.id;
		set(gone, 'hidden', Boolean(found));
		set(content, 'hidden', !found);
		if (found) {
			const mine = found.members.find((row) => row.id === view.me);
			view.role = mine ? mine.role : null;
			inviting.update();
			brokers.update(found.brokers || [], mayManage(view));
			draw(found.members);
		}
	});

	function draw(rows) {
		const sorted = rows.slice().sort((one, other) => Number(other.online) - Number(one.online)
			|| one.name.localeCompare(other.name));
		keyed(members, sorted, (row) => [row.id, row.name, view.role, view.me].join(' '),
			(row) => memberRow(view, row), (element, row) => element.update(row));
	}
}

function mayManage(view) {
	return view.role === 'creator' || view.role === 'admin';
}

function memberRow(view, row) {
	const { app, group } = view;
	const isMe = row.id === view.me;
	const who = h('span');
	const presence = h('span');
	const managing = !isMe && mayManage(view) ? manage(view, row) : null;
	const element = h('li', { class: 'fs-member' },
		h('div', { class: 'fs-member-text' }, who,
		h('span', { class: 'fs-help' }, shortId(row.id), ' ', presence)),
		h('div', { class: 'fs-actions' },
			link(app, 'files?' + encode(group + '/' + row.id), _('Files')),
			managing ? managing.element : null));
	element.update = (now) => {
		rewrite(who, person(now.name, now.online, isMe ? [' ', badge(_('you'), 'own')] : null,
			now.role === 'member' ? null : [' ', badge(now.role === 'creator' ? _('creator') : _('admin'))]));
		write(presence, presenceOf(now));
		if (managing)
			managing.update(now);
	};
	element.update(row);
	return element;
}

function presenceOf(row) {
	if (row.online)
		return _('online');
	return row.last_seen ? fill(_('last seen %s'), ago(row.last_seen)) : _('offline');
}

function manage({ app, group }, row) {
	const change = (command) => async () => {
		await app.call(command, { group, member: row.id });
		app.status.now();
	};
	const named = (label) => fill(label, visible(row.name));
	const name = button(app, _('Make admin'), async () => {
		if (await confirm(app, _('Make an admin of this member?'),
			[foreign(row.name), h('p', { class: 'fs-help' }, _('An admin may invite and remove others.'))], _('Make admin')))
			await change('group admin')();
	}, { name: named(_('Make admin: %s')) });
	const unname = button(app, _('Take admin back'), change('group unadmin'), { name: named(_('Take admin back: %s')) });
	const element = h('details', { class: 'fs-more' }, h('summary', { 'aria-label': named(_('More for %s')) }, _('More')),
		h('div', { class: 'fs-actions' }, name, unname,
			button(app, _('Remove'), async () => {
				if (await confirm(app, _('Remove this member from the group?'), [foreign(row.name),
					h('p', { class: 'fs-help' }, _('What they have fetched stays with them; they see nothing new.'))],
				_('Remove'), 'fs-danger'))
					await change('group remove')();
			}, { kind: 'danger', name: named(_('Remove %s')) })));

	function update({ role }) {
		if (role === 'member')
			swap(name, unname);
		else
			swap(unname, name);
	}
	return { element, update };
}

function inviteCard(view) {
	const { app, group } = view;
	const can = h('div', null,
		h('p', { class: 'fs-help' }, _('One invite lets one friend in. You see who asks before you accept.')),
		h('div', { class: 'fs-actions' },
			button(app, _('Invite a friend'), () => invite(app, group, false), { kind: 'primary', symbol: 'add' }),
			button(app, _('Invite without asking'), async () => {
				if (await confirm(app, _('Let the first who comes in without a question?'),
					_('Only if the code reaches your friend alone: it works for 15 minutes, for whoever uses it first.'),
					_('Make the invite')))
					await invite(app, group, true);
			})));
	const cannot = h('p', { class: 'fs-help', hidden: true }, _('Only the admins of this group can invite.'));
	const update = () => {
		const isRefused = view.role !== null && !mayManage(view);
		set(can, 'hidden', isRefused);
		set(cannot, 'hidden', !isRefused);
	};
	return { element: card(_('Invite'), 'add', can, cannot), update };
}

function leaveCard({ app, group }) {
	return card(_('Leave'), 'close',
		h('p', { class: 'fs-help' }, _('What you have fetched stays on your disk.')),
		h('div', { class: 'fs-actions' }, button(app, _('Leave the group'), async () => {
			if (await confirm(app, _('Leave this group?'), [foreign(group), h('p', { class: 'fs-help' },
				_('Its files are no longer shown here and its transfers end. To come back you need a new invite.'))],
			_('Leave the group'), 'fs-danger')) {
				await app.call('group leave', { group });
				app.status.now();
				app.go('groups');
			}
		}, { kind: 'danger' })));
}
