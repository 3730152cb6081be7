/* What the agent reports, in the reader's language.

   Its sentences are English, and more exact than a code; so they stay where English is
   read, but for what to do next on a terminal. Elsewhere an error or a finding is told by its code, which stays the same for
   ever: [what, what to do next]. An empty text keeps the agent's own. In a finding %s is
   what it is about; of an error the page shows that itself. */

const ANSWERS = ['doctor', 'status', 'disk', 'disk adopt', 'fxp ls', 'fxp start', 'fxp stop']; // that hold errors or findings

/* Return [what, next] by code. */
function table(_) {
	return {
		'not_found': [_('There is no such thing here.'), _('Look again: it may have another name, or be gone.')],
		'ambiguous': [_('The name fits more than one thing.'), _('Use more letters of the id.')],
		'not_allowed': [_('You may not do that here.'), _('Ask an admin of the group.')],
		'exists': [_('The name is taken already.'), _('Choose another name.')],
		'followed': [_('That place is followed already.'), _('Stop following it first; its files stay.')],
		'folder.in_use': [_('Other files lie in the folder for it; all in it would be offered.'), _('Choose another name, or move what lies there.')],
		'bad_path': [_('That is no folder or file that can be used.'), _('Nothing was read or written.')],
		'broker.url': ['', _('Write it as mqtt://USER:PASSWORD@HOST:PORT or mqtts://…')],
		'usage': ['', _('Nothing was changed.')],
		'settings': ['', _('Mend the settings named and start again; nothing was changed.')],
		'settings.syntax': ['', _('Mend the lines named; nothing was changed.')],
		'settings.unwritten': [_('The settings could not be stored.'), _('They are as they were; try again later.')],
		'settings.unused': [_('The settings have something that this version does not know: %s'), _('It is not used: mend its name or take it out.')],
		'settings.warning': [_('A password could be better protected: %s'), _('Change the settings.')],
		'internal': [_('Something went wrong in FonShare.'), _('This is a bug. Please report it with the system log.')],
		'keys.exposed': [_('Others on this machine can read or change the keys.'), _('Run the command named, then start again; nothing was changed.')],
		'keys.damaged': [_('The node’s keys, or what it knows of a group, cannot be read.'), _('Bring them back from a backup; nothing was overwritten.')],
		'backup.unreadable': [_('The backup does not open: the passphrase is wrong, or the file is damaged.'), _('Check the passphrase and the file; nothing was changed.')],
		'backup.never': [_('No backup of this node’s keys was ever made.'), _('Make one in the settings, and keep the file elsewhere.')],
		'clock_unknown': [_('The time is not known yet.'), _('Set the clock or wait for NTP, then try again.')],
		'join.failed': [_('The join has failed.'), _('Nothing was kept; ask for a new invite to try again.')],
		'agent.running': [_('FonShare still runs.'), _('Stop it first, then try again.')],
		'port.taken': [_('A port of the settings is in use already.'), _('Choose another port in the settings.')],
		'broker': [_('The broker cannot be used now.'), _('It is tried again; files already here stay available.')],
		'broker.none': [_('No broker is connected.'), _('Set one in the settings, or wait: it is tried again.')],
		'broker.unreachable': [_('The broker cannot be reached.'), _('It is tried again; check the broker’s address and your network.')],
		'broker.refused': [_('The broker refuses the user or the password.'), _('Check both in the settings; it is tried again.')],
		'broker.tls': [_('The broker’s certificate cannot be trusted.'), _('Nothing was sent to it; check the authority or the pin in the settings.')],
		'broker.clock_unknown': [_('The broker’s certificate cannot be checked before the time is known.'), _('It connects by itself once the clock is set.')],
		'broker.protocol': [_('The broker does not speak as expected.'), _('The connection was dropped and is tried again; is this an MQTT broker?')],
		'broker.paho': [_('The MQTT library on this machine is of an unknown version.'), _('Install FonShare anew.')],
		'broker.oversized': [_('A broker delivered a message that is far too large; it was not read.'), _('Somebody floods a topic; if it goes on, move the group to another broker.')],
		'code.second_joiner': [_('A second node used an invite code of the group %s; it was refused.'), _('Somebody else knows the code: compare the six words with the joiner.')],
		'storage': [_('The disk cannot be used now.'), _('Transfers wait and go on by themselves when the disk is back.')],
		'storage.damaged': [_('A database on the disk is damaged.'), _('Check the disk; then restore a backup.')],
		'storage.newer': [_('A database was written by a newer version of FonShare.'), _('Install that version again; nothing was changed.')],
		'storage.in_use': [_('Another program holds the database.'), _('Stop it and start again.')],
		'content.changed': [_('The file is being changed right now.'), _('It is read again once it rests.')],
		'file.busy': [_('The file is being written already.'), _('Wait until the other upload ends, then try again.')],
		'target.elsewhere': [_('That folder is not on the node’s disk.'), _('Choose a folder on the disk.')],
		'target.barred': [_('Something lies in the way of a file’s folder, or nothing may be put there.'), _('Move it away or change its rights; the job then goes on by itself.')],
		'disk.missing': [_('The disk is not there.'), _('Plug it in again; nothing is deleted or announced meanwhile.')],
		'disk.wrong': [_('Another disk is where this node’s disk should be.'), _('Plug the right disk in, or take this one.')],
		'disk.readonly': [_('The disk can be read but not written.'), _('Check the disk’s file system; transfers wait until it can be written.')],
		'disk.file_too_large': [_('The disk cannot hold a file of this size.'), _('FAT holds files below 4 GiB; use a disk with ext4 or exFAT.')],
		'disk.full': [_('The disk is full.'), _('Free some space; the transfer then goes on by itself.')],
		'memory.short': [_('The device has little memory left: FTP logins are refused.'), _('Stop other services; logins work again by themselves.')],
		'disk.low': [_('The disk has little room left.'), _('Free some space; transfers wait when there is none.')],
		'disk.ok': [_('The disk is there and can be written.'), ''],
		'index.rebuilt': [_('The index is made anew.'), _('Nothing to do: it fills by itself. If it recurs, check the disk.')],
		'scan.skipped': [_('Some files or folders of the share %s are not offered.'), _('Their names or rights do not allow it.')],
		'share.held_back': [_('Many files of the share %s are missing at once; friends still see them.'), _('Check the disk. If you deleted them, say so here; else they count as deleted when a later look misses them too.')],
		'fxp.url': [_('That is no address of an FTP server.'), _('Write it as ftps://USER@HOST/PATH.')],
		'fxp.login': [_('The FTP server does not take this user and password.'), _('Give the right ones; nothing was changed.')],
		'fxp.unreachable': [_('The FTP server does not answer.'), _('Check its address; it is tried again by itself.')],
		'fxp.lost': [_('The connection to the FTP server broke off.'), _('It is tried again by itself; nothing is lost.')],
		'fxp.certificate': [_('The FTP server’s certificate cannot be trusted.'), _('No password was sent. If the server is yours, give the fingerprint of its certificate.')],
		'fxp.refused': [_('The FTP server does not give that file or folder.'), _('Check what that user may read there.')],
		'fxp.listing': [_('The FTP server lists a folder in a way that could mean several things.'), _('Nothing was guessed.')],
		'fxp.forbidden': [_('One of the FTP servers does not connect to the other.'), _('Let the bytes pass this node.')],
		'fxp.unprotected': [_('The two FTP servers cannot encrypt between themselves.'), _('Let the bytes pass this node.')],
		'fxp.partial': [_('What lies there from before is no beginning of this file.'), _('Delete it there; nothing was changed.')],
		'fxp.unfinished': [_('Some files could not be copied.'), _('The others are there; begun again, it tries these once more.')],
		'fxp.busy': [_('As many copies between servers run already as may at once.'), _('Wait until one has ended, or stop one.')],
		'fxp.ended': [_('The copy has ended without a word.'), _('Begin it again: it goes on from there.')],
		'mirror.held_back': [_('Many files are gone at once from the server of which the share %s is a copy; the copies are kept.'), _('Look at that server. If they are meant to go, say so here.')],
		'mirror.read': [_('A server of which a share is a copy was read to its end: %s'), ''],
		'mirror.ended': [_('The process that reads the server has ended.'), _('It is begun again by itself; what has come is kept.')],
		'share.missing': [_('The folder of a share is not there: %s'), _('Make the folder, or remove the share; friends keep what they saw.')],
		'share.no_group': [_('A share names a group that this node is not in: %s'), _('Join the group, or change the share.')],
		'share.unread': [_('The share %s could not be looked through.'), _('Friends keep what they saw; it is tried again by itself.')],
		'watch.limit': [_('Too many folders to be watched: changes in some are found only from time to time.'), _('Raise the limit %s in /etc/sysctl.conf.')],
		'watch.none': [_('Folders cannot be watched: changes are found only from time to time.'), _('Raise the limit %s in /etc/sysctl.conf.')],
		'reach.local': [_('Only nodes on this machine reach this node.'), _('Set the address of the FTP doors to :: for friends elsewhere.')],
		'reach.open': [_('Friends reach this node.'), ''],
		'reach.mapped': [_('Friends reach this node: the router upstream forwards its ports, at %s.'), ''],
		'reach.forward': [_('Friends cannot reach this node.'), _('Forward the ports of the friends’ door to %s on your router. Until then you can fetch from friends who can be reached.')],
		'reach.data': [_('Friends reach the door of this node, but not its data ports: they can fetch nothing from it.'), _('Forward the data ports of the friends’ door to %s as well. Until then you can fetch from friends who can be reached.')],
		'reach.double_nat': [_('The router upstream is itself behind another router.'), _('Forward the ports to %s there, too, or connect this node to the outer router. Until then you can fetch from friends who can be reached.')],
		'reach.cgnat': [_('Your provider shares one address among customers: you can fetch from friends who can be reached.'), _('Nothing; or ask the provider for a public IPv4 address, or for IPv6.')]
	};
}

