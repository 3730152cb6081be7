/* Who asks to join: shown wherever a group is, accepted only after a look at the words. */

import { foreign, h, keyed, set } from './dom.js';
import { sixWords } from './invite.js';
import { button, shortId } from './parts.js';
import { _, pieces } from './words.js';

/* Return the place of the requests to *group*, or to all groups. */
export function requests(app, scope, group) {
	const list = h('ul', { class: 'fs-requests' });
	const element = h('section', { class: 'fs-card fs-asking', hidden: true, 'aria-live': 'polite' },
		h('h2', { class: 'fs-card-title' }, _('Asking to join')), list);
	app.requests.follow(scope, (rows) => {
		const mine = rows.filter((row) => group === null || row.group === group);
		set(element, 'hidden', !mine.length);
		keyed(list, mine, (row) => row.group + '/' + row.id, (row) => request(app, row));
	});
	return element;
}

function request(app, row) {
	const answer = (command) => async () => {
		await app.call(command, { group: row.group, member: row.id });
		app.requests.now();
		app.status.now();
	};
	return h('li', { class: 'fs-request' },
		h('p', null, pieces(_('%s asks to join %s.'), [foreign(row.name, 'fs-name fs-strong'),
			foreign(row.group, 'fs-name fs-strong')]), ' ', shortId(row.id)),
		h('p', { class: 'fs-help' }, _('Ask your friend, on the phone for instance, for the six words. Accept only if they are the same as these:')),
		sixWords(row.words),
		h('div', { class: 'fs-actions' },
			button(app, _('Refuse'), answer('group refuse')),
			button(app, _('The words are the same: accept'), answer('group accept'), { kind: 'primary', symbol: 'ok' })));
}
