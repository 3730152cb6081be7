/* An invite to give away: as a code, as a link and as a picture for a phone's camera. */

import { foreign, h, replace } from './dom.js';
import { failure, asError } from './errors.js';
import { copyButton, openDialog } from './parts.js';
import { _, fill } from './words.js';

const SCHEME = 'FONSHARE:'; // capitals make a smaller picture; read in either

/* Make an invite to *group* and show it. */
export async function invite(app, group, acceptFirst) {
	const { code } = await app.call('group invite', { group, accept_first: acceptFirst });
	const link = SCHEME + code;
	const picture = h('div', { class: 'fs-qr' });
	openDialog(app, [_('Invite to'), ' ', foreign(group)], [
		h('p', { class: 'fs-help' }, acceptFirst
			? _('Whoever uses it first is in, without a question. It works for 15 minutes.')
			: _('Give this to one friend, on a way you trust. When the friend has used it, you are asked here.')),
		picture,
		shown(app, _('Link'), link), shown(app, _('Code'), code),
		h('p', { class: 'fs-help' }, _('It works once, and for a day at most.'))
	]);
	drawPicture(app, picture, link);
}

function shown(app, label, text) {
	const area = h('textarea', { class: 'fs-input fs-code', readonly: true, rows: '3', 'aria-label': label }, text);
	return h('div', { class: 'fs-shown' }, h('h3', null, label), area, copyButton(app, text, area));
}

async function drawPicture(app, picture, link) {
	try {
		const drawn = await app.host.qr(link);
		drawn.setAttribute('role', 'img');
		drawn.setAttribute('aria-label', _('QR picture of the link'));
		replace(picture, drawn);
	} catch (error) {
		replace(picture, failure(asError(error), () => drawPicture(app, picture, link)));
	}
}

/* Six words, numbered as they are read out. */
export function sixWords(words) {
	return h('ol', { class: 'fs-words', 'aria-label': fill(_('The %d words'), words.length) },
		words.map((word) => h('li', null, word)));
}
