'use strict';
'require baseclass';
'require fs';

// Runs `fonshare` on the router: the command lines that LuCI's rights name, and no others.

const PROGRAM = '/usr/bin/fonshare';

function fault(message, next) {
	return { code: 'internal', message: message, thing: '', next: next };
}

function clear(files) {
	return Promise.all(files.map(path => L.resolveDefault(fs.remove(path), null)));
}

return baseclass.extend({
	PRIVATE: 384,    // 0600: of files that hold secrets

	// Return what the command *words* says with --json, or throw its error.
	run(words) {
		return fs.exec(PROGRAM, [ '--json' ].concat(words)).then(done => {
			let answer;
			try {
				answer = JSON.parse(done.stdout);
			}
			catch (problem) {
				throw fault(done.stderr || _('The command did not answer.'), _('Look into the system log.'));
			}
			if (answer.error)
				throw answer.error;
			return answer;
		});
	},

	// Do *act* between two looks that nothing is left of *files* of another time, or of this one.
	tidily(files, act) {
		return clear(files).then(act).then(
			result => clear(files).then(() => result),
			error => clear(files).then(() => { throw error; }));
	}
});
