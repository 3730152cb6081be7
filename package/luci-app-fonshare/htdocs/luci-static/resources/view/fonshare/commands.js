'use strict';
'require baseclass';

// Generated from src/fonshare_agent/control/commands.py by tools/luci_files.py.

return baseclass.extend({
	access: {
		'status': 'read',
		'doctor': 'read',
		'share add': 'write',
		'share ls': 'read',
		'share rm': 'write',
		'share refresh': 'write',
		'share password': 'write',
		'share confirm': 'write',
		'group create': 'write',
		'group ls': 'read',
		'group invite': 'write',
		'group join': 'write',
		'group joining': 'read',
		'group confirm': 'write',
		'group requests': 'read',
		'group accept': 'write',
		'group refuse': 'write',
		'group leave': 'write',
		'group remove': 'write',
		'group admin': 'write',
		'group unadmin': 'write',
		'group broker': 'write',
		'ls': 'read',
		'find': 'read',
		'search save': 'write',
		'search ls': 'read',
		'search rm': 'write',
		'search new': 'write',
		'get': 'write',
		'follow': 'write',
		'follow ls': 'read',
		'keep': 'write',
		'unfollow': 'write',
		'rate': 'write',
		'rate ls': 'read',
		'jobs': 'read',
		'jobs first': 'write',
		'jobs last': 'write',
		'jobs pause': 'write',
		'jobs resume': 'write',
		'jobs cancel': 'write',
		'jobs rm': 'write',
		'fxp start': 'write',
		'fxp ls': 'read',
		'fxp stop': 'write',
		'fxp rm': 'write',
		'disk': 'read',
		'disk ls': 'read',
		'disk adopt': 'write',
		'limits': 'write',
		'settings': 'read',
		'restart': 'write'
	},

	// What only looks with this switch; with '', without any argument.
	looks: {
		'search new': 'keep',
		'limits': ''
	}
});
