// The page's server, seen from a browser: one function for each thing that can be asked.
// Whatever goes wrong is thrown as {code, message, thing, next}.

const HEADERS = { 'Content-Type': 'application/json', 'X-FonShare': '1' };
const PATIENCE_MS = 90000; // the agent itself may take a minute for a sleeping disk

export async function request(path, body) {
	const options = { credentials: 'same-origin', signal: AbortSignal.timeout(PATIENCE_MS) };
	if (body !== undefined) {
		options.method = 'POST';
		options.headers = HEADERS;
		options.body = JSON.stringify(body);
	}
	let response;
	try {
		response = await fetch(path, options);
	} catch {
		throw unreachable();
	}
	return response;
}

export async function ask(path, body) {
	const response = await request(path, body);
	let answer;
	try {
		answer = await response.json();
	} catch {
		throw unreachable();
	}
	if (answer.error)
		throw answer.error;
	return answer;
}

// A file that the server makes: resolves to {name, content}.
export async function fetchFile(path, body) {
	const response = await request(path, body);
	if ((response.headers.get('Content-Type') || '').startsWith('application/json'))
		throw (await response.json()).error || unreachable();
	const named = /filename="([^"]+)"/.exec(response.headers.get('Content-Disposition') || '');
	return { name: named ? named[1] : 'backup.fonshare', content: await response.blob() };
}

function unreachable() {
	return {
		code: 'unreachable',
		message: 'the server of this page does not answer',
		thing: location.host,
		next: 'Is `fonshare web` running? It is tried again.',
	};
}
