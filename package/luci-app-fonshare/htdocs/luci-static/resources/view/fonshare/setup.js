'use strict';
'require view';
'require form';
'require fs';
'require ui';
'require view.fonshare.fields as fields';
'require view.fonshare.health as health';
'require view.fonshare.host as host';
'require view.fonshare.program as program';
'require view.fonshare.refusals as refusals';

// First use: what `fonshare setup` asks on a terminal, as a form. The same program says what
// may be answered, and takes the answers; the page itself then leads to a group, a share and
// a friend.

const ANSWERS = '/tmp/run/fonshare-luci.answers';
const SERVICE = '/etc/init.d/fonshare';
const LOOKS = 10;
const LOOK_MS = 2000;
const GROUP = new RegExp('^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$');
const ADDRESS = new RegExp('^mqtts?://[^/]');
const BROKERS = { invite: [], here: [ 'group', 'address' ], own: [ 'url', 'user', 'password', 'ca' ] };
// Where the form asks for what is wrong, by the thing or the code of the program's error.
const FIELDS = {
	'name': 'node.name', 'disk.missing': 'disk.path', 'disk.readonly': 'disk.path',
	'password': 'owner.password', 'guest_folders': 'owner.guest_folders',
	'broker.group': 'mqtt.group', 'broker.address': 'mqtt.address', 'broker.url': 'mqtt.url', 'not_found': 'mqtt.ca',
	'port': 'doors.port', 'port.taken': 'doors.port'
};

const look = () => program.run([ 'setup', '--look' ]);

function isUsable(disk) {
	return !disk.problem;
}

// --- the form ------------------------------------------------------------------------

function need(field) {
	field.rmempty = false;
	field.optional = false;
	return field;
}

function addNode(map) {
	const section = map.section(form.NamedSection, 'node', 'node', _('This node'));
	fields.add(section, fields.find('node', 'name'));
}

function describeProblem(disk) {
	return disk.problem == 'read-only'
		? _('%s can only be read: check it with e2fsck.').format(disk.path)
		: _('%s cannot be used: %s').format(disk.path, disk.problem);
}

// What stands in the way on *disk*, shown while that disk is chosen.
function addRefusals(section, disk, number) {
	const table = refusals.table(disk);
	if (!table)
		return;
	const field = section.option(form.DummyValue, 'refusals' + number, _('In the way there'));
	field.depends('path', disk.path);
	field.renderWidget = () => table;
}

function addDisk(map, disks) {
	const section = map.section(form.NamedSection, 'disk', 'disk', _('Disk'));
	const usable = disks.filter(isUsable);
	const path = section.option(form.ListValue, 'path', _('Disk'), fields.escaped([
		_('Partitions that hold the router’s system are not offered.')
	].concat(disks.filter(one => !isUsable(one)).map(describeProblem)).join(' ')));
	usable.forEach(one => path.value(one.path, _('%s (%s), %s free').format(
		one.path, one.kind, '%1024.1mB'.format(one.free_bytes))));
	usable.forEach((one, number) => addRefusals(section, one, number));
}

function addOwner(map) {
	const section = map.section(form.NamedSection, 'owner', 'owner', _('Your login by FTP'),
		_('Its name is “owner”; it may read and write. The login “guest” needs no password, may only read, and only at home.'));
	const password = need(fields.add(section, fields.find('user', 'password')));
	password.description = _('You sign in with it by FTP.');
	fields.add(section, fields.find('ftp', 'guest_folders'));
}

function describeHindrance(word) {
	switch (word) {
	case 'missing':
		return _('For one on this router install mosquitto-ssl first.');
	case 'in_use':
		return _('Mosquitto on this router has settings of its own: add a login there, and give its address here.');
	default:
		return '';
	}
}

function addOwnBroker(section) {
	const group = need(section.option(form.Value, 'group', _('First group on it'),
		_('The group’s login at the broker. Letters, digits, dots and dashes.')));
	group.validate = (sectionId, value) => GROUP.test(value)
		|| _('Up to 32 letters, digits, dots and dashes.');
	const address = need(section.option(form.Value, 'address', _('This router’s address'),
		_('The host name or address by which friends reach this router from outside.')));
	address.datatype = 'host';
	[ group, address ].forEach(field => field.depends('kind', 'here'));
}

