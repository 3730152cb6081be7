/* A stand-in for the page of FonShare: asks its host what a test wants to know. */

import { say } from './say.js';
import { speaking } from './told.js';

export function mount(element, given) {
	const host = speaking(given);
	window.host = host;
	/* Return {answer} or {error} of a call, for tests. */
	window.ask = (command, values) => host.call(command, values).then(
		answer => ({ answer }), error => ({ error }));
	host.call('status').then(status => say(element, status.node.name), error => say(element, error.message));
	return () => element.replaceChildren();
}
