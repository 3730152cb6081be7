/* A stand-in for the hosts of the page: answers commands from a small world in memory.

   A test reads and changes `window.world`: the groups, files and jobs that there are; how
   late answers come (`delay`, ms); what fails (`failing[command]`, or `away` for all).
   `world.calls` holds what was asked. No test of the agent: shapes are those of the
   command table, answers are made up. */

import { mount } from '/page/app.js';

const ANNA = 'anna2-7kq4x-aaaaa-bbbbb', BOB = 'bobby-m3xr7-ccccc-ddddd', CAROL = 'carol-q9wz2-eeeee-fffff';
const GB = 1e9, MB = 1e6;

const world = {
	delay: 0, failing: {}, away: null, calls: [], translate: (text) => text, language: 'en',
	node: { id: ANNA, name: 'Anna' },
	disk: { present: true, total_bytes: 1000 * GB, free_bytes: 412 * GB, writable: true, problem: null },
	broker: { connected: true },
	scanning: false,
	groups: [
		{ name: 'Famille', role: 'creator', brokers: ['mqtts://…@broker.example'], members: [member(ANNA, 'Anna', true, 'creator'), member(BOB, 'Bob', true), member(CAROL, 'Carol', false)] },
		{ name: 'Ciné-club', role: 'member', brokers: ['mqtts://broker.example'], members: [member(ANNA, 'Anna', true), member(BOB, 'Bob', true, 'creator')] }
	],
	entries: [], // [group, member id, share, path, size, modified]
	jobs: [], shares: [{ name: 'Photos', path: 'Photos', groups: ['Famille'], files: 1204, bytes: 8 * GB, mirror: null }],
	folders: ['Films', 'Photos', 'media', 'media/Music', 'media/Music/Live'],
	follows: [],
	ratings: {}, // by path: the stars of each who has rated
	requests: [], searches: [], news: [], findings: [], joining: null, settings: [],
	limits: {
		upload_kib_s: 500, download_kib_s: 0, transfers: 3, uploads: 4, hours: null, other_upload_kib_s: 0,
		other_download_kib_s: 0, house: false, give_way: true, gives_way: false, now: { upload_kib_s: 500, download_kib_s: null }
	},
	backups: [], restores: [], copies: [], logins: null, // of the broker here; null: there can be none
	lots: 0, lotsMore: [], // files of the share `Lots` of Bob, made up as they are asked for; names of others in it
	changes: {}, // by name: what is known, and how often it has changed
	open: {}, most: {}, began: {} // calls under way now, at once at most, and when each began, by command
};

function member(id, name, online, role = 'member') {
	const seen = Math.round(Date.now() / 1000) - (online ? 0 : 2 * 3600);
	return { id, name, role, online, last_seen: id === ANNA ? null : seen };
}

function offer(group, who, share, ...files) {
	for (const [path, size] of files)
		world.entries.push([group, who, share, path, size, 1700000000 + size % 9000000]);
}

offer('Famille', BOB, 'Films', ['Bréhat 2019.mkv', 1.4 * GB], ['Vacances/Jour 1.mp4', 700 * MB], ['Vacances/Jour 2.mp4', 650 * MB]);
offer('Famille', BOB, 'Musique', ['Concert.flac', 300 * MB], ['Notes.pdf', 2 * MB]);
offer('Famille', CAROL, 'Films', ['Bréhat 2019.mkv', 1.4 * GB], ['Noël.mkv', 2.1 * GB], ['Vacances/Jour 3.mp4', 710 * MB]);
offer('Famille', ANNA, 'Photos', ['Chat.jpg', 4 * MB]);
offer('Ciné-club', BOB, 'Classiques', ['Metropolis.mkv', 3.2 * GB], ['Nosferatu.mkv', 2.8 * GB]);

function refused(code, message, thing, next) {
	return { code, message, thing: thing || '', next: next || '' };
}

function groupOf(name) {
	const found = world.groups.find((group) => group.name === name);
	if (!found)
		throw refused('not_found', 'this node is in no group of that name', name, 'See `fonshare group ls`.');
	return found;
}

function memberOf(group, text) {
	const found = groupOf(group).members.find((one) => one.id === text || one.name === text);
	if (!found)
		throw refused('not_found', 'nobody here is called so', text);
	return found;
}

function row(kind, name, rest) {
	return {
		id: 'id-' + kind + '-' + [rest.group, rest.member_id, rest.share, rest.path].join('/'), kind, name, path: '',
		size: 0, modified: 0, group: null, member: null, member_id: null, share: null, root: null, online: true, own: false,
		rating: null,
		...rest
	};
}

