/* What people read: the host's language, sentences with gaps, sizes, times.
   The English text is the key of every translation. Knows no page and no command. */

const KINDS_OF_SIZE = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte'];
const AGES = [['year', 31536000], ['month', 2592000], ['day', 86400], ['hour', 3600],
	['minute', 60], ['second', 1]];

let translate = (text) => text;
let language = 'en';
let kept = new Map();

/* Take the words and the language of *host*. */
export function speakAs(host) {
	if (host.translate)
		translate = (text) => host.translate(text) || text;
	language = supported(host.language);
	kept = new Map();
}

/* Return *wanted* as the reader's browser has it: a country writes days in its own way. */
function supported(wanted) {
	const own = navigator.languages.filter((one) => one.split('-')[0] === wanted);
	try {
		return Intl.NumberFormat.supportedLocalesOf([...own, wanted])[0] || 'en';
	} catch (error) {
		if (error instanceof RangeError)
			return 'en';
		throw error;
	}
}

export function _(text) {
	return translate(text);
}

/* A text of the node's own tables, which the host may know in another language. */
export function said(text) {
	return translate(text);
}

/* Return *text* as a sentence begins, if it begins with a word and not with a name. */
export function sentence(text) {
	const [first, ...more] = text.split(' ');
	const isWord = more.length > 0 && Array.from(first).every((sign) => sign >= 'a' && sign <= 'z');
	return isWord ? text.charAt(0).toUpperCase() + text.slice(1) : text;
}

/* Put *values* where *text* has %s and %d, in their order. %% is a per cent sign. */
export function fill(text, ...values) {
	return pieces(text, values.map((value) => String(value))).join('');
}

/* As `fill`, for values that are elements: the list of what stands side by side. */
export function pieces(text, values) {
	const parts = [];
	let from = 0, next = 0, at = text.indexOf('%');
	while (at >= 0) {
		const letter = text[at + 1];
		if (letter === 's' || letter === 'd' || letter === '%') {
			parts.push(text.slice(from, at));
			parts.push(letter === '%' ? '%' : values[next++]);
			from = at + 2;
			at = text.indexOf('%', from);
		} else {
			at = text.indexOf('%', at + 1);
		}
	}
	parts.push(text.slice(from));
	return parts;
}

/* Choose between two translated texts and fill the number in. */
export function plural(count, one, many) {
	const form = formatter('PluralRules', 'plural', {}).select(count);
	return fill(form === 'one' ? one : many, number(count));
}

function formatter(kind, key, options) {
	const name = kind + key;
	if (!kept.has(name))
		kept.set(name, new Intl[kind](language, options));
	return kept.get(name);
}

export function number(value) {
	return formatter('NumberFormat', '', {}).format(value);
}

export function percent(share) {
	return formatter('NumberFormat', 'percent', { style: 'percent' })
		.format(Math.min(1, Math.max(0, share)));
}

function unit(value, name, digits, display) {
	return formatter('NumberFormat', name + digits + display, {
		style: 'unit', unit: name, unitDisplay: display, maximumFractionDigits: digits
	}).format(value);
}

function scaled(bytes) {
	let power = 0, value = Math.max(0, bytes);
	while (value >= 999.5 && power < KINDS_OF_SIZE.length - 1) {
		value /= 1000;
		power += 1;
	}
	return [value, KINDS_OF_SIZE[power], value < 10 && power > 1 ? 1 : 0];
}

/* Bytes as disk makers count them: 1 MB is a million. */
export function size(bytes) {
	const [value, name, digits] = scaled(bytes);
	return unit(value, name, digits, name === 'byte' ? 'long' : 'short');
}

export function rate(bytes) {
	const [value, name] = scaled(Math.max(0, bytes) / 1000); // no speed in single bytes
	const larger = KINDS_OF_SIZE[Math.min(KINDS_OF_SIZE.indexOf(name) + 1, 4)];
	return unit(value, larger + '-per-second', value < 10 ? 1 : 0, 'short');
}

/* A time span in its largest unit that fits: what is left of a transfer. */
export function duration(seconds) {
	const whole = Math.max(1, Math.round(seconds));
	const [name, length] = AGES.find((age) => whole >= age[1]);
	return unit(Math.round(whole / length), name, 0, 'short');
}

export function ago(epoch, now) {
	const passed = Math.max(1, Math.round((now === undefined ? Date.now() / 1000 : now) - epoch));
	const [name, length] = AGES.find((age) => passed >= age[1]);
	return formatter('RelativeTimeFormat', '', { numeric: 'auto' })
		.format(-Math.round(passed / length), name);
}

/* A day; nothing where no time is known. */
export function day(epoch) {
	if (!epoch)
		return '';
	return formatter('DateTimeFormat', 'day', { dateStyle: 'medium' })
		.format(new Date(epoch * 1000));
}

export function list(texts) {
	return formatter('ListFormat', '', { style: 'long', type: 'conjunction' }).format(texts);
}
