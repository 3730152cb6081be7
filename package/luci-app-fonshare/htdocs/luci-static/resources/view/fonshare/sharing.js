'use strict';
'require view';
'require view.fonshare.host as host';

// The page itself, which is the same outside of LuCI: resources/fonshare/app.js.

function showFailure(place, problem) {
	place.replaceChildren(E('div', { 'class': 'alert-message error' }, [
		E('h4', {}, [ _('The page could not be loaded.') ]),
		E('p', {}, [ String(problem && problem.message || problem) ]),
		E('button', { 'class': 'btn', 'click': () => window.location.reload() }, [ _('Reload') ])
	]));
}

return view.extend({
	load() {
		// A module by its address, since LuCI's own loader knows only LuCI's modules.
		return import(L.resource('fonshare/app.js')).catch(problem => ({ problem: problem }));
	},

	render(app) {
		const place = E('div', { 'id': 'fonshare-page' });
		if (app.problem)
			showFailure(place, app.problem);
		else
			app.mount(place, host.make());
		return place;
	},

	handleSave: null,
	handleSaveApply: null,
	handleReset: null
});
