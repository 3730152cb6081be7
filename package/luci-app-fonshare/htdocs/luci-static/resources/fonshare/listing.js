/* Rows that come page by page: of a folder, of several folders as one, of a search.

   A listing knows its rows so far and gets more when asked; it never asks twice at once.
   Pure but for the call that it is given. */

const PAGE = 500; // rows of a folder in the first answer
const LARGE_PAGE = 2000; // and in each that follows: who scrolls on wants many
const HITS = 100; // of a search: each costs the node more

/* Return a listing of what *ask*(cursor) answers with, rows in order. */
export function listing(ask) {
	let cursor = null, asking = null;
	const self = { rows: [], isComplete: false };

	async function next() {
		const rows = await ask(cursor);
		const last = rows[rows.length - 1];
		cursor = (last && last.cursor) || null;
		self.isComplete = cursor === null;
		self.rows = self.rows.concat(rows);
	}

	/* Get some more rows; who asks meanwhile waits for the same. */
	self.more = () => {
		if (!self.isComplete && !asking) {
			asking = next().finally(() => {
				asking = null;
			});
		}
		return asking || Promise.resolve();
	};
	return self;
}

export function folderListing(call, path) {
	return listing((after) => call('ls', after === null ? { path, limit: PAGE }
		: { path, limit: LARGE_PAGE, after }));
}

export function searchListing(call, wish) {
	return listing((after) => call('find', after === null ? { ...wish, limit: HITS }
		: { ...wish, limit: HITS, after }));
}

/* --- several folders as one --- */

/* Return below 0 if *one* comes before *other*: folders, then files, each by name. */
export function compareRows(one, other) {
	const rank = Number(one.kind === 'file') - Number(other.kind === 'file');
	return rank || compareTexts(one.name, other.name);
}

/* The order of the bytes in UTF-8, which is that of the code points. */
function compareTexts(one, other) {
	if (one === other)
		return 0;
	const left = Array.from(one), right = Array.from(other);
	const shared = Math.min(left.length, right.length);
	for (let at = 0; at < shared; at += 1) {
		if (left[at] !== right[at])
			return left[at].codePointAt(0) - right[at].codePointAt(0);
	}
	return left.length - right.length;
}

function isSame(one, other) {
	if (one.name !== other.name || (one.kind === 'file') !== (other.kind === 'file'))
		return false;
	return one.kind !== 'file' || (one.size === other.size
		&& (!one.root || !other.root || one.root === other.root));
}

/* Return one listing of what *listings* hold: equal rows are one, with all of them in
   `rows`. A folder is there once; files are equal by name, size and content. */
export function mergedListing(listings) {
	const places = listings.map((one) => ({ one, at: 0 }));
	const self = { rows: [], isComplete: false };
	let asking = null;

	function head(place) {
		return place.one.rows[place.at];
	}

	async function next() {
		const from = self.rows.length;
		while (self.rows.length - from < PAGE) {
			const short = places.filter((place) => !head(place) && !place.one.isComplete);
			await Promise.all(short.map((place) => place.one.more()));
			const open = places.filter(head);
			if (!open.length) {
				self.isComplete = places.every((place) => place.one.isComplete);
				return;
			}
			take(open);
		}
	}

	function take(open) {
		const least = open.reduce((one, other) =>
			compareRows(head(other), head(one)) < 0 ? other : one);
		const row = head(least);
		const same = open.filter((place) => isSame(head(place), row));
		const rows = same.map(head);
		const shown = rows.find((one) => one.own) || rows.find((one) => one.online) || row;
		self.rows.push({ ...shown, rows });
		for (const place of same)
			place.at += 1;
	}

	self.more = () => {
		if (!self.isComplete && !asking) {
			asking = next().finally(() => {
				asking = null;
				self.rows = self.rows.slice();
			});
		}
		return asking || Promise.resolve();
	};
	return self;
}

/* Return a listing of *rows* that are all there is. */
export function fixedListing(rows) {
	return { rows, isComplete: true, more: () => Promise.resolve() };
}
