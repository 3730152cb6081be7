'use strict';
'require view';
'require form';
'require rpc';
'require uci';
'require view.fonshare.fields as fields';

// First use: what `fonshare setup` asks on a terminal, as a form. The page itself then leads
// to a group, a share and a friend.

const findMounts = rpc.declare({ object: 'luci', method: 'getMountPoints', expect: { result: [] } });
const SYSTEM = [ '/', '/rom', '/overlay', '/boot', '/tmp', '/dev' ];
const KERNEL = [ '/dev/', '/proc/', '/sys/' ];

// When all is applied LuCI loads this page again; what is wanted then is the page of FonShare.
function goOnToSharing() {
	window.history.replaceState(null, '', L.url('admin/services/fonshare/sharing'));
}

// The owner's login, and one for guests at home, unless there are logins.
function proposeLogins() {
	if (uci.sections('fonshare', 'user').length)
		return;
	for (const login of [ { name: 'owner', access: 'write' }, { name: 'guest', access: 'read' } ]) {
		const section = uci.add('fonshare', 'user');
		Object.keys(login).forEach(key => uci.set('fonshare', section, key, login[key]));
	}
}

function findOwner() {
	return uci.sections('fonshare', 'user').find(one => one.access == 'write');
}

function addNode(map) {
	const section = map.section(form.NamedSection, 'node', 'node', _('This node'));
	fields.add(section, fields.find('node', 'name'));
	const enabled = fields.add(section, fields.find('node', 'enabled'));
	enabled.default = '1';
	enabled.cfgvalue = () => '1'; // that is what this form is for
	enabled.forcewrite = true;
}

function isOfSystem(mount) {
	return SYSTEM.indexOf(mount) >= 0 || KERNEL.some(place => mount.startsWith(place));
}

function addDisk(map, mounts) {
	const section = map.section(form.NamedSection, 'disk', 'disk', _('Disk'));
	const path = fields.add(section, fields.find('disk', 'path'));
	// With extroot the router runs from a partition that is mounted elsewhere as well.
	const system = mounts.filter(one => isOfSystem(one.mount)).map(one => one.device);
	mounts.filter(one => system.indexOf(one.device) < 0).forEach(one =>
		path.value(one.mount, _('%s, %s free').format(one.mount, '%1024.1mB'.format(one.free))));
}

function addOwner(map) {
	const owner = findOwner();
	if (!owner)
		return;
	const section = map.section(form.NamedSection, owner['.name'], 'user', _('Your login by FTP'));
	fields.add(section, fields.find('user', 'name'));
	const password = fields.add(section, fields.find('user', 'password'));
	password.rmempty = false;
	password.optional = false;
}

function addHouse(map) {
	const section = map.section(form.NamedSection, 'ftp', 'ftp', _('Guests at home'));
	fields.add(section, fields.find('ftp', 'guest_folders'));
}

function addBroker(map) {
	const section = map.section(form.NamedSection, 'mqtt', 'mqtt', _('Broker'));
	fields.add(section, fields.find('mqtt', 'broker'));
}

return view.extend({
	load() {
		if (L.hasViewPermission() === false)
			return null;
		return Promise.all([ L.resolveDefault(findMounts(), []), uci.load('fonshare') ]);
	},

	render(found) {
		if (!found)
			return fields.refuse(this);
		document.addEventListener('uci-applied', goOnToSharing);
		const map = new form.Map('fonshare', _('Set up FonShare'),
			_('Save and apply: the page leads on from there.'));

		proposeLogins();
		addNode(map);
		addDisk(map, found[0]);
		addOwner(map);
		addHouse(map);
		addBroker(map);
		return map.render();
	}
});
