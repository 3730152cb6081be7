// The page's host off the router: signs in, then mounts the page with what it needs.

import { ask, fetchFile } from './server.js';
import { element, signIn, text } from './signin.js';
import { LANGUAGES, chosenLanguage, keepLanguage, pageWords, shellWords } from './words.js';

const EXPIRED = 'session_expired';
let signingIn = null; // one sign-in, however many calls find the session ended
let unmount = null; // takes the page away

async function start() {
	const session = await untilAnswered(() => ask('/api/session'));
	const language = chosenLanguage(session.language);
	const words = shellWords(language);
	document.documentElement.lang = language;
	if (!session.signed_in) {
		await signIn(document.body, words, '', session.first_use);
		Object.assign(session, await untilAnswered(() => ask('/api/session')));
	}
	document.title = session.node + ' – FonShare';
	fillBar(session, language, words);
	const main = document.getElementById('page');
	if (session.first_use) {
		await beginNode(main, language);
		return;
	}
	try {
		const [page, translate] = await Promise.all([
			import('/page/app.js'), pageWords(language),
		]);
		unmount = page.mount(main, makeHost(session, language, words, translate));
	} catch (error) {
		const again = text('button', words('Try again'), { type: 'button' });
		again.addEventListener('click', () => location.reload());
		main.replaceChildren(
			text('p', words('A part of the page did not come. If trying again does not help, install FonShare anew.'), { role: 'alert' }),
			again,
		);
		throw error;
	}
}

// There are no settings yet: what is answered here makes them, and the page goes on.
async function beginNode(main, language) {
	const [page, translate] = await Promise.all([import('/page/firstuse.js'), pageWords(language)]);
	const result = async (path, body) => (await ask(path, body)).result;
	page.mountFirstUse(main, {
		kind: 'web',
		language,
		translate,
		propose: () => result('/api/first-use', {}),
		begin: (answers) => result('/api/first-use/begin', { ...answers, language }),
	}, () => {
		location.hash = '#/wizard';
		location.reload();
	});
}

// What *act* resolves to, however often it has to be asked; meanwhile the page says why it
// is empty.
async function untilAnswered(act) {
	const main = document.getElementById('page');
	const said = text('p', '', { role: 'alert' });
	for (;;) {
		try {
			const answer = await act();
			said.remove();
			return answer;
		} catch (error) {
			const words = shellWords(chosenLanguage(navigator.language.slice(0, 2)));
			const what = error.code === 'unreachable'
				? words('The server of this page does not answer. Is `fonshare web` running?')
				: error.message + '. ' + error.next;
			if (said.textContent !== what)
				said.textContent = what;
			if (!said.isConnected) // else it would be read aloud each time
				main.replaceChildren(said);
			await new Promise((resolve) => setTimeout(resolve, 2000));
		}
	}
}

function fillBar(session, language, words) {
	const select = element('select', { 'aria-label': words('Language') });
	for (const [code, name] of Object.entries(LANGUAGES)) {
		const option = text('option', name, { value: code, lang: code });
		option.selected = code === language;
		select.append(option);
	}
	select.addEventListener('change', () => {
		keepLanguage(select.value);
		location.reload();
	});
	const leave = text('button', words('Sign out'), { type: 'button' });
	leave.addEventListener('click', signOut);
	const bar = document.getElementById('bar');
	bar.replaceChildren(text('strong', session.node), select, leave);
	bar.hidden = false;
}

async function signOut() {
	if (unmount)
		unmount(); // so that it asks for nothing any more
	await untilAnswered(() => ask('/api/logout', {}));
	location.reload();
}

function makeHost(session, language, words, translate) {
	// A click that finds the session ended is not lost: it goes on after the sign-in.
	async function signedIn(act) {
		for (;;) {
			try {
				return await act();
			} catch (error) {
				if (error.code !== EXPIRED)
					throw error;
			}
			signingIn = signingIn || signIn(
				document.body, words, words('Your session is over. Sign in to go on.'),
			).finally(() => { signingIn = null; });
			await signingIn;
		}
	}
	const result = (path, body) => signedIn(async () => (await ask(path, body)).result);
	return {
		kind: 'web',
		language,
		node: session.node,
		translate,
		call: (command, args) => result('/api/call', { command, arguments: args || {} }),
		qr: async (content) => picture(await result('/api/qr', { text: content })),
		backup: async (passphrase) => download(
			await signedIn(() => fetchFile('/api/backup', { passphrase })),
		),
		options: {
			read: () => result('/api/settings', {}),
			save: (wish) => result('/api/settings/save', { ...wish, language }),
		},
		restore: async (file, passphrase) => {
			const content = await toBase64(file);
			return result('/api/restore', { passphrase, file: content });
		},
		start: session.may_start ? () => result('/api/agent/start', {}) : null,
		signOut,
	};
}

// Dark on light in any theme: cameras want it so.
function picture({ size, path }) {
	const drawn = svg('svg', { viewBox: '0 0 ' + size + ' ' + size, 'shape-rendering': 'crispEdges' });
	drawn.append(svg('rect', { width: size, height: size, fill: '#fff' }), svg('path', { d: path, fill: '#000' }));
	return drawn;
}

function svg(name, attributes) {
	const made = document.createElementNS('http://www.w3.org/2000/svg', name);
	for (const [key, value] of Object.entries(attributes))
		made.setAttribute(key, value);
	return made;
}

function download(file) {
	const link = element('a', { download: file.name, href: URL.createObjectURL(file.content) });
	link.click();
	setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function toBase64(file) {
	return new Promise((resolve, reject) => {
		const reader = new FileReader();
		reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(',') + 1));
		reader.onerror = () => reject({
			code: 'file', message: 'the file cannot be read', thing: file.name, next: '',
		});
		reader.readAsDataURL(file);
	});
}

start();