function entryRow([group, who, share, path, size, modified]) {
	const { name, online } = memberOf(group, who);
	return row('file', path.split('/').pop(), {
		path, size, modified, group, member: name, member_id: who, share, online, own: who === world.node.id,
		rating: ratingOf(path)
	});
}

function ratingOf(path) {
	const stars = Object.values(world.ratings[path] || {}).filter(Boolean);
	return stars.length ? {
		average: stars.reduce((sum, one) => sum + one, 0) / stars.length, count: stars.length,
		own: world.ratings[path][world.node.id] || null
	} : null;
}

function paged(rows, { limit, after }) {
	const from = after ? Number(after) : 0;
	const page = rows.slice(from, from + (limit || 1000)).map((one) => ({ ...one }));
	if (from + page.length < rows.length)
		page[page.length - 1].cursor = String(from + page.length);
	return page;
}

function browse(path) {
	const [group, who, share, ...folders] = path.split('/').filter(Boolean);
	if (group === undefined)
		return world.groups.map((one) => row('group', one.name, { group: one.name, own: true }));
	if (who === undefined)
		return groupOf(group).members.map((one) => row('member', one.name, {
			group, member: one.name, member_id: one.id, online: one.online, own: one.id === world.node.id
		}));
	const person = memberOf(group, who);
	const mine = world.entries.filter((entry) => entry[0] === group && entry[1] === person.id);
	const place = { group, member: person.name, member_id: person.id, online: person.online, own: person.id === world.node.id };
	if (share === undefined)
		return [...new Set(mine.map((entry) => entry[2]))].sort().map((name) => row('share', name, { ...place, share: name }));
	const prefix = folders.length ? folders.join('/') + '/' : '';
	const below = mine.filter((entry) => entry[2] === share && entry[3].startsWith(prefix));
	if (!below.length)
		throw refused('not_found', person.name + ' offers no such folder', share + '/' + prefix);
	const names = new Set();
	const files = [];
	for (const entry of below) {
		const [name, ...rest] = entry[3].slice(prefix.length).split('/');
		if (rest.length)
			names.add(name);
		else
			files.push(entryRow(entry));
	}
	return [...[...names].sort().map((name) => row('folder', name, { ...place, share, path: prefix + name })),
		...files.sort((one, other) => one.name < other.name ? -1 : 1)];
}

function lots(limit, after) {
	const key = [world.lots, ...world.lotsMore].join();
	if (world.lotsKey !== key) {
		const names = Array.from({ length: world.lots }, (unused, at) => 'File ' + String(at).padStart(6, '0') + '.mkv');
		world.lotsKey = key;
		world.lotsNames = [...names, ...world.lotsMore].sort();
	}
	const names = world.lotsNames;
	const from = after ? names.findIndex((name) => name > after) : 0;
	const page = names.slice(from, from + limit);
	const rows = page.map((name) => entryRow(['Famille', BOB, 'Lots', name, 1, 1700000000]));
	if (from + page.length < names.length)
		rows[rows.length - 1].cursor = page[page.length - 1];
	return rows;
}

/* How often *values* of *name* have changed, as far as anybody has looked. */
function changesOf(name, ...values) {
	const now = JSON.stringify(values);
	const known = world.changes[name] || { now, count: 1 };
	world.changes[name] = { now, count: known.count + Number(known.now !== now) };
	return world.changes[name].count;
}

function sourceOf({ id, group, member, member_id, online, name, share, path }) {
	return { id, group, member, member_id, online, name, share, path };
}

function find(wish) {
	const words = wish.words.map((word) => word.toLowerCase());
	const hits = new Map();
	for (const entry of world.entries) {
		const [group, who, , path, size] = entry;
		const found = entryRow(entry);
		if (!words.every((word) => path.toLowerCase().includes(word)) || (wish.group && group !== wish.group)
			|| (wish.member && who !== wish.member) || (wish.min_size && size < wish.min_size)
			|| (wish.max_size && size > wish.max_size) || (wish.older && entry[5] > Date.now() / 1000 - wish.older) || (wish.online && !found.online && !found.own))
			continue;
		const key = found.name + size;
		hits.set(key, [...(hits.get(key) || []), found]);
	}
	const rows = [...hits.values()].map((sources) => ({ ...sources[0], sources: sources.map(sourceOf) }));
	if (wish.sort === 'size')
		rows.sort((one, other) => other.size - one.size);
	return paged(rows, wish);
}

