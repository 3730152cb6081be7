/* The parts that pages are made of: buttons that wait, dialogs, badges, empty places. */

import { append, foreign, h, land, set } from './dom.js';
import { icon } from './icons.js';
import { withoutPassword } from './paths.js';
import { _ } from './words.js';

/* Return a button that runs *work*: once at a time, and ready again whatever happens. */
export function button(app, label, work, options) {
	const { symbol, kind, name, quiet } = options || {};
	const element = h('button', {
		type: 'button', class: 'fs-button' + (kind ? ' fs-' + kind : ''), 'aria-label': name,
		title: quiet ? name || label : null
	}, symbol ? icon(symbol) : null, quiet ? null : h('span', null, label));
	if (quiet) {
		element.classList.add('fs-quiet');
		set(element, 'aria-label', name || label);
	}
	element.addEventListener('click', () => run(app, element, work));
	return element;
}

/* Run *work* while *element* cannot be pressed; what fails is shown. True if it did well.

   The button keeps the focus, so it is not disabled but says that it is. */
export async function run(app, element, work) {
	if (element.getAttribute('aria-disabled') === 'true')
		return false;
	set(element, 'aria-disabled', 'true');
	set(element, 'aria-busy', 'true');
	try {
		await work();
		return true;
	} catch (error) {
		app.fail(error);
		return false;
	} finally {
		set(element, 'aria-disabled', null);
		set(element, 'aria-busy', null);
	}
}

/* Offer *fitting* in the place of *other*; who stood on that one stands on it then. */
export function swap(fitting, other) {
	const isHere = other === document.activeElement;
	set(fitting, 'hidden', false);
	set(other, 'hidden', true);
	if (isHere)
		fitting.focus({ preventScroll: true });
}

/* Return a form whose fields are sent once at a time by *work*(values). */
export function form(app, fields, label, work) {
	const send = h('button', { type: 'submit', class: 'fs-button fs-primary' }, h('span', null, label));
	const element = h('form', { class: 'fs-form' }, fields, h('div', { class: 'fs-actions' }, send));
	element.addEventListener('submit', (event) => {
		event.preventDefault();
		run(app, send, () => work(Object.fromEntries(new FormData(element)), element));
	});
	return element;
}

let fields = 0;

/* Return *control* under a label, with a line of help below. */
export function field(label, control, help) {
	fields += 1;
	const id = 'fs-field-' + fields;
	set(control, 'id', id);
	if (help)
		set(control, 'aria-describedby', id + '-help');
	return h('div', { class: 'fs-field' }, h('label', { for: id }, label), control,
		help ? h('p', { class: 'fs-help', id: id + '-help' }, help) : null);
}

export function input(name, attributes) {
	return h('input', {
		name, class: 'fs-input', type: 'text', autocomplete: 'off', spellcheck: 'false', ...attributes
	});
}

/* Return a choice of *options*: [value, label]. */
export function select(name, options, chosen) {
	const element = h('select', { name, class: 'fs-input' }, options.map(([value, label]) =>
		h('option', { value }, label)));
	element.value = chosen === undefined ? options[0][0] : chosen;
	return element;
}

export function checkbox(name, value, label, isOn) {
	return h('label', { class: 'fs-check' },
		h('input', { type: 'checkbox', name, value, checked: isOn }), h('span', null, label));
}

/* Ask a question that wants care. Resolves to whether the person said yes. */
export function confirm(app, title, content, yes, kind) {
	return new Promise((resolve) => {
		const dialog = openDialog(app, title, [
			h('div', null, content),
			h('div', { class: 'fs-actions' },
				h('button', { type: 'button', class: 'fs-button', on: { click: () => dialog.close('no') } },
					_('Go back')),
				h('button', {
					type: 'button', class: 'fs-button ' + (kind || 'fs-primary'),
					on: { click: () => dialog.close('yes') }
				}, yes))
		], () => resolve(dialog.returnValue === 'yes'));
	});
}

let dialogs = 0;

/* Open a dialog over the page; the focus goes back when it closes, or to the list if what
   had it is gone. */
