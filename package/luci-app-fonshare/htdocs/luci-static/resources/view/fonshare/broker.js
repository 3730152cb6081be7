'use strict';
'require baseclass';
'require fs';
'require view.fonshare.program as program';

// Mosquitto on this router: the commands `fonshare broker`, run as root as a backup is. What
// they are given lies in a file for that time, for the rights name whole command lines.

const ANSWERS = '/tmp/run/fonshare-luci.broker';

function run(command, answers) {
	return program.tidily([ ANSWERS ], async () => {
		await fs.write(ANSWERS, JSON.stringify(answers), program.PRIVATE);
		return program.run([ 'broker', command, '--answers', ANSWERS ]);
	});
}

return baseclass.extend({
	ls: () => program.run([ 'broker', 'ls' ]),
	add: wish => run('add', wish),
	rm: name => run('rm', { name: name })
});
