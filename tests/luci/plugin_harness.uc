// Runs the rpcd plugin without rpcd: ARGV is its path and a list of [method, arguments],
// all of which it is asked at once. Prints a line [number, reply] for each reply, as they
// come. The request is a stand-in for rpcd's: `defer` and `reply`, as of 2026.
'use strict';

import * as uloop from 'uloop';

uloop.init();

const methods = loadfile(ARGV[0])()['luci.fonshare'];
const calls = json(ARGV[1]);
let missing = length(calls);

function conclude(number, reply) {
	printf('%J\n', [ number, reply ]);
	if (--missing == 0)
		uloop.end();
}

const deferred = {};

for (let number, call in calls) {
	const at = number;
	const request = {
		args: call[1],
		defer: () => deferred,
		reply: (reply) => conclude(at, reply),
	};
	const now = methods[call[0]].call(request);
	if (now != deferred)
		conclude(at, now);
}

if (missing > 0)
	uloop.run();
