// The way from LuCI to the agent: the ubus object luci.fonshare, over the control socket.
//
// `read` takes the commands that only look, `write` those that change something, so that
// LuCI's rights can grant the two apart; which is which stands in ACCESS and LOOKS below. A reply is
// {answer}, the line of JSON that the agent sent, untouched, or {error: {code, thing}}; the
// browser parses, words and shows both.
//
// rpcd runs this in its only thread, for which all of LuCI waits. So nothing here blocks,
// whatever the agent does: it waits in rpcd's own loop, and every wait has an end.

'use strict';

import { connect as connect_socket, error as socket_error } from 'socket';
import { handle, timer, ULOOP_READ, ULOOP_WRITE } from 'uloop';
import { cursor } from 'uci';
import { connect as connect_bus } from 'ubus';

const RUN_FOLDER = '/var/run/fonshare';
const CONNECT_MS = 100;        // a socket of this machine is there at once, or not at all
const ANSWER_MS = 15000;       // before LuCI's own 20 s, and before rpcd's 30 s
const RUNNING_MAX = 8;         // of the 16 clients that the agent serves
const ANSWER_BYTES_MAX = 1000000; // a message of ubus holds 1 MiB
const EAGAIN = 11;

// Generated from src/fonshare_agent/control/commands.py by tools/luci_files.py.
const ACCESS = {
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
	'restart': 'write',
};

// What only looks with this switch; with '', without any argument.
const LOOKS = {
	'search new': 'keep',
	'limits': '',
};
// End of what is generated.

const running = [];
let bus;

function fail(code, thing) {
	return { error: { code, thing: thing ?? '' } };
}

function socket_path() {
	const uci = cursor();
	const folder = uci.get('fonshare', 'disk', 'run');
	return `${folder || RUN_FOLDER}/control.sock`;
}

// Ends *call* with *reply*, once. The handle and the timer are held until all is closed.
function end(call, reply) {
	const at = index(running, call);
	if (at < 0)
		return;

	splice(running, at, 1);
	call.watch?.delete();
	call.deadline?.cancel();
	call.connection.close();
	call.request.reply(reply);
}

function is_answer(text) {
	return substr(text, 0, 10) == '{"result":' || substr(text, 0, 9) == '{"error":';
}

function conclude(call, text) {
	end(call, is_answer(text) ? { answer: text } : fail('no_agent', call.path));
}

// Reads all that is there: the loop does not call again for a connection that is closed.
function receive(call) {
	let piece;
	while (length(piece = call.connection.recv())) {
		push(call.received, piece);
		call.size += length(piece);
		if (call.size > ANSWER_BYTES_MAX)
			return end(call, fail('answer_too_large', call.command));
		if (substr(piece, -1) == '\n')
			return conclude(call, join('', call.received));
	}
	if (piece == null && socket_error(true) == EAGAIN)
		return;

	end(call, fail('no_agent', call.path));
}

function send_more(call) {
	// An agent that turns clients away answers without reading: that is then received.
	const sent = call.connection.send(call.unsent) ?? length(call.unsent);
	call.unsent = substr(call.unsent, sent);
}

function watch(call) {
	const flags = length(call.unsent) ? ULOOP_READ | ULOOP_WRITE : ULOOP_READ;
	call.watch = handle(call.connection, function(events) {
		// What escaped from here would end rpcd's loop.
		try {
			if (events & ULOOP_READ)
				return receive(call);
			send_more(call);
			if (!length(call.unsent)) {
				const old = call.watch;
				old.delete();
				watch(call);
			}
		}
		catch (problem) {
			warn(`luci.fonshare: ${call.command}: ${problem}\n`);
			end(call, fail('internal', call.command));
		}
	}, flags);
}

// Tells rpcd that the reply comes later. rpcd before 2026 (OpenWrt 24.10) learns that only
// from a pending request of ubus, so it gets one to its own object `session`, which changes
// nothing and whose answer nobody reads.
function postpone(request) {
	if (type(request.defer) == 'function')
		return request.defer();

	const ignore = function() {};
	bus ??= connect_bus();
	const pending = bus?.defer('session', 'access', {}, ignore);
	if (pending)
		return pending;

	bus = connect_bus(); // ubusd was started anew
	return bus?.defer('session', 'access', {}, ignore);
}

function ask(request, command, line) {
	const path = socket_path();
	const connection = connect_socket({ path }, null, null, CONNECT_MS);
	if (!connection)
		return fail('no_agent', path);

	const call = { request, command, path, connection, unsent: line, received: [], size: 0 };
	const pending = postpone(request);
	if (!pending) {
		connection.close();
		return fail('internal', command);
	}
	push(running, call);
	watch(call);
	call.deadline = timer(ANSWER_MS, () => end(call, fail('unreachable', command)));
	return pending;
}

function only_looks(command, given) {
	const by = LOOKS[command];
	if (by == null)
		return false;
	return by == '' ? !length(given) : given[by] === true;
}

function is_granted(command, given, access) {
	return ACCESS[command] == access || (access == 'read' && only_looks(command, given));
}

function method(access) {
	return {
		args: { command: '', arguments: {} },
		call: function(request) {
			const command = request.args.command ?? '';
			if (!(command in ACCESS))
				return fail('usage', command);
			const given = request.args.arguments ?? {};
			if (!is_granted(command, given, access))
				return fail('not_allowed', command);
			if (length(running) >= RUNNING_MAX)
				return fail('agent.busy', command);

			const line = { command, arguments: given };
			return ask(request, command, `${sprintf('%J', line)}\n`);
		}
	};
}

return {
	'luci.fonshare': {
		read: method('read'),
		write: method('write')
	}
};