function addOtherBroker(section) {
	const url = need(section.option(form.Value, 'url', _('Address'),
		_('As mqtts://broker.example.org, or as “fonshare broker add” showed it on another router.')));
	url.validate = (sectionId, value) => ADDRESS.test(value)
		|| _('It begins with mqtts:// or mqtt://.');
	const user = section.option(form.Value, 'user', _('User'), _('If the broker asks for one.'));
	const password = section.option(form.Value, 'password', _('Password'));
	password.password = true;
	const ca = section.option(form.Value, 'ca', fields.find('mqtt', 'ca').title, fields.escaped(fields.find('mqtt', 'ca').help));
	ca.placeholder = '/etc/ssl/certs/broker.pem';
	[ user, password, ca ].forEach(field => { field.optional = true; });
	[ url, user, password, ca ].forEach(field => field.depends('kind', 'own'));
}

function addBroker(map, hindrance) {
	const section = map.section(form.NamedSection, 'mqtt', 'mqtt', _('Broker'),
		_('A broker passes on what members tell each other, not files. Who is invited needs none.'));
	const kind = section.option(form.ListValue, 'kind', _('Broker'), describeHindrance(hindrance));
	kind.value('invite', _('None: a friend invites me'));
	if (!hindrance)
		kind.value('here', _('Mosquitto on this router, if friends reach it from outside'));
	kind.value('own', _('One of your own'));
	if (!hindrance)
		addOwnBroker(section);
	addOtherBroker(section);
}

function addPorts(map, port) {
	const section = map.section(form.NamedSection, 'doors', 'doors', _('Ports'),
		_('Friends have the port after that of the house.'));
	const house = fields.add(section, fields.find('ftp', 'port'));
	house.datatype = 'and(port,range(1024,65534))';
	house.description = fields.escaped(fields.find('ftp', 'port').help);
	house.placeholder = String(port);
	const option = fields.find('node', 'port_mapping');
	const mapping = section.option(form.ListValue, option.name, option.title, fields.escaped(option.help));
	mapping.value('auto', _('Yes'));
	mapping.value('off', _('No'));
}

function makeForm(offer, data) {
	const map = new form.JSONMap(data, _('Set up FonShare'),
		_('Nothing is written before you press the button at the end.'));
	addNode(map);
	addDisk(map, offer.disks);
	addOwner(map);
	addBroker(map, offer.broker_hindrance);
	addPorts(map, offer.port);
	return map;
}

function proposal(offer) {
	return {
		node: { name: offer.name },
		disk: { path: offer.disks.filter(isUsable)[0].path },
		owner: {},
		mqtt: { kind: 'invite', group: 'friends' },
		doors: { port_mapping: 'auto' }
	};
}

// --- the answers ---------------------------------------------------------------------

function answersOf(data, offer) {
	const broker = { kind: data.mqtt.kind };
	BROKERS[broker.kind].filter(name => data.mqtt[name]).forEach(name => { broker[name] = data.mqtt[name]; });
	return {
		name: data.node.name,
		disk: data.disk.path,
		password: data.owner.password,
		guest_folders: data.owner.guest_folders || [],
		broker: broker,
		port: Number(data.doors.port || offer.port),
		port_mapping: data.doors.port_mapping != 'off',
		language: document.documentElement.lang.slice(0, 2) || 'en'
	};
}

// A slow router may take longer than LuCI waits. What was asked for is then done, or under way,
// and what was cut off is the rest: that the service starts.
async function lookAgain(problem) {
	if (problem.code && problem.code != 'exists')
		throw problem;
	for (let looks = LOOKS; looks > 0; looks--) {
		const offer = await look();
		if (offer.is_set_up) {
			await fs.exec(SERVICE, [ 'start' ]);
			return {};
		}
		await new Promise(done => setTimeout(done, LOOK_MS));
	}
	throw problem;
}

