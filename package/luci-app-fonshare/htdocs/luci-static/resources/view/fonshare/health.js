'use strict';
'require baseclass';
'require view.fonshare.host as host';
'require view.fonshare.modules as modules';

// What the doctor says once the node is up, as `fonshare setup` ends on a terminal.

const PATIENCE_MS = 120000;     // a router under load takes half of it to start
const LOOK_MS = 2000;
const NOT_YET = [ 'no_agent', 'starting', 'unreachable', 'agent.busy' ];
const MARKS = { ok: '', warning: 'warning', error: 'error' };

function wait() {
	return new Promise(done => setTimeout(done, LOOK_MS));
}

// Return *call* of the host, whose answers and errors are then in the reader's language.
function speaking(call) {
	return modules.load('fonshare/told.js').then(
		told => told.speaking(Object.assign(host.make(), { call: call })));
}

// Return the doctor's answer; null if the node does not come up.
async function examine(agent) {
	for (const begun = Date.now(); Date.now() - begun < PATIENCE_MS; await wait()) {
		try {
			const found = await agent.call('doctor', {});
			if (!found.findings.some(one => one.code == 'starting'))
				return found;
		}
		catch (error) {
			if (NOT_YET.indexOf(error.code) < 0)
				throw error;
		}
	}
	return null;
}

function report(level, message, next) {
	return E('div', { 'class': 'alert-message ' + level }, [
		E('p', {}, [ message.charAt(0).toUpperCase() + message.slice(1) ]), next ? E('p', {}, [ next ]) : ''
	]);
}

function describe(found) {
	if (!found)
		return report('warning', _('FonShare is not up yet.'), _('Look into the system log.'));
	const wrong = found.findings.filter(one => one.level != 'ok');
	return wrong.length
		? E('div', {}, wrong.map(one => report(MARKS[one.level], one.message, one.next)))
		: report('success', _('All is well.'));
}

return baseclass.extend({
	report: report,

	// Return the error *problem* in the reader's language.
	worded(problem) {
		return speaking(() => Promise.reject(problem)).then(agent => agent.call('setup', {}))
			.catch(error => error);
	},

	// Show in *place* that the doctor is asked, and then what it says.
	show(place) {
		place.replaceChildren(E('p', { 'class': 'spinning', 'role': 'status' }, [ _('FonShare is starting …') ]));
		const again = E('button', { 'class': 'btn cbi-button', 'click': () => this.show(place) }, [ _('Look again') ]);
		return speaking(host.call).then(examine).then(describe, error => report('error', error.message, error.next))
			.then(said => place.replaceChildren(said, again));
	}
});
