'use strict';
'require baseclass';
'require view.fonshare.host as host';

// FonShare on LuCI's overview: how it is, in four lines.

function row(title, content) {
	return E('tr', { 'class': 'tr' }, [
		E('td', { 'class': 'td left', 'width': '33%' }, [ title ]),
		E('td', { 'class': 'td left' }, [ content ])
	]);
}

function describeDisk(disk) {
	if (!disk.present)
		return _('Not there');
	if (disk.problem)
		return disk.problem.message;
	return _('%s free of %s').format(
		'%1024.1mB'.format(disk.free_bytes), '%1024.1mB'.format(disk.total_bytes));
}

function describeFriends(status) {
	const others = new Map();
	status.groups.forEach(group => group.members.forEach(member => {
		if (member.id != status.node.id)
			others.set(member.id, others.get(member.id) || member.online);
	}));
	const online = Array.from(others.values()).filter(isOnline => isOnline).length;
	return _('%d of %d online').format(online, others.size);
}

return baseclass.extend({
	title: _('FonShare'),

	load() {
		// A node that is not there is a line of the card, and no reason to fail.
		return host.call('status').catch(error => ({ error: error }));
	},

	render(status) {
		const link = E('a', { 'href': L.url('admin/services/fonshare/sharing') }, [ _('Open FonShare') ]);

		if (status.error)
			return E('table', { 'class': 'table' }, [
				row(_('Service'), status.error.message), row('', link)
			]);
		return E('table', { 'class': 'table' }, [
			row(_('Service'), status.broker.connected ? _('Connected') : _('Not connected to the broker')),
			row(_('Disk'), describeDisk(status.disk)),
			row(_('Friends'), describeFriends(status)),
			row(_('Transfers'), _('%d running, %d waiting, %d failed').format(
				status.jobs.running, status.jobs.queued, status.jobs.failed)),
			row('', link)
		]);
	}
});
