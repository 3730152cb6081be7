/* What is wrong with what somebody has filled in, said at its field. */

import { append, h, set, visible, write } from './dom.js';
import { asError } from './errors.js';
import { _ } from './words.js';

/* Return *part* with `complain`(text), which says below its control what is wrong. */
export function complaining(part) {
	const words = h('p', { class: 'fs-complaint', hidden: true });
	append(part.element, [words]);
	const help = part.control.getAttribute('aria-describedby');
	part.complain = (text) => {
		write(words, visible(text));
		set(words, 'hidden', !text);
		set(part.control, 'aria-invalid', text ? 'true' : null);
		set(words, 'id', text ? part.control.id + '-wrong' : null);
		set(part.control, 'aria-describedby', [help, words.id].filter(Boolean).join(' ') || null);
		const details = part.element.closest('details');
		if (text && details)
			set(details, 'open', true);
	};
	return part;
}

/* Do *work* and return what it gives; false if something in *parts* is wrong, which is
   said where it stands. What was said before is gone. */
export async function complainingOf(parts, summary, work) {
	parts.forEach((part) => part.complain(''));
	write(summary, '');
	try {
		return await work();
	} catch (thrown) {
		const error = asError(thrown);
		if (complainOf(parts, error, summary))
			return false;
		throw error;
	}
}

/* Say what *error* says at its fields, and in *summary* that it does; true if all of it
   has such a place. The first of these has the focus then. */
function complainOf(parts, error, summary) {
	const fields = error.code === 'web.password' ? { password: _('The password is wrong.') } : error.fields || {};
	let first = null, isLeft = false;
	for (const [name, text] of Object.entries(fields)) {
		const part = partOf(parts, name);
		if (part) {
			part.complain(text);
			first = first || part;
		} else {
			isLeft = true;
			error.message = name + ': ' + text;
		}
	}
	if (first === null || isLeft)
		return false;
	write(summary, _('Some settings cannot be used; see what is said beside them. Nothing was changed.'));
	first.control.focus();
	return true;
}

/* Return a line for `complainingOf` to say so, to stand before the button that was pressed. */
export function summaryLine() {
	return h('p', { class: 'fs-complaint', role: 'alert' });
}

/* The part that *name* is of: a row of logins is named without its columns. */
function partOf(parts, name) {
	const near = parts.filter((one) => name === one.name || name.startsWith(one.name + '.') || name.startsWith(one.name + '['));
	return near.sort((one, other) => other.name.length - one.name.length)[0];
}
