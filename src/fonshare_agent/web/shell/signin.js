// The sign-in: a form that takes the page's place, or lies over it when a session ended.

import { ask } from './server.js';

// Resolves when somebody has signed in. `note` says why it is asked, or is empty.
export function signIn(host, words, note, isFirst) {
	const dialog = document.createElement('dialog');
	dialog.className = 'fonshare-signin';
	dialog.setAttribute('aria-labelledby', 'signin-title');
	dialog.append(form(words, note, isFirst));
	dialog.addEventListener('cancel', (event) => event.preventDefault());
	host.append(dialog);
	dialog.showModal();
	dialog.querySelector('#signin-password').focus();
	return new Promise((resolve) => {
		dialog.querySelector('form').addEventListener('submit', async (event) => {
			event.preventDefault();
			if (await submit(dialog, words, isFirst)) {
				dialog.close();
				dialog.remove();
				resolve();
			}
		});
	});
}

function form(words, note, isFirst) {
	const form = element('form', { method: 'post', action: '/', autocomplete: 'on' });
	const password = element('input', {
		type: 'password', id: 'signin-password', name: 'password', required: '',
		autocomplete: isFirst ? 'one-time-code' : 'current-password', 'aria-describedby': 'signin-help signin-problem',
	});
	// For password managers, which file a password under a name.
	const name = element('input', {
		type: 'text', name: 'username', value: 'FonShare', autocomplete: 'username',
		hidden: '', tabindex: '-1',
	});
	form.append(
		name,
		text('h1', 'FonShare', { id: 'signin-title' }),
		text('p', note, note ? {} : { hidden: '' }),
		text('label', isFirst ? words('Code') : words('Password'), { for: 'signin-password' }),
		password,
		text('p', isFirst ? words('It stands where `fonshare web` was started, and opens this page once.')
			: words('The password of the owner\'s FTP login.'), { id: 'signin-help', class: 'help' }),
		text('p', '', { id: 'signin-problem', role: 'alert', class: 'problem' }),
		text('button', words('Sign in'), { type: 'submit' }),
	);
	return form;
}

async function submit(dialog, words, isFirst) {
	const input = dialog.querySelector('#signin-password');
	const button = dialog.querySelector('button');
	const problem = dialog.querySelector('[role=alert]');
	button.disabled = true;
	button.textContent = words('Signing in…');
	problem.textContent = '';
	try {
		await ask('/api/login', { password: input.value });
		return true;
	} catch (error) {
		problem.textContent = isFirst && error.code === 'web.password'
			? words('The code is wrong, or was used already: then start `fonshare web` again.') : said(error, words);
		input.select();
		return false;
	} finally {
		button.disabled = false;
		button.textContent = words('Sign in');
	}
}

function said(error, words) {
	if (error.code === 'web.password')
		return words('The password is wrong.');
	if (error.code === 'web.attempts')
		return words('Too many attempts. Try again in %s.').replace('%s', error.thing);
	if (error.code === 'unreachable')
		return words('The server of this page does not answer. Is `fonshare web` running?');
	return error.message + (error.next ? '. ' + error.next : '');
}

export function element(name, attributes) {
	const made = document.createElement(name);
	for (const [key, value] of Object.entries(attributes || {}))
		made.setAttribute(key, value);
	return made;
}

export function text(name, words, attributes) {
	const made = element(name, attributes);
	made.textContent = words;
	return made;
}
