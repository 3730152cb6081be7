'use strict';
'require view';
'require uci';
'require view.fonshare.host as host';
'require view.fonshare.modules as modules';

// The page itself, which is the same outside of LuCI: resources/fonshare/app.js.

function showFailure(place, problem) {
	place.replaceChildren(E('div', { 'class': 'alert-message error' }, [
		E('h4', {}, [ _('The page could not be loaded.') ]),
		E('p', {}, [ String(problem && problem.message || problem) ]),
		E('button', { 'class': 'btn', 'click': () => window.location.reload() }, [ _('Reload') ])
	]));
}

function showFirstUse(place) {
	place.replaceChildren(
		E('h2', {}, [ _('Welcome to FonShare') ]),
		E('p', {}, [ _('It is not enabled yet. It needs a name, a disk and a password first.') ]),
		E('p', {}, [ E('a', { 'class': 'btn cbi-button-action', 'href': L.url('admin/services/fonshare/setup') },
			[ _('Set it up') ]) ]));
}

return view.extend({
	load() {
		return Promise.all([
			modules.load('fonshare/app.js').catch(problem => ({ problem: problem })),
			L.resolveDefault(uci.load('fonshare'), null)
		]);
	},

	render(loaded) {
		const place = E('div', { 'id': 'fonshare-page' });
		const page = loaded[0];

		if (uci.get('fonshare', 'node', 'enabled') == '0')
			showFirstUse(place);
		else if (page.problem)
			showFailure(place, page.problem);
		else
			page.mount(place, host.make());
		return place;
	},

	handleSave: null,
	handleSaveApply: null,
	handleReset: null
});
