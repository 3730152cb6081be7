/* Joining with an invite: the code, then who invites and the six words, then yes or no. */

import { append, foreign, h, replace, set, write } from '../dom.js';
import { sixWords } from '../invite.js';
import { button, field, form, input, link, progress, shortId } from '../parts.js';
import { decode, encode } from '../paths.js';
import { _ } from '../words.js';

const STEP_S = 1;
const OVER = new Set(['refused', 'failed', 'expired', 'cancelled']);

export function show(app, scope, page) {
	write(page.title, _('Join a group'));
	append(page.content, [h('p', { class: 'fs-actions' }, link(app, 'groups', _('All groups'))),
		joinBox(app, scope, decode(page.of))]);
}

/* Return the steps of joining; the join of *group* is under way, by the address: a phone
   that looks at the words elsewhere may have to load the page again. */
function joinBox(app, scope, group) {
	const element = h('section', { class: 'fs-card fs-join', 'aria-live': 'polite' });
	const view = { app, scope, element, step: '', running: null };
	if (app.joining || group)
		follow(view, app.joining || group);
	else
		ask(view);
	return element;
}

function ask(view) {
	const { app, element } = view;
	replace(element, form(app, [
		field(_('Invite'), h('textarea', {
			name: 'code', class: 'fs-input fs-code', rows: '4', required: true, autocomplete: 'off',
			autocapitalize: 'characters', spellcheck: 'false'
		}), _('The code or the link that your friend gave you.')),
		field(_('Name of the group'), input('as', { maxlength: '64' }), _('Leave it empty to call it as your friend does.'))
	], _('Go on'), async (values) => {
		const code = values.code.trim();
		const wanted = { code };
		if (values.as.trim())
			wanted.as = values.as.trim();
		const answer = await app.call('group join', wanted);
		follow(view, answer.group);
	}));
}

/* Show how far the join of *group* is, until it has ended. */
function follow(view, group) {
	const { app, scope } = view;
	app.joining = group;
	mark(view, 'join?' + encode(group));
	const running = scope.repeat(async () => {
		let answer = null;
		try {
			answer = await app.call('group joining', { group });
		} catch (error) {
			if (error.code !== 'not_found')
				throw error;
			answer = { group, state: 'expired', inviter: null, words: [] };
		}
		draw(view, running, answer);
	}, STEP_S, app.missed);
}

function draw(view, running, answer) {
	const isKnown = Boolean(answer.inviter && answer.words.length);
	const step = [answer.state, isKnown].join(' ');
	if (view.step === step)
		return;
	view.step = step;
	set(view.element, 'data-state', answer.state);
	if (answer.state === 'member' || OVER.has(answer.state)) {
		running.stop();
		leave(view);
		end(view, answer);
	} else if (answer.state === 'accepted') {
		waiting(view, _('Waiting for your friend to accept.'),
			_('You may leave this page; it goes on by itself.'));
	} else if (isKnown) {
		decide(view, answer, running);
	} else {
		waiting(view, _('Waiting for your friend’s node.'), _('It must be online. This can take a moment.'),
			button(view.app, _('Give up'), () => giveUp(view, answer.group, running)));
	}
}

/* Name the join in the address, if one is still on this page. */
function mark(view, address) {
	if (!view.scope.isOver)
		view.app.mark(address);
}

function leave(view) {
	view.app.joining = null;
	mark(view, 'join');
	view.step = '';
}

function waiting(view, title, text, ...actions) {
	const bar = progress(title);
	bar.update(null, title);
	replace(view.element, h('h2', null, title), bar, h('p', { class: 'fs-help' }, text),
		h('div', { class: 'fs-actions' }, actions));
}

async function giveUp(view, group, running) {
	await view.app.call('group confirm', { group, decision: 'no' });
	running.stop();
	leave(view);
	ask(view);
}

function decide(view, answer, running) {
	const { app, element } = view;
	const { group, inviter, words } = answer;
	replace(element, h('h2', null, _('Is this your friend?')),
		h('p', null, foreign(inviter.name, 'fs-name fs-strong'), ' ', shortId(inviter.id)),
		h('p', { class: 'fs-help' }, _('Your friend sees six words, too. Compare them, on the phone for instance:')),
		sixWords(words),
		h('div', { class: 'fs-actions' },
			button(app, _('No, give up'), () => giveUp(view, group, running)),
			button(app, _('Yes, the words are the same'), async () => {
				await app.call('group confirm', { group, decision: 'yes' });
				running.now();
			}, { kind: 'primary', symbol: 'ok' })));
}

function end(view, answer) {
	const { app, element } = view;
	if (answer.state !== 'member') {
		replace(element, h('h2', null, _('You were not let in')),
			h('p', null, answer.state === 'expired' ? _('Nobody answered in time.') : _('Your friend, or you, said no.')),
			h('p', { class: 'fs-help' }, _('Nothing was kept. Ask for a new invite to try again.')),
			h('div', { class: 'fs-actions' }, button(app, _('Another invite'), () => ask(view), { kind: 'primary' })));
		return;
	}
	app.status.now();
	replace(element, h('h2', null, _('Welcome!')),
		h('p', null, _('You are in the group:'), ' ', foreign(answer.group, 'fs-name fs-strong')),
		h('div', { class: 'fs-actions' },
			h('a', { class: 'fs-button fs-primary', href: app.href('files?' + encode(answer.group)) }, _('Browse its files')),
			h('a', { class: 'fs-button', href: app.href('group?' + encode(answer.group)) }, _('See the group'))));
}
