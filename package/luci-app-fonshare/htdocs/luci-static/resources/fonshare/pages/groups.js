/* Groups: which there are, who asks to join, and what is shared with whom. */

import { append, foreign, h, keyed, rewrite, set, write } from '../dom.js';
import { icon } from '../icons.js';
import { button, empty, field, form, input, openDialog } from '../parts.js';
import { encode } from '../paths.js';
import { requests } from '../requests.js';
import { shares } from '../shares.js';
import { _, fill, number, plural } from '../words.js';

export function show(app, scope, page) {
	write(page.title, _('Groups'));
	const list = h('ul', { class: 'fs-cards' });
	const nothing = empty('groups', _('No group yet'),
		_('A group is a circle of friends who share with each other. Make one and invite, or join with an invite.'));
	append(page.content, [
		h('div', { class: 'fs-actions' },
			button(app, _('New group'), () => create(app), { kind: 'primary', symbol: 'add' }),
			h('a', { class: 'fs-button', href: app.href('join') }, icon('key'), h('span', null, _('Join with an invite')))),
		requests(app, scope, null), list, nothing, shares(app, scope, null)]);
	app.status.follow(scope, (status) => {
		set(nothing, 'hidden', status.groups.length > 0);
		keyed(list, status.groups, (group) => group.name, (group) => card(app, group), (row, group) =>
			row.update(group, status.node.id));
	});
}

function card(app, group) {
	const text = h('p', { class: 'fs-help' });
	const faces = h('p', { class: 'fs-faces', 'aria-hidden': 'true' });
	const row = h('li', null, h('a', { class: 'fs-card fs-group', href: app.href('group?' + encode(group.name)) },
		h('span', { class: 'fs-group-name' }, foreign(group.name)), faces, text));
	row.update = (now, me) => {
		const online = now.members.filter((one) => one.online && one.id !== me).length;
		write(text, plural(now.members.length, _('%d member'), _('%d members')) + ' · '
			+ fill(_('%s online besides you'), number(online)));
		rewrite(faces, now.members.slice(0, 7).map((one) => h('span', {
			class: 'fs-face' + (one.online ? ' fs-is-on' : '')
		}, foreign(Array.from(one.name)[0] || '?'))));
	};
	return row;
}

/* Ask for a name and found a group. */
export function create(app, created) {
	const dialog = openDialog(app, _('New group'), form(app, [
		field(_('Name'), input('group', { required: true, maxlength: '64', autofocus: true }),
			_('For you alone: each friend may call it differently.'))
	], _('Make the group'), async ({ group }) => {
		await app.call('group create', { group: group.trim() });
		dialog.close();
		app.status.now();
		if (created)
			created(group.trim());
		else
			app.go('group?' + encode(group.trim()));
	}));
}
