/* What went wrong, in the reader's language: by its code where the wording matters to
   everybody, else in the agent's own words. */

import { foreign, h } from './dom.js';
import { icon } from './icons.js';
import { _, plural, sentence } from './words.js';

const AWAY = new Set(['no_agent', 'unreachable', 'session_expired', 'starting']);
const BUSY = new Set(['agent.busy', 'web.busy']);

/* Tell whether *error* is of the way to the agent: it passes by itself. */
export function isAway(error) {
	return AWAY.has(error.code);
}

/* Tell whether *error* is one that the next question may not meet. */
export function isPassing(error) {
	return BUSY.has(error.code);
}

/* Return *thrown* as an error of the agent; what is none of those is a bug of ours. */
export function asError(thrown) {
	if (thrown && typeof thrown.code === 'string')
		return { thing: '', next: '', message: '', ...thrown };
	return {
		code: 'internal', message: String((thrown && thrown.message) || thrown), thing: '',
		next: _('This is a bug. Please report it.')
	};
}

/* *error* for who waited for the answer: the way to the agent comes back by itself, what
   was asked for does not. */
export function undone(error) {
	if (!isAway(error))
		return error;
	const [message, next] = error.code === 'unreachable'
		? [_('No answer came: it may not have been done.'), _('Look again when there are answers, and press once more if need be.')]
		: [_('This was not done.'), _('Press again when FonShare answers.')];
	return { code: 'undone', message, thing: '', next };
}

/* Return [what, what to do] for *error*; codes stay the same for ever. */
function wording(error) {
	switch (error.code) {
	case 'no_agent':
		return [_('FonShare is not running.'), _('This page goes on by itself once it is started.')];
	case 'starting':
		return [_('FonShare is starting.'), _('This takes a few seconds.')];
	case 'unreachable':
		return [_('No answer.'), _('Check your network; this page keeps trying.')];
	case 'session_expired':
		return [_('You have been signed out.'), _('Sign in again; this page goes on where it was.')];
	case 'agent.busy':
	case 'web.busy':
		return [_('FonShare is busy.'), _('Try again in a moment.')];
	case 'code.invalid':
		return [error.message || _('This is no invite code.'), _('Ask for a new invite; a code works once.')];
	default:
		return [sentence(error.message || error.code), error.next];
	}
}

/* Return the parts of *error* as elements: what, to which thing, what happens next; with
   *advice* in the place of what is said to everybody. */
export function words(error, advice) {
	const [what, known] = wording(error);
	const next = advice || known;
	return h('div', { class: 'fs-error-words' },
		h('p', { class: 'fs-error-what' }, foreign(what),
			error.thing && !isAway(error) ? [' ', foreign(error.thing, 'fs-thing')] : null),
		next ? h('p', { class: 'fs-error-next' }, foreign(next)) : null);
}

/* Return a place that says *error* where something should have been shown. */
export function failure(error, again) {
	return h('div', { class: 'fs-empty', 'data-code': error.code }, icon('warning', 'fs-icon fs-large'),
		words(error),
		h('button', { type: 'button', class: 'fs-button', on: { click: again } }, _('Try again')));
}

/* Why a job waits or has failed; nothing while it simply moves. */
export function reason(error) {
	if (!error)
		return '';
	switch (error.code) {
	case 'source.offline':
		return _('Nobody who offers it is online. It goes on when somebody is.');
	case 'source.silent':
		return _('The friend’s node does not answer yet.');
	case 'source.hashing':
		return _('The friend’s node prepares the file.');
	case 'source.vanished':
		return _('It is not offered any more. It waits in case it comes back.');
	case 'source.changed':
		return _('The file has changed at the friend’s; it starts anew.');
	case 'source.busy':
		return _('The friend’s node has no free place yet.');
	case 'source.queued':
		return _('The friend’s node serves others first.');
	case 'source.hours':
		return _('The friend’s node sends only within its hours.');
	case 'hours.closed':
		return _('Files move only within your hours.');
	case 'source.disk':
		return _('The friend’s disk is missing.');
	case 'source.lost':
		return _('The connection broke off. It is tried again.');
	case 'source.corrupt':
		return _('What came was damaged and was thrown away. It is tried again.');
	case 'unreachable':
		return _('Neither side can reach the other. See the health on the overview.');
	case 'disk.full':
		return _('Your disk is full. It goes on when there is room.');
	case 'disk.readonly':
		return _('Your disk can only be read.');
	case 'disk.file_too_large':
		return _('Your disk cannot hold a file that large.');
	case 'disk.missing':
		return _('Your disk is missing.');
	case 'follow.full':
		return _('Its budget is used: what is new waits until some of its files go.');
	case 'follow.gone':
		return _('Nothing is offered there now. It goes on when something is.');
	default:
		return error.message || error.code;
	}
}

/* Return which files of a copy could not be copied, and why by *wordsOf*(failure). */
export function notCopied({ failed, failures }, wordsOf) {
	return failures.length ? h('details', null, h('summary', null, plural(failed, _('%d file was not copied'), _('%d files were not copied'))),
		h('ul', { class: 'fs-findings' }, failures.map((one) => h('li', null, foreign(one.path, 'fs-name fs-path'), ' ', wordsOf(one))))) : null;
}
