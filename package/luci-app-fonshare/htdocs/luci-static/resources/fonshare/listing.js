/* Rows that come page by page: of a folder, of several folders as one, of a search.

   A listing knows its rows so far and gets more when asked; it never asks twice at once.
   Each page has the key (moved.js) of the moment it was asked for: `renew` reads those in
   sight anew whose key is another now. Pure but for the call that it is given. */

const PAGE = 500; // rows of a folder in the first answer
const LARGE_PAGE = 2000; // and in each that follows: who scrolls on wants many
const HITS = 100; // of a search: each costs the node more
const NEW_PAGES = 3; // between two known rows; of more, the rest comes as one scrolls

/* Return a listing of what *ask*(cursor) answers with, rows in order. *isRanked*: a row
   may be anywhere in the next answer, so all is read from the first row on. */
export function listing(ask, keyNow, isRanked) {
	let pages = []; // {after, rows, key, next, end}: next is the cursor behind *end*, its last row
	let cursor = null, asking = null;
	const self = { rows: [], isComplete: false };

	async function read(after) {
		const key = keyNow();
		const rows = await ask(after);
		const last = rows[rows.length - 1];
		return { after, rows, key, next: (last && last.cursor) || null, end: last };
	}

	function join(now) {
		pages = now;
		cursor = pages[pages.length - 1].next;
		self.isComplete = cursor === null;
		self.rows = pages.flatMap((page) => page.rows);
	}

	/* Get some more rows; who asks meanwhile waits for the same. */
	self.more = () => {
		if (!self.isComplete && !asking) {
			asking = read(cursor).then((page) => join([...pages, page])).finally(() => {
				asking = null;
			});
		}
		return asking || Promise.resolve();
	};

	/* Read anew what of the rows *from* to *to* may be others now. Tells whether any may.
	   Not to be called while rows are asked for. */
	self.renew = async (from, to) => {
		const key = keyNow();
		const shown = within(from, to);
		const stale = shown.filter((page) => page.key !== key);
		if (!stale.length)
			return false;
		if (isRanked) {
			join(await readFirst(pages.indexOf(shown[shown.length - 1]) + 1));
		} else {
			for (const page of stale)
				join(await renewed(page));
		}
		return true;
	};

	function within(from, to) {
		let end = 0;
		return pages.filter((page) => {
			const begin = end;
			end += page.rows.length;
			return begin <= to && end >= from;
		});
	}

	async function readFirst(count) {
		const fresh = [await read(null)];
		while (fresh.length < count && fresh[fresh.length - 1].next !== null)
			fresh.push(await read(fresh[fresh.length - 1].next));
		return fresh;
	}

	/* Return the pages with *page* as it is now: from where it began to where it ended. */
	async function renewed(page) {
		const at = pages.indexOf(page), behind = pages.slice(at + 1);
		if (at < 0)
			return pages; // it was behind one that was renewed just now
		const fresh = [];
		while (fresh.length <= NEW_PAGES) {
			const one = await read(fresh.length ? fresh[fresh.length - 1].next : page.after);
			fresh.push(one);
			const over = behind.length ? firstBehind(one.rows, page.end) : -1;
			if (over >= 0) {
				one.rows = one.rows.slice(0, over);
				return [...pages.slice(0, at), ...fresh.slice(0, -1), { ...one, next: page.next, end: page.end }, ...behind];
			}
			if (!behind.length || one.next === null)
				break;
		}
		return [...pages.slice(0, at), ...fresh]; // more of it comes as one scrolls
	}
	return self;
}

/* Where in *rows* the first is that comes behind *end*; -1 if none does. */
function firstBehind(rows, end) {
	const at = rows.findIndex((row) => row.id === end.id);
	return at >= 0 ? at + 1 : rows.findIndex((row) => compareRows(row, end) > 0);
}

export function folderListing(call, path, keyNow) {
	return listing((after) => call('ls', after === null ? { path, limit: PAGE }
		: { path, limit: LARGE_PAGE, after }), keyNow, false);
}

export function searchListing(call, wish, keyNow) {
	return listing((after) => call('find', after === null ? { ...wish, limit: HITS }
		: { ...wish, limit: HITS, after }), keyNow, true);
}

/* Return a listing of all that *ask*() answers with at once. */
export function wholeListing(ask, keyNow) {
	return listing(ask, keyNow, true);
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

/* Where in *rows* the first is that does not come before *row*. */
function placeIn(rows, row) {
	let low = 0, high = rows.length;
	while (low < high) {
		const middle = (low + high) >> 1;
		if (compareRows(rows[middle], row) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Return one listing of what the listings of *partsNow*() hold: equal rows are one, with
   all of them in `rows`. A folder is there once; files are equal by name, size, content. */
export function mergedListing(partsNow) {
	let places = null, merged = [], asking = null; // {one, at}: how far each part is merged
	const self = { rows: [], isComplete: false };
	const head = (place) => place.one.rows[place.at];

	function begin(parts) {
		places = parts.map((one) => ({ one, at: 0 }));
		merged = [];
		self.isComplete = false;
	}

	async function merge(wanted) {
		while (merged.length < wanted && !self.isComplete) {
			const short = places.filter((place) => !head(place) && !place.one.isComplete);
			if (short.length)
				await Promise.all(short.map((place) => place.one.more()));
			const open = places.filter(head);
			if (open.length)
				merged.push(leastOf(open, head));
			else
				self.isComplete = places.every((place) => place.one.isComplete);
		}
		self.rows = merged.slice();
	}

	async function next() {
		if (!places)
			begin(await partsNow());
		await merge(self.rows.length + PAGE);
	}

	self.more = () => {
		if (!self.isComplete && !asking) {
			asking = next().finally(() => {
				asking = null;
			});
		}
		return asking || Promise.resolve();
	};

	self.renew = async (from, to) => {
		const { rows, isComplete } = self;
		const before = places.map((place) => place.one), parts = await partsNow();
		const first = rows[from], last = rows[Math.min(to, rows.length) - 1];
		const were = await Promise.all(parts.map((one) => one.renew(first ? placeIn(one.rows, first) : 0,
			last ? placeIn(one.rows, last) + 1 : one.rows.length)));
		const isOther = parts.length !== before.length || parts.some((one) => !before.includes(one));
		if (!isOther && !were.includes(true))
			return false;
		begin(parts);
		await merge(isComplete ? rows.length + PAGE : rows.length);
		return true;
	};
	return self;
}

/* Take the row that comes first of *open*, from all places that have it. */
function leastOf(open, head) {
	const least = open.reduce((one, other) => (compareRows(head(other), head(one)) < 0 ? other : one));
	const row = head(least);
	const same = open.filter((place) => isSame(head(place), row));
	const rows = same.map(head);
	const shown = rows.find((one) => one.own) || rows.find((one) => one.online) || row;
	for (const place of same)
		place.at += 1;
	return { ...shown, rows };
}