function filled(text, thing) {
	return text.replace('%s', () => thing);
}

/* Return *report*, an error or a finding, in the reader's words. */
function inWords(known, report) {
	const [what, next] = known[report.code] || ['', ''];
	const isFinding = typeof report.level === 'string';
	const thing = report.thing || '';
	const isNamed = what.includes('%s') || report.code.split('.')[0] === thing;
	const rest = isFinding && thing && !isNamed && report.level !== 'ok' ? ' (' + thing + ')' : '';
	return {
		...report,
		message: what ? filled(what, thing) + rest : report.message,
		next: next ? filled(next, thing) : report.next
	};
}

/* Return *report* in the agent's own words, but for advice that needs a terminal. */
function inEnglish(known, report) {
	const told = inWords(known, report);
	return report.next && report.next.includes('`fonshare') ? { ...report, next: told.next } : report;
}

/* The same answer, with *tell* applied to every error and finding in it. */
function answerInWords(tell, value) {
	if (Array.isArray(value))
		return value.map((one) => answerInWords(tell, one));
	if (value === null || typeof value !== 'object')
		return value;
	const copy = {};
	for (const [name, one] of Object.entries(value))
		copy[name] = answerInWords(tell, one);
	const isReport = typeof copy.code === 'string' && typeof copy.message === 'string';
	return isReport ? tell(copy) : copy;
}

/* Return *host*, whose answers and errors speak its language and send nobody to a terminal. */
export function speaking(host) {
	const known = table((text) => (host.translate && host.translate(text)) || text);
	const isEnglish = !host.translate || host.language.startsWith('en');
	const tell = (report) => (isEnglish ? inEnglish : inWords)(known, report);
	const worded = (work) => work && (async (...given) => {
		try {
			return await work(...given);
		} catch (error) {
			throw error && typeof error.code === 'string' ? tell(error) : error;
		}
	});
	const call = worded(host.call);
	const all = (works) => works && Object.fromEntries(Object.entries(works).map(([name, work]) => [name, worded(work)]));
	return {
		...host, broker: all(host.broker), backup: worded(host.backup), restore: worded(host.restore), start: worded(host.start),
		async call(command, values) {
			const answer = await call(command, values);
			return ANSWERS.includes(command) ? answerInWords(tell, answer) : answer;
		}
	};
}
