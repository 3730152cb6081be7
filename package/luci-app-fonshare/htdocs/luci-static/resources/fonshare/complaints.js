/* What is wrong with what somebody has filled in, said at its field. */

import { append, h, set, visible, write } from './dom.js';
import { _ } from './words.js';

/* Return *part* with `complain`(text), which says below its control what is wrong. */
export function complaining(part) {
	const words = h('p', { class: 'fs-complaint', hidden: true });
	append(part.element, [words]);
	part.complain = (text) => {
		write(words, visible(text));
		set(words, 'hidden', !text);
		set(part.control, 'aria-invalid', text ? 'true' : null);
		set(words, 'id', text ? part.control.id + '-wrong' : null);
		set(part.control, 'aria-errormessage', text ? part.control.id + '-wrong' : null);
		const details = part.element.closest('details');
		if (text && details)
			set(details, 'open', true);
	};
	return part;
}

/* Say what is wrong at its fields; true if all of it has such a place. */
export function complainOf(parts, error) {
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
	if (first)
		first.control.focus();
	return first !== null && !isLeft;
}

/* The part that *name* is of: a row of logins is named without its columns. */
function partOf(parts, name) {
	const near = parts.filter((one) => name === one.name || name.startsWith(one.name + '.') || name.startsWith(one.name + '['));
	return near.sort((one, other) => other.name.length - one.name.length)[0];
}