function send(answers) {
	return program.tidily([ ANSWERS ], async () => {
		await fs.write(ANSWERS, JSON.stringify(answers), program.PRIVATE);
		return program.run([ 'setup', '--answers', ANSWERS ]).catch(lookAgain);
	});
}

// --- what is shown -------------------------------------------------------------------

function showError(place, error) {
	const thing = error.thing && !FIELDS[error.thing] ? ' (' + error.thing + ')' : '';
	const said = health.report('error', (error.message || String(error)) + thing, error.next);
	said.setAttribute('role', 'alert');
	place.replaceChildren(said);
	said.scrollIntoView({ block: 'center' });
}

// Return where in the form *error* is said: at the field that it is about, else *otherwise*.
function placeOf(form, error, otherwise) {
	const field = 'cbid.json.' + (FIELDS[error.thing] || FIELDS[error.code]);
	const place = form.querySelector('[data-field="' + field + '"] .cbi-value-field');
	return place && place.offsetParent ? place : otherwise; // what is not asked is not in sight
}

function showEnd(place, title, done) {
	const table = refusals.table(done);
	const doctor = E('div', { 'id': 'fonshare-doctor' });
	place.replaceChildren(
		E('h2', { 'tabindex': '-1' }, [ title ]),
		done.broker ? health.report('warning', _('There is no broker on this router yet: %s').format(done.broker.message), done.broker.next) : '',
		done.is_started === false ? health.report('error', _('FonShare did not start.'), _('Look into the system log.')) : '',
		table ? E('h3', {}, [ _('What FonShare may not do on the disk') ]) : '', table || '',
		E('h3', {}, [ _('Health') ]), doctor,
		E('p', {}, [ E('a', { 'class': 'btn cbi-button-action', 'href': L.url('admin/services/fonshare/sharing') },
			[ _('Go on to FonShare') ]) ]));
	place.querySelector('h2').focus();
	return health.show(doctor);
}

function showNoDisk(place, disks) {
	place.replaceChildren(
		E('h2', {}, [ _('Set up FonShare') ]),
		health.report('warning', _('No disk is mounted but those that hold the system.'),
			_('Mount one under System, Mount Points; with extroot, a second partition.')),
		E('div', {}, disks.map(one => E('p', {}, [ describeProblem(one) ]))),
		E('button', { 'class': 'btn cbi-button', 'click': () => window.location.reload() }, [ _('Look again') ]));
}

async function showForm(place, offer) {
	const data = proposal(offer);
	const map = makeForm(offer, data);
	const end = E('div'), trouble = E('div');
	const setUp = () => {
		trouble.replaceChildren();
		return map.save().then(
			() => send(answersOf(data, offer)).then(
				done => { showEnd(place, _('FonShare is set up.'), done); },
				thrown => {
					const problem = host.ours(thrown, '');
					placeOf(place, problem, end).append(trouble);
					showError(trouble, problem);
				}),
			() => null); // the form has told what is wrong
	};
	place.replaceChildren(await map.render(), end, E('div', { 'class': 'cbi-page-actions' }, [
		E('button', { 'class': 'cbi-button cbi-button-positive important', 'click': ui.createHandlerFn({}, setUp) },
			[ _('Set it up') ])
	]));
}

return view.extend({
	load() {
		if (L.hasViewPermission() === false)
			return null;
		return look().catch(problem => ({ problem: problem }));
	},

	async render(offer) {
		if (!offer)
			return fields.refuse(this);
		const place = E('div', { 'id': 'fonshare-setup' });
		if (offer.problem)
			showError(place, await health.worded(host.ours(offer.problem, '')));
		else if (offer.is_set_up)
			showEnd(place, _('This router is set up already.'), {});
		else if (!offer.disks.some(isUsable))
			showNoDisk(place, offer.disks);
		else
			await showForm(place, offer);
		return place;
	},

	handleSave: null,
	handleSaveApply: null,
	handleReset: null
});
