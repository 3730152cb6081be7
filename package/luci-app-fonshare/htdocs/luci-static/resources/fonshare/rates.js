/* How fast jobs move: told by what their answers say, one after the other. */

const WINDOW_MS = 10000; // a speed is that of the last seconds
const KEPT = 120; // points of the graph

export function makeRates() {
	const samples = new Map(); // of a job: [time, bytes] of the last seconds
	const history = []; // bytes a second of all jobs together

	/* Note the answer of `jobs` at *now* (ms); returns it with `rate` in each row. */
	function note(jobs, now) {
		const known = new Set(jobs.map((job) => job.id));
		for (const id of [...samples.keys()]) {
			if (!known.has(id))
				samples.delete(id);
		}
		let total = 0;
		const rated = jobs.map((job) => {
			const rate = job.state === 'running' ? rateOf(job, now) : forget(job);
			total += rate;
			return { ...job, rate };
		});
		history.push(total);
		history.splice(0, history.length - KEPT);
		return rated;
	}

	function forget(job) {
		samples.delete(job.id);
		return 0;
	}

	function rateOf(job, now) {
		let kept = (samples.get(job.id) || []).filter(([time]) => now - time <= WINDOW_MS);
		if (kept.length && kept[kept.length - 1][1] > job.done_bytes)
			kept = []; // it began anew
		kept.push([now, job.done_bytes]);
		samples.set(job.id, kept);
		const [time, bytes] = kept[0];
		return now > time ? (job.done_bytes - bytes) * 1000 / (now - time) : 0;
	}

	return { note, history };
}
