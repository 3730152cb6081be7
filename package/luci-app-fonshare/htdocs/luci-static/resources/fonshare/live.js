/* What changes by itself: asked for again and again, without ever asking twice at once.

   A turn begins a pause after the last one has ended, so a slow router is asked less
   often. Failures make the pause longer; a hidden page nearly stops. Knows no command. */

const HIDDEN_S = 60; // nobody looks
const PAUSE_MAX_S = 8; // after failures: who comes back is seen soon
const TICK_S = 0.5; // it is looked whether something has moved, without asking anybody
const REST = 3; // what is read anew rests so many times as long as it took
const PATIENCE_S = 120; // then an answer counts as lost; a host gives up before

/* Run *work* now and every *seconds* until `stop`; failures are told to *failed*. */
export function repeat(work, seconds, failed) {
	let timer = null, failures = 0, isRunning = false, isWanted = false, isOver = false;
	let begun = null; // what was not answered in time is still waited for, not begun twice

	function plan() {
		const pause = Math.min(seconds * Math.pow(2, failures), Math.max(seconds, PAUSE_MAX_S));
		const wait = isWanted ? 0 : document.hidden ? HIDDEN_S : pause;
		timer = setTimeout(turn, wait * 1000);
	}

	async function turn() {
		timer = null;
		isRunning = true;
		isWanted = false;
		try {
			begun = begun || work().finally(() => { begun = null; });
			await within(begun, PATIENCE_S);
			failures = 0;
		} catch (error) {
			failures += 1;
			if (!isOver)
				failed(error);
		}
		isRunning = false;
		if (!isOver)
			plan();
	}

	function now() {
		isWanted = true;
		if (isRunning || isOver)
			return;
		clearTimeout(timer);
		turn();
	}

	function seen() {
		if (!document.hidden)
			now();
	}

	function stop() {
		isOver = true;
		clearTimeout(timer);
		document.removeEventListener('visibilitychange', seen);
	}

	document.addEventListener('visibilitychange', seen);
	turn();
	return { now, stop };
}

/* Run *work* now, and again whenever *keyOf*() is another than when it last began. */
function renew(work, keyOf, failed) {
	const rest = makeRest();
	let done = null, isDue = true;
	const running = repeat(async () => {
		const key = keyOf();
		if (!isDue && (key === done || rest.lasts()))
			return;
		isDue = false;
		try {
			await rest.after(work);
			done = key;
		} catch (error) {
			isDue = true;
			throw error;
		}
	}, TICK_S, failed);
	function now() {
		isDue = true;
		running.now();
	}
	return { now, stop: running.stop };
}

/* Keeps who answers slowly from being asked all the time. */
export function makeRest() {
	let until = 0;
	return {
		lasts: () => performance.now() < until,
		async after(work) {
			const began = performance.now();
			const answer = await work();
			until = performance.now() + REST * (performance.now() - began);
			return answer;
		}
	};
}

/* Return the answer of *promise*, or fail as unreachable after *seconds*. */
function within(promise, seconds) {
	let timer = null;
	const late = new Promise((resolve, reject) => {
		timer = setTimeout(() => reject({ code: 'unreachable', message: '', thing: '', next: '' }),
			seconds * 1000);
	});
	return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/* One answer for many who look at it: asked for only while somebody does, *often*: every
   so many seconds or, if it is a function, whenever that returns something else. */
export function feed(ask, often, failed) {
	const lookers = new Set();
	let running = null, asked = null;
	const self = {
		latest: undefined,
		now() {
			if (running)
				running.now();
		},
		/* Tell *look* the latest answer and all that come, until *scope* ends. */
		follow(scope, look) {
			lookers.add(look);
			if (self.latest !== undefined)
				look(self.latest);
			if (!running)
				running = (typeof often === 'function' ? renew : repeat)(tell, often, failed);
			scope.atEnd(() => {
				lookers.delete(look);
				if (!lookers.size && running) {
					running.stop();
					running = null;
				}
			});
		}
	};

	// Who comes back meanwhile waits for the answer that is under way already.
	async function tell() {
		if (!asked)
			asked = ask().finally(() => { asked = null; });
		const answer = await asked;
		self.latest = answer;
		for (const look of [...lookers])
			look(answer);
	}
	return self;
}

/* What belongs to a page and ends with it. */
export function makeScope() {
	const ends = [];
	const ending = (running) => {
		scope.atEnd(running.stop);
		return running;
	};
	const scope = {
		isOver: false,
		atEnd(end) {
			if (scope.isOver)
				end();
			else
				ends.push(end);
		},
		listen(target, event, listener, options) {
			target.addEventListener(event, listener, options);
			scope.atEnd(() => target.removeEventListener(event, listener, options));
		},
		repeat: (work, seconds, failed) => ending(repeat(work, seconds, failed)),
		renew: (work, keyOf, failed) => ending(renew(work, keyOf, failed)),
		end() {
			scope.isOver = true;
			while (ends.length)
				ends.pop()();
		}
	};
	return scope;
}