function job(name, rest) {
	return {
		id: 'job' + (world.jobs.length + 1) + '-' + name, entry: '', name, size: 100 * MB, done_bytes: 0, state: 'queued',
		sources: 0, error: null, path: '/mnt/sda1/downloads/Famille/Bob/' + name, place: null, first: false, follow: null, ...rest
	};
}

function jobOf(id) {
	const found = world.jobs.find((one) => one.id === id);
	if (!found)
		throw refused('not_found', 'there is no such job', id);
	return found;
}

function mirrorOf(url) {
	return {
		url, state: 'waiting', read_at: 1.7e9, next_s: 3600, readings: 1, files: 3, bytes: 9 * MB, found: 3, fetched: 3,
		fetched_bytes: 9 * MB, deleted: 0, waiting: 0, held: 0, skipped: 0, failed: 0, failures: [], error: null
	};
}

/* Have a copy between two servers begun by *wish*; *rest*: what else is in its row. */
function makeCopy(wish, rest) {
	const row = {
		...job(wish.source.split('/').filter(Boolean).pop(), { state: 'locating', size: 0 }), id: 'fxp-' + (world.copies.length + 1),
		entry: wish.source, path: wish.target, files: 0, skipped: 0, failed: 0, failures: [], relayed: null, wish, ...rest
	};
	world.copies.push(row);
	return row;
}

function copyOf(id) {
	const found = world.copies.find((one) => one.id === id);
	if (!found)
		throw refused('not_found', 'there is no such copy', id);
	return found;
}

function changeJobs(id, change) {
	const rows = id === 'all' ? world.jobs.filter((one) => one.state !== 'done') : [jobOf(id)];
	rows.forEach(change);
	return rows;
}

function moveJob(id, isFirst) {
	const moved = jobOf(id);
	world.jobs = world.jobs.filter((one) => one !== moved);
	moved.first = isFirst;
	world.jobs[isFirst ? 'unshift' : 'push'](moved);
	return [moved];
}

function count(...states) {
	return world.jobs.filter((one) => states.includes(one.state)).length;
}

function changeMember(group, text, change) {
	change(groupOf(group), memberOf(group, text));
	return { group, member: text };
}

