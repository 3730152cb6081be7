'use strict';
'require baseclass';

// The folders that the service's user may not use, with what gives it the rest: commands for
// root's terminal, as `fonshare setup` names them.

const ROWS = 20;

function describe(allowed) {
	switch (allowed) {
	case 'read':
		return _('Only read');
	case 'nothing':
		return _('Nothing');
	case 'in part':
		return _('Only in part');
	case 'ASCII':
		return _('Names without accents');
	default:
		return allowed;
	}
}

function cell(title, content) {
	return E('td', { 'class': 'td left', 'data-title': title }, [ content ]);
}

return baseclass.extend({
	// Return a table of *refusals*, or null if there are none.
	table(refusals) {
		if (!refusals || !refusals.length)
			return null;
		const titles = [ _('Folder'), _('FonShare may'), _('To change that') ];
		const rows = refusals.slice(0, ROWS).map(one => E('tr', { 'class': 'tr' }, [
			cell(titles[0], one.folder),
			cell(titles[1], describe(one.allowed)),
			cell(titles[2], E('code', {}, [ one.remedy ]))
		]));
		const more = refusals.length - rows.length;
		return E('div', {}, [
			E('table', { 'class': 'table fonshare-refusals', 'style': 'overflow-wrap: anywhere' }, [
				E('tr', { 'class': 'tr table-titles' },
					titles.map(title => E('th', { 'class': 'th left' }, [ title ])))
			].concat(rows)),
			more > 0 ? E('p', {}, [ _('And %d folders more.').format(more) ]) : ''
		]);
	}
});