export function openDialog(app, title, content, closed) {
	dialogs += 1;
	const id = 'fs-dialog-' + dialogs;
	const dialog = h('dialog', { class: 'fs-dialog', 'aria-labelledby': id },
		h('div', { class: 'fs-dialog-head' },
			h('h2', { id, tabindex: '-1' }, title),
			h('button', {
				type: 'button', class: 'fs-button fs-quiet', 'aria-label': _('Close'),
				on: { click: () => dialog.close('no') }
			}, icon('close'))),
		h('div', { class: 'fs-alerts', role: 'alert' }), content,
		h('div', { class: 'fs-dialog-notices', role: 'status' }));
	const before = document.activeElement;
	dialog.addEventListener('close', () => {
		// What was said in it is still news.
		app.root.querySelector('.fs-notices').append(...dialog.querySelectorAll('.fs-notice'));
		dialog.remove();
		if (closed)
			closed();
		if (document.activeElement === document.body)
			land(before && before.isConnected ? before : app.root.querySelector('[role=row][tabindex="0"]') || app.root.querySelector('h1'));
	});
	app.root.append(dialog);
	dialog.showModal();
	return dialog;
}

export function card(title, symbol, ...content) {
	const element = h('section', { class: 'fs-card' },
		h('h2', { class: 'fs-card-title' }, symbol ? icon(symbol) : null, title));
	append(element, content);
	return element;
}

export function empty(symbol, title, text, ...actions) {
	return h('div', { class: 'fs-empty' }, icon(symbol, 'fs-icon fs-large'), h('p', { class: 'fs-empty-title' }, title),
		text ? h('p', { class: 'fs-help' }, text) : null,
		actions.length ? h('div', { class: 'fs-actions' }, actions) : null);
}

export function badge(text, kind) {
	return h('span', { class: 'fs-badge' + (kind ? ' fs-is-' + kind : '') }, text);
}

export function link(app, address, ...content) {
	return h('a', { href: app.href(address), class: 'fs-link' }, content);
}

/* Return a bar; `bar.update(share, text)` moves it. No share: it works, without an end. */
export function progress(label) {
	const inner = h('div', { class: 'fs-bar-fill' });
	const element = h('div', {
		class: 'fs-bar', role: 'progressbar', 'aria-label': label, 'aria-valuemin': '0', 'aria-valuemax': '100'
	}, inner);
	element.update = (share, text) => {
		set(element, 'aria-valuenow', share === null ? null : Math.round(share * 100));
		set(element, 'aria-valuetext', text);
		// From endless to a share there is nothing to be seen moving.
		inner.classList.toggle('fs-at-once', share !== null && element.classList.contains('fs-endless'));
		element.classList.toggle('fs-endless', share === null);
		inner.style.setProperty('width', share === null ? '100%' : (share * 100).toFixed(2) + '%');
	};
	return element;
}

/* A person: name, and in words whether online. */
export function person(name, isOnline, ...more) {
	return h('span', { class: 'fs-person' },
		h('span', { class: 'fs-dot' + (isOnline ? ' fs-is-on' : ''), 'aria-hidden': 'true' }),
		foreign(name), h('span', { class: 'fs-unseen' }, isOnline ? _('online') : _('offline')), more);
}

/* An id as people compare it: its first groups. */
export function shortId(id) {
	return h('code', { class: 'fs-id' }, String(id).split('-').slice(0, 2).join('-').slice(0, 15));
}

/* Return a button that copies *text*; where that is forbidden, the text is selected. */
export function copyButton(app, text, source) {
	return button(app, _('Copy'), async () => {
		try {
			await navigator.clipboard.writeText(text);
			app.notify(_('Copied.'));
		} catch (error) { // a page without TLS has no clipboard
			source.focus();
			source.select();
			const isCopied = document.execCommand('copy');
			app.notify(isCopied ? _('Copied.') : _('Now copy the selected text.'));
		}
	}, { symbol: 'copy' });
}

/* Have a password that is typed in *address* go to *secret*. */
export function parting(address, secret) {
	address.addEventListener('change', () => {
		const [url, found] = withoutPassword(address.value.trim());
		address.value = url;
		secret.value = found === null ? secret.value : found;
	});
}