const COMMANDS = {
	'status': () => ({
		node: world.node, disk: world.disk, broker: world.broker,
		index: { files: world.entries.length, bytes: 40 * GB, scanning: world.scanning, rebuilt: null, unwatched: 0, shares: [] },
		groups: world.groups.map(({ name, members, brokers }) => ({ name, members, brokers })),
		jobs: { queued: count('queued', 'locating', 'paused'), running: count('running', 'verifying'), done: count('done'), failed: count('failed') },
		changes: {
			index: changesOf('index', world.entries, world.lots, world.lotsMore, world.shares),
			state: changesOf('state', world.jobs, world.follows, world.searches, world.news, world.requests),
			ratings: changesOf('ratings', world.ratings)
		}
	}),
	'doctor': () => ({ findings: world.findings, verdict: '', reach: 'reachable' }),
	'disk ls': ({ path }) => {
		const place = world.folders.filter((one) => (path ? one.startsWith(path + '/') : true)
			&& !one.slice(path ? path.length + 1 : 0).includes('/'));
		return place.map((one) => ({ name: one.split('/').pop(), path: one, shared: world.shares.some((share) => share.path === one) }));
	},
	'disk adopt': () => {
		world.disk = { ...world.disk, present: true, writable: true, problem: null };
		world.findings = world.findings.filter((one) => one.code !== 'disk.wrong');
		return world.disk;
	},
	'share ls': () => world.shares,
	'share add': ({ path, name, group, to }) => {
		const copied = path.includes('://');
		const share = {
			name, path: copied ? to || 'mirrors/' + name : path, groups: group, files: 0, bytes: 0,
			mirror: copied ? mirrorOf(path) : null
		};
		world.shares.push(share);
		return share;
	},
	'share rm': ({ name }) => {
		world.shares = world.shares.filter((one) => one.name !== name);
		return { name };
	},
	'share refresh': ({ name }) => {
		const share = world.shares.find((one) => one.name === name);
		share.mirror.state = 'reading';
		return [share];
	},
	'share password': ({ name, password }) => {
		if (password === 'wrong')
			throw refused('server.refused', 'the server does not take that password', name);
		return COMMANDS['share refresh']({ name });
	},
	'share confirm': ({ name }) => {
		world.findings = world.findings.filter((one) => one.thing !== name);
		return { name, missing: 3 };
	},
	'group ls': () => world.groups,
	'group create': ({ group }) => {
		if (world.groups.some((one) => one.name === group))
			throw refused('exists', 'the name is taken', group, 'Choose another name.');
		world.groups.push({ name: group, role: 'creator', brokers: ['mqtts://broker.example'], members: [member(ANNA, 'Anna', true, 'creator')] });
		return { group };
	},
	'group broker': ({ group, action, url }) => {
		const home = groupOf(group);
		home.brokers = home.brokers.filter((one) => one !== url);
		if (action === 'add')
			home.brokers.push(url.replace(/[^/]*@/, '…@'));
		return { group, brokers: home.brokers };
	},
	'group invite': ({ group }) => ({ code: 'ABCDE-FGHIJ-KLMNO-PQRST-' + groupOf(group).members.length }),
	'group join': ({ code, as }) => {
		if (!code.includes('ABCDE'))
			throw refused('code.invalid', 'the code is mistyped near its beginning', 'code');
		world.joining = { group: as || 'Voisins', state: 'knocking', inviter: null, words: [] };
		return { group: world.joining.group, state: 'knocking' };
	},
	'group joining': ({ group }) => {
		if (!world.joining)
			throw refused('not_found', 'nothing is being joined', group);
		return world.joining;
	},
	'group confirm': ({ group, decision }) => {
		world.joining.state = decision === 'yes' ? 'accepted' : 'refused';
		return { group, state: world.joining.state };
	},
	'group requests': () => world.requests,
	'group accept': ({ group, member: id }) => {
		const asking = world.requests.find((one) => one.id === id);
		world.requests = world.requests.filter((one) => one !== asking);
		groupOf(group).members.push(member(asking.id, asking.name, true));
		return { group, member: id };
	},
	'group refuse': ({ group, member: id }) => {
		world.requests = world.requests.filter((one) => one.id !== id);
		return { group, member: id };
	},
	'group leave': ({ group }) => {
		world.groups = world.groups.filter((one) => one.name !== group);
		return { group };
	},
	'group remove': ({ group, member: id }) => changeMember(group, id, (home, one) => {
		home.members = home.members.filter((other) => other !== one);
	}),
	'group admin': ({ group, member: id }) => changeMember(group, id, (home, one) => {
		one.role = 'admin';
	}),
	'group unadmin': ({ group, member: id }) => changeMember(group, id, (home, one) => {
		one.role = 'member';
	}),
	'ls': ({ path, limit, after }) => path.endsWith('/Lots') ? lots(limit, after)
		: paged(browse(path), { limit, after }),
	'find': find,
	'search ls': () => world.searches,
	'search save': (wish) => {
		const saved = { group: null, member: null, member_id: null, kind: null, min_size: null, max_size: null, newer: null, older: null, online: false, ...wish };
		world.searches.push(saved);
		return saved;
	},
	'search rm': ({ name }) => {
		world.searches = world.searches.filter((one) => one.name !== name);
		return { name };
	},
	'search new': ({ name, keep }) => {
		const rows = world.news.filter((one) => !name || one.search === name);
		if (!keep)
			world.news = world.news.filter((one) => !rows.includes(one));
		return rows;
	},
	'get': ({ entries, to, stream }) => {
		const made = entries.map((id) => {
			const name = id.split('/').pop();
			const place = to ? { path: '/mnt/sda1/' + to + '/' + name } : {};
			return job(name, {
				state: 'locating', ...place,
				...(stream ? { stream: { path: '/mnt/sda1/.fonshare/partial/' + name, ready_bytes: 0, kept: true } } : {})
			});
		});
		world.jobs.push(...made);
		return made;
	},
	'follow': ({ entry, budget, all }) => {
		const [group, who, share, ...path] = entry.replace('id-share-', '').replace('id-folder-', '').split('/');
		const row = {
			id: entry, kind: path.length ? 'folder' : 'share', group, member: memberOf(group, who).name, member_id: who, share,
			path: path.join('/'), budget, used_bytes: 0, files: 0, all, kept: null, state: 'following', error: null
		};
		world.follows.push(row);
		return [row];
	},
	'keep': ({ entry, budget, name }) => {
		const [row] = COMMANDS.follow({ entry, budget, all: true });
		row.kept = name || row.share + ' (' + row.member + ')';
		return [row];
	},
	'rate': ({ entry, stars }) => {
		const found = world.entries.find((one) => entryRow(one).id === entry);
		world.ratings[found[3]] = { ...world.ratings[found[3]], [world.node.id]: stars };
		return [entryRow(found)];
	},
	'rate ls': ({ group, limit }) => world.entries.map(entryRow).filter((one) => one.rating && (!group || one.group === group))
		.sort((one, other) => other.rating.average - one.rating.average || other.rating.count - one.rating.count)
		.slice(0, limit || 1000),
	'follow ls': () => world.follows,
	'unfollow': ({ entry }) => {
		const row = world.follows.find((one) => one.id === entry);
		world.follows = world.follows.filter((one) => one !== row);
		return row;
	},
	'jobs': () => world.jobs,
	'jobs first': ({ id }) => moveJob(id, true),
	'jobs last': ({ id }) => moveJob(id, false),
	'jobs pause': ({ id }) => changeJobs(id, (one) => {
		one.state = 'paused';
	}),
	'jobs resume': ({ id }) => changeJobs(id, (one) => {
		one.state = 'queued';
		one.error = null;
	}),
	'jobs cancel': ({ id }) => changeJobs(id, (one) => {
		one.state = 'cancelled';
	}),
	'jobs rm': ({ id }) => {
		const gone = world.jobs.filter((one) => (id === 'all' ? ['done', 'cancelled'].includes(one.state) : one.id === id));
		world.jobs = world.jobs.filter((one) => !gone.includes(one));
		return gone;
	},
	'fxp start': ({ source_password, target_password, ...wish }) => {
		if (source_password === 'wrong')
			throw refused('fxp.login', 'the server does not take this login', wish.source);
		return [makeCopy({ src_pin: null, dst_pin: null, ca: null, ...wish })];
	},
	'fxp ls': () => world.copies,
	'fxp stop': ({ id }) => {
		copyOf(id).state = 'cancelled';
		return [copyOf(id)];
	},
	'fxp rm': ({ id }) => {
		const gone = world.copies.filter((one) => (id === 'all' ? ['done', 'failed', 'cancelled'].includes(one.state) : one.id === id));
		world.copies = world.copies.filter((one) => !gone.includes(one));
		return gone;
	},
	'limits': (wanted) => {
		for (const [name, value] of Object.entries(wanted))
			world.limits[name === 'hours' || name.endsWith('s') ? name : name + '_kib_s'] = value;
		return world.limits;
	},
	'settings': () => world.settings
};

