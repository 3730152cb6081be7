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

function rows(refusals) {
	const titles = [ _('Folder'), _('FonShare may'), _('To change that') ];
	const shown = refusals.slice(0, ROWS).map(one => E('tr', { 'class': 'tr' }, [
		cell(titles[0], one.folder),
		cell(titles[1], describe(one.allowed)),
		cell(titles[2], E('code', {}, [ one.remedy ]))
	]));
	const more = refusals.length - shown.length;
	return [
		E('table', { 'class': 'table fonshare-refusals', 'style': 'overflow-wrap: anywhere' }, [
			E('tr', { 'class': 'tr table-titles' },
				titles.map(title => E('th', { 'class': 'th left' }, [ title ])))
		].concat(shown)),
		more > 0 ? E('p', {}, [ _('And %d folders more.').format(more) ]) : '',
		E('p', {}, [ _('FonShare changes no owner and no rights itself. Run these commands as root, now or later.') ])
	];
}

return baseclass.extend({
	// Return what a survey has *found*, or null if there is nothing to say.
	table(found) {
		const parts = found.refusals && found.refusals.length ? rows(found.refusals) : [];
		if (found.is_whole === false)
			parts.push(E('p', {}, [ _('Not all of the disk was looked at; FonShare’s health counts what it cannot read of a share.') ]));
		return parts.length ? E('div', {}, parts) : null;
	}
});
