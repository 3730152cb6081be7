/* What has moved: keys that are others once something would be listed otherwise.

   `status`, which is asked for anyway, says of each kind of knowledge how often it has
   changed; so a page reads anew only what has. Pure but for the clock. */

const UNTOLD_MS = 10000; // an agent that does not say what has changed

function changesOf(status) {
	return status.changes || { index: Math.floor(performance.now() / UNTOLD_MS) };
}

/* Of files and folders: what is known of them, what they are rated, who is there. */
export function filesKey(app) {
	const status = app.status.latest;
	if (!status)
		return undefined;
	const { index, ratings } = changesOf(status);
	return JSON.stringify([index, ratings, status.groups.map((group) => [group.name,
		group.members.map((member) => [member.id, member.name, member.online])])]);
}

/* Of what the owner has wished for: jobs, follows, searches, invites. */
export function wishesKey(app) {
	const status = app.status.latest;
	if (!status)
		return undefined;
	const { index, state } = changesOf(status);
	return JSON.stringify([index, state]);
}

/* Of the own shares. The seconds until a server is read again change nothing that is shown. */
export function sharesKey(app) {
	const status = app.status.latest;
	if (!status)
		return undefined;
	return JSON.stringify([wishesKey(app), status.index, status.groups.map((group) => group.name)],
		(name, value) => (name === 'next_s' ? undefined : value));
}