async function call(command, values) {
	world.calls.push([command, values]);
	world.began[command] = [...(world.began[command] || []), performance.now()];
	world.open[command] = (world.open[command] || 0) + 1;
	world.most[command] = Math.max(world.most[command] || 0, world.open[command]);
	await new Promise((resolve) => setTimeout(resolve, world.delay));
	world.open[command] -= 1;
	if (world.away)
		throw refused(world.away, 'away');
	if (world.failing[command])
		throw world.failing[command];
	if (!COMMANDS[command])
		throw refused('usage', 'the agent knows no such command', command);
	return structuredClone(COMMANDS[command](values)); // as by JSON: nothing is shared
}

async function qr() {
	const picture = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
	picture.setAttribute('viewBox', '0 0 21 21');
	for (let at = 0; at < 441; at += 1) {
		if (at * 7919 % 13 < 6) {
			const dot = document.createElementNS('http://www.w3.org/2000/svg', 'rect');
			dot.setAttribute('x', at % 21);
			dot.setAttribute('y', Math.floor(at / 21));
			dot.setAttribute('width', 1);
			dot.setAttribute('height', 1);
			picture.append(dot);
		}
	}
	return picture;
}

/* Mosquitto on the router itself, as LuCI's host sets it up. */
const broker = {
	ls: async () => world.logins.map((name) => ({ name })),
	async add({ name, address }) {
		world.calls.push(['broker add', { name, address }]);
		if (!address)
			throw refused('usage', 'friends need a host name or address to reach this router', 'address');
		world.logins.push(name);
		return { name, url: 'mqtts://' + name + ':secret@' + address + ':8883?pin=0a' };
	},
	async rm(name) {
		world.logins = world.logins.filter((one) => one !== name);
		return { name };
	}
};

window.world = world;
window.ask = call;
window.makeJob = (name, rest) => world.jobs.push(job(name, rest));
window.makeCopy = makeCopy;
window.start = (options) => {
	document.documentElement.lang = world.language;
	window.stop = mount(document.getElementById('page'), {
		kind: 'web', language: world.language, call, qr,
		translate: (text) => world.translate(text),
		backup: async (passphrase) => world.backups.push(passphrase),
		restore: async (file, passphrase) => world.restores.push([file.name, passphrase]),
		broker: world.logins ? broker : null,
		...options
	});
};
window.isReady = true;
