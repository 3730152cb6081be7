'use strict';
'require view';
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

return view.extend({
	load() {
		return modules.load('fonshare/app.js').catch(problem => ({ problem: problem }));
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
