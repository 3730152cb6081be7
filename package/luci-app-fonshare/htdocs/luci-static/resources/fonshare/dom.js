/* Elements, made from text that is never read as HTML.

   Names come from strangers: `foreign` shows one isolated from the text around it, with
   every control and direction character made visible. No other module makes elements. */

const SVG = 'http://www.w3.org/2000/svg';
const READ = new Set(['aria-label', 'aria-valuetext', 'title', 'placeholder']); // by people
const FORBIDDEN = new Set(['innerHTML', 'outerHTML', 'srcdoc', 'style']);

/* Return a new element. *attributes*: strings, booleans, `on`: {event: listener}. */
export function h(tag, attributes, ...children) {
	return build(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes, ...children) {
	return build(document.createElementNS(SVG, tag), attributes, children);
}

function build(element, attributes, children) {
	for (const [name, value] of Object.entries(attributes || {})) {
		if (name === 'on') {
			for (const [event, listener] of Object.entries(value))
				element.addEventListener(event, listener);
		} else {
			set(element, name, value);
		}
	}
	append(element, children);
	return element;
}

/* Set an attribute; true is an empty one, false and null take it away. */
export function set(element, name, value) {
	if (FORBIDDEN.has(name) || name.startsWith('on'))
		throw new TypeError(name + ' is not set here');
	if (value === false || value === null || value === undefined) {
		element.removeAttribute(name);
		return;
	}
	const text = value === true ? '' : READ.has(name) ? visible(value) : String(value);
	if (element.getAttribute(name) !== text)
		element.setAttribute(name, text);
}

export function append(element, children) {
	for (const child of [children].flat(Infinity)) {
		if (child !== null && child !== undefined && child !== false)
			element.append(child);
	}
}

/* Put *children* in the place of all that *element* holds. Who stood on something in it
   stands on what is called alike then, or on the heading above. */
export function replace(element, ...children) {
	const held = holdOf(element);
	element.replaceChildren();
	append(element, children);
	held.again();
	return element;
}

/* As `replace`, but only if something reads otherwise then: else a press on it and the
   text that somebody selects outlast each answer. For what has no listeners. */
export function rewrite(element, ...children) {
	const fresh = h('div');
	append(fresh, children);
	const are = [...element.childNodes], wanted = [...fresh.childNodes];
	if (are.length !== wanted.length || are.some((one, at) => !one.isEqualNode(wanted[at])))
		replace(element, wanted);
}

/* Write *text* only if it differs, so that nothing is announced or selected anew. */
export function write(element, text) {
	if (element.textContent !== text)
		element.textContent = text;
}

/* Make *parent*'s children those of *items*: kept by key, moved, updated, removed. What
   has the focus keeps it; if it goes, what is beside it has it. */
export function keyed(parent, items, keyOf, create, update) {
	const held = holdOf(parent);
	const old = parent.keyedChildren || new Map();
	const now = new Map();
	for (const item of items) {
		const key = keyOf(item);
		const child = old.get(key) || create(item);
		now.set(key, child);
		if (update)
			update(child, item);
	}
	for (const [key, child] of old) {
		if (!now.has(key))
			child.remove();
	}
	let before = parent.firstChild;
	for (const child of now.values()) {
		if (child === before)
			before = before.nextSibling;
		else
			parent.insertBefore(child, before);
	}
	parent.keyedChildren = now;
	held.again();
}

/* --- the focus --- */

const CONTROLS = 'a[href], button, input, select, textarea, summary';

/* Note what within *parent* has the focus; `again`() gives it back after a change. */
function holdOf(parent) {
	const focused = document.activeElement;
	if (!parent.contains(focused) || focused === parent)
		return { again: () => {} };
	const child = [...parent.children].find((one) => one.contains(focused));
	const beside = [child.nextElementSibling, child.previousElementSibling];
	const name = nameOf(focused);
	return {
		again() {
			if (document.activeElement === focused)
				return;
			const alike = focused.isConnected ? focused
				: [...parent.querySelectorAll(CONTROLS)].find((one) => nameOf(one) === name);
			land(alike || beside.find((one) => one && one.isConnected) || headingOf(parent));
		}
	};
}

function nameOf(element) {
	return [element.tagName, element.getAttribute('aria-label') || element.name || element.textContent].join(' ');
}

function headingOf(element) {
	const place = element.closest('.fs-card, .fs-dialog, .fs-content, .fonshare');
	return place ? place.querySelector('h1, h2') : null;
}

/* Give *element* the focus, also if it is none that one comes to by the keyboard. */
export function land(element) {
	if (!element)
		return;
	if (element.tabIndex < 0 && !element.hasAttribute('tabindex'))
		set(element, 'tabindex', '-1');
	element.focus({ preventScroll: true });
}

/* --- names of others --- */

function markFor(code) {
	if (code < 0x20)
		return String.fromCodePoint(0x2400 + code); // the picture of a control character
	if (code === 0x7f)
		return '\u2421';
	return '\u2039U+' + code.toString(16).toUpperCase().padStart(4, '0') + '\u203a';
}

/* Letters that show nothing: fillers and an empty pattern of dots. */
const BLANK = new Set([0x34f, 0x115f, 0x1160, 0x17b4, 0x17b5, 0x2800, 0x3164, 0xffa0]);

function isUnseen(code) {
	return BLANK.has(code) || code < 0x20 || (code >= 0x7f && code <= 0x9f) || code === 0xad
		|| code === 0x61c || code === 0x180e
		|| (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e)
		|| (code >= 0x2060 && code <= 0x206f) || code === 0xfeff
		|| (code >= 0xfff9 && code <= 0xfffb)
		|| (code >= 0xe0000 && code <= 0xe007f);
}

function isHalf(code) {
	return code >= 0xd800 && code <= 0xdfff;
}

/* Joiners make one picture of several, or shape letters: there they are no trick. */
function isJoiner(code, before) {
	return (code === 0x200c || code === 0x200d) && before > 0x2ff;
}

/* Return *text* in runs: [is a mark, what is shown]. */
function runs(text) {
	const found = [];
	let before = 0;
	for (const letter of String(text)) {
		const code = letter.codePointAt(0);
		const isMark = isUnseen(code) && !isJoiner(code, before);
		const shown = isMark ? markFor(code) : isHalf(code) ? '\ufffd' : letter;
		const last = found[found.length - 1];
		if (last && last[0] === isMark)
			last[1] += shown;
		else
			found.push([isMark, shown]);
		before = code;
	}
	return found;
}

/* *text* with the unseen made visible, for labels and titles. */
export function visible(text) {
	return runs(text).map((run) => run[1]).join('');
}

/* A name that somebody else chose, as an element. */
export function foreign(text, className) {
	const shown = runs(text).map(([isMark, part]) =>
		isMark ? h('span', { class: 'fs-mark' }, part) : part);
	return h('bdi', { class: className || 'fs-name' }, shown);
}
