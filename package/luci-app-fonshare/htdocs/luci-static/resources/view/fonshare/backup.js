'use strict';
'require baseclass';
'require fs';
'require rpc';
'require view.fonshare.program as program';

// Backup and restore as a download and an upload: the commands `fonshare backup` and
// `fonshare restore` on the router. What they need lies for that time in a folder in which
// root alone makes files, readable for root alone; LuCI's rights name these files and
// command lines, and no others.

const PASSPHRASE = '/tmp/run/fonshare-luci.passphrase';
const BACKUP = '/tmp/run/fonshare-luci.backup';
const SERVICE = '/etc/init.d/fonshare';
const PIECE = 30000;    // bytes of an upload at once: uhttpd takes 64 KiB of JSON

const readFile = rpc.declare({
	object: 'file', method: 'read', params: [ 'path', 'base64' ], expect: { data: '' }, reject: true
});
const writeFile = rpc.declare({
	object: 'file', method: 'write', params: [ 'path', 'data', 'mode', 'base64', 'append' ], reject: true
});

// Return what the command says, or throw its error.
function run(command) {
	return program.run([ command, BACKUP, '--passphrase-file', PASSPHRASE ]);
}

function tidily(act) {
	return program.tidily([ PASSPHRASE, BACKUP ], act);
}

function bytesOf(base64) {
	return Uint8Array.from(atob(base64), letter => letter.charCodeAt(0));
}

function base64Of(bytes) {
	return btoa(Array.from(bytes, one => String.fromCharCode(one)).join(''));
}

function offer(bytes) {
	const address = URL.createObjectURL(new Blob([ bytes ], { type: 'application/octet-stream' }));
	const anchor = E('a', { 'href': address, 'download': 'node.fonshare' }, []);
	document.body.appendChild(anchor);
	anchor.click();
	anchor.remove();
	setTimeout(() => URL.revokeObjectURL(address), 60000);
}

async function upload(file) {
	const bytes = new Uint8Array(await file.arrayBuffer());
	for (let at = 0; at === 0 || at < bytes.length; at += PIECE)
		await writeFile(BACKUP, base64Of(bytes.subarray(at, at + PIECE)), program.PRIVATE, true, at > 0);
}

return baseclass.extend({
	backup(passphrase) {
		return tidily(async () => {
			await fs.write(PASSPHRASE, passphrase, program.PRIVATE);
			await run('backup');
			offer(bytesOf(await readFile(BACKUP, true)));
		});
	},

	// The agent rests meanwhile, and starts again whatever happened.
	restore(file, passphrase) {
		return tidily(async () => {
			await upload(file);
			await fs.write(PASSPHRASE, passphrase, program.PRIVATE);
			await fs.exec(SERVICE, [ 'stop' ]);
			try {
				return await run('restore');
			}
			finally {
				await fs.exec(SERVICE, [ 'start' ]);
			}
		});
	}
});
