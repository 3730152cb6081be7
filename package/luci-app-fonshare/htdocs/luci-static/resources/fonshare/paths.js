/* Paths as `ls` takes them, and addresses that hold them.

   A path's bytes that are no UTF-8 are lone halves of surrogate pairs, as the agent's own
   command line sends them; an address cannot hold those, so there they are `~dcff`. */

/* The path of *row* within its share, exact also where `path` shows U+FFFD. */
export function exactPath(row) {
	if (!row.path_b64)
		return row.path;
	const bytes = Uint8Array.from(atob(row.path_b64), (letter) => letter.charCodeAt(0));
	let text = '', at = 0;
	while (at < bytes.length) {
		const length = runLength(bytes, at);
		if (length) {
			text += new TextDecoder().decode(bytes.subarray(at, at + length));
			at += length;
		} else {
			text += String.fromCharCode(0xdc00 + bytes[at]);
			at += 1;
		}
	}
	return text;
}

/* How many bytes at *at* are one letter in UTF-8; 0 if none is. */
function runLength(bytes, at) {
	const first = bytes[at];
	const length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3
		: first < 0xf5 ? 4 : 0;
	if (!length || at + length > bytes.length)
		return 0;
	try {
		new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
			.decode(bytes.subarray(at, at + length));
		return length;
	} catch (error) {
		if (error instanceof TypeError)
			return 0;
		throw error;
	}
}

/* Where `ls` shows what is in *row*. */
export function placeOf(row) {
	if (row.kind === 'group')
		return row.group;
	const top = row.group + '/' + row.member_id;
	if (row.kind === 'member')
		return top;
	const path = exactPath(row);
	return top + '/' + row.share + (path ? '/' + path : '');
}

export function encode(path) {
	let text = '';
	for (const letter of path) {
		const code = letter.codePointAt(0);
		if (letter === '~')
			text += '~~';
		else if (code >= 0xd800 && code <= 0xdfff)
			text += '~' + code.toString(16);
		else
			text += letter;
	}
	return encodeURIComponent(text);
}

/* Return what `encode` was given; an address that cannot be read leads to the top. */
export function decode(address) {
	let text = '';
	try {
		text = decodeURIComponent(address);
	} catch (error) {
		if (error instanceof URIError)
			return '';
		throw error;
	}
	let path = '';
	for (let at = 0; at < text.length; at += 1) {
		if (text[at] !== '~') {
			path += text[at];
		} else if (text[at + 1] === '~') {
			path += '~';
			at += 1;
		} else {
			path += String.fromCharCode(parseInt(text.slice(at + 1, at + 5), 16) || 0xfffd);
			at += 4;
		}
	}
	return path;
}

/* Return [address, password] of the address of a server; null where it holds none. Who
   copies one from elsewhere often has the password in it, where everybody would see it. */
export function withoutPassword(address) {
	const begin = address.indexOf('://') + 3;
	const login = address.slice(begin).split('/')[0];
	const end = login.lastIndexOf('@'), colon = login.indexOf(':');
	if (begin < 3 || colon < 0 || colon > end)
		return [address, null];
	return [address.slice(0, begin + colon) + address.slice(begin + end), plain(login.slice(colon + 1, end))];
}

function plain(text) {
	try {
		return decodeURIComponent(text);
	} catch (error) {
		if (error instanceof URIError)
			return text; // a per cent sign that is only that
		throw error;
	}
}
