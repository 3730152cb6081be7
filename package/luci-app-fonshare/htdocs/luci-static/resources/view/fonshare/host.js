'use strict';
'require baseclass';
'require rpc';
'require view.fonshare.backup as backup';
'require view.fonshare.broker as broker';
'require view.fonshare.commands as commands';

// What the page asks of LuCI: commands over ubus, LuCI's words, its QR pictures.

const PAGED = [ 'ls', 'find' ];
const ROWS = 1000;      // of a listing, where nobody says how many
const REFUSED = '-32002';       // JSON-RPC's code for "access denied"
const EXPIRED = 'SessionError';  // LuCI has looked, and says so itself over the whole page
const ABSENT = [ 'ubus code 3', 'ubus code 4', '-32000', '-32601' ];

function declare(method) {
	return rpc.declare({
		object: 'luci.fonshare',
		method: method,
		params: [ 'command', 'arguments' ],
		reject: true,
		nobatch: true   // a slow answer holds up no other
	});
}

const methods = { read: declare('read'), write: declare('write') };

function fault(code, thing) {
	switch (code) {
	case 'no_agent':
		return { code: code, thing: thing, message: _('FonShare is not running.'),
			next: _('Enable it in the settings, or start it under System, Startup.') };
	case 'unreachable':
		return { code: code, thing: thing, message: _('The router did not answer in time.'),
			next: _('What was asked for may still happen; look again in a moment.') };
	case 'session_expired':
		return { code: code, thing: thing, message: _('You have been signed out.'),
			next: _('Sign in again.') };
	case 'not_allowed':
		return { code: code, thing: thing, message: _('This login of the router may only look.'),
			next: _('Sign in as somebody who may change things.') };
	case 'agent.busy':
		return { code: code, thing: thing, message: _('FonShare is busy.'),
			next: _('Try again in a moment.') };
	case 'answer_too_large':
		return { code: code, thing: thing, message: _('The answer is too large for the router.'),
			next: _('Ask for less at once.') };
	case 'not_loaded':
		return { code: 'unreachable', thing: thing, message: _('The router has not loaded this page’s part yet.'),
			next: _('Restart the service rpcd under System, Startup, and sign in again.') };
	default:
		return { code: 'internal', thing: thing, message: _('Something went wrong within the router.'),
			next: _('This is a bug. Please report it with the system log.') };
	}
}

// By which method of the plugin *command* goes with *values*.
function accessOf(command, values) {
	const by = commands.looks[command];
	if (by == null)
		return commands.access[command];
	const isLooking = by == '' ? !Object.keys(values).length : values[by] === true;
	return isLooking ? 'read' : 'write';
}

function isRefusedForLooking(access) {
	return access == 'write' && L.hasViewPermission() === false;
}

// What LuCI's own library threw, as one of our errors.
function explain(problem, command, access) {
	const text = String(problem && problem.message || problem);
	if (problem && problem.name == EXPIRED)
		return fault('session_expired', command);
	if (text.indexOf(REFUSED) >= 0)
		return fault(isRefusedForLooking(access) ? 'not_allowed' : 'session_expired', command);
	if (text.indexOf('HTTP error 403') >= 0)
		return fault('session_expired', command);
	if (ABSENT.some(part => text.indexOf(part) >= 0))
		return fault('not_loaded', command);
	return fault('unreachable', command);
}

function read(reply) {
	if (reply.error)
		throw fault(reply.error.code, reply.error.thing);
	let answer;
	try {
		answer = JSON.parse(reply.answer);
	}
	catch (problem) {
		throw fault('no_agent', ''); // another program answers on the socket
	}
	if (answer.error)
		throw answer.error;
	return answer.result;
}

function ask(command, values) {
	const access = accessOf(command, values);
	if (!access)
		return Promise.reject(fault('internal', command));
	return methods[access](command, values).then(read, problem => {
		throw explain(problem, command, access);
	});
}

// A page of rows that no message of ubus holds is asked for in smaller ones.
function call(command, values) {
	const given = values || {};
	return ask(command, given).catch(error => {
		const limit = given.limit || ROWS;
		if (error.code != 'answer_too_large' || PAGED.indexOf(command) < 0 || limit <= 1)
			throw error;
		return call(command, Object.assign({}, given, { limit: Math.floor(limit / 2) }));
	});
}

// Return *problem*, with files or programs of the router, as one of our errors.
function ours(problem, thing) {
	return typeof(problem.code) == 'string' ? problem : explain(problem, thing, 'write');
}

function told(problem) {
	throw ours(problem, 'fonshare');
}

function qr(text) {
	return L.require('uqr').then(uqr => {
		const picture = uqr.renderSVG(text, { ecc: 'M', border: 4 });
		const element = new DOMParser().parseFromString(picture, 'image/svg+xml').documentElement;
		const size = element.getAttribute('width');
		element.setAttribute('viewBox', '0 0 ' + size + ' ' + size);
		element.setAttribute('role', 'img');
		element.setAttribute('aria-label', _('QR picture'));
		return document.importNode(element, true);
	});
}

return baseclass.extend({
	call: call,
	ours: ours,

	// Return what the page of FonShare is given.
	make() {
		return {
			kind: 'luci',
			language: document.documentElement.lang || 'en',
			translate: text => _(text),
			call: call,
			qr: qr,
			backup: passphrase => backup.backup(passphrase).catch(told),
			restore: (file, passphrase) => backup.restore(file, passphrase).catch(told),
			broker: L.hasViewPermission() === false ? null : {
				ls: () => broker.ls().catch(told),
				add: wish => broker.add(wish).catch(told),
				rm: name => broker.rm(name).catch(told)
			},
			settings: L.url('admin/services/fonshare/settings'),
			signIn: () => window.location.reload()
		};
	}
});
