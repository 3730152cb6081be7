/* All members' shares as one tree: what is called alike lies in one folder. */

import { folderListing, mergedListing, wholeListing } from './listing.js';
import { filesKey } from './moved.js';
import { exactPath, placeOf } from './paths.js';

const AT_ONCE = 4; // questions: a router answers a few side by side
const KNOWN_MS = 30000; // who shares what changes rarely

/* Return what *work* makes of each of *items*, a few at a time. */
async function inTurns(items, work) {
	const results = [];
	let next = 0;
	async function worker() {
		while (next < items.length) {
			const at = next;
			next += 1;
			results[at] = await work(items[at]);
		}
	}
	await Promise.all(Array.from({ length: AT_ONCE }, worker));
	return results;
}

/* Return the rows of all shares of all members; with *key*, as they are at that key. */
async function allShares(app, key) {
	const known = app.shares;
	if (known && (key === undefined ? performance.now() - known.at < KNOWN_MS : known.key === key))
		return known.rows;
	const keyed = filesKey(app);
	const groups = await app.call('ls', { path: '' });
	const members = (await inTurns(groups, (row) => app.call('ls', { path: placeOf(row) }))).flat();
	const rows = (await inTurns(members, (row) => app.call('ls', { path: placeOf(row) }))).flat();
	app.shares = { rows, at: performance.now(), key: keyed };
	return rows;
}

function byName(rows) {
	const names = new Map();
	for (const row of rows)
		names.set(row.name, [...(names.get(row.name) || []), row]);
	return [...names.values()].map((same) => {
		const shown = same.find((one) => one.own) || same.find((one) => one.online) || same[0];
		return same.length > 1 ? { ...shown, rows: same } : shown;
	}).sort((one, other) => one.name.localeCompare(other.name));
}

/* Return the listing of *path*, `/SHARE/FOLDER…`, or of `/`, all shares. */
export function togetherListing(app, path) {
	const keyNow = () => filesKey(app);
	const [name, ...folders] = path.slice(1).split('/');
	if (!name)
		return wholeListing(async () => byName(await allShares(app, keyNow())), keyNow);
	const call = async (command, values) => {
		try {
			return await app.call(command, values);
		} catch (error) {
			if (error.code === 'not_found')
				return []; // not every member has this folder
			throw error;
		}
	};
	const known = new Map(); // by place
	return mergedListing(async () => {
		const shares = await allShares(app);
		return shares.filter((row) => row.share === name).map((row) => {
			const place = [placeOf(row), ...folders].join('/');
			if (!known.has(place))
				known.set(place, folderListing(call, place, keyNow));
			return known.get(place);
		});
	});
}

/* Where *row* of a listing made here leads. */
export function togetherPlace(row) {
	const path = exactPath(row);
	return '/' + row.share + (path ? '/' + path : '');
}
