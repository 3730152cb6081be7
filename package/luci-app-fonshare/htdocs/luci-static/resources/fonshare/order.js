/* The order of a list, changed by dragging a row's handle or by its arrow keys.

   The agent knows `first` and `last` alone; any place is reached by putting those that
   shall stand before it first, one after the other, beginning with the last of them, or
   those behind it last: whichever is less. */

import { visible, write } from './dom.js';
import { _, fill, number } from './words.js';

/* Return the commands, [name, id], that bring *id* to *place* among *ids*. Pure. */
export function moves(ids, id, place) {
	const others = ids.filter((one) => one !== id);
	const before = others.slice(0, place), behind = others.slice(place);
	if (before.length <= behind.length)
		return [id, ...before.reverse()].map((one) => ['jobs first', one]);
	return [id, ...behind].map((one) => ['jobs last', one]);
}

/* Let the rows of *element* be moved; *list*: {app, rows, said, draw()}. */
export function orderBy(list, element) {
	let held = null; // the row that is dragged
	let waiting = 0; // moves that the node has not made yet
	let last = Promise.resolve();

	/* Show *id* at *place* at once, and tell the node, one move after the other. */
	function move(id, place) {
		const ids = list.rows.map((job) => job.id);
		const from = ids.indexOf(id);
		const to = Math.max(0, Math.min(ids.length - 1, place));
		if (from < 0 || from === to)
			return;
		const [moved] = list.rows.splice(from, 1);
		list.rows.splice(to, 0, moved);
		list.draw();
		write(list.said, fill(_('%s is number %s now'), visible(moved.name), number(to + 1)));
		waiting += 1;
		last = last.then(() => tell(moves(ids, id, to)));
	}

	async function tell(commands) {
		try {
			for (const [command, one] of commands)
				await list.app.call(command, { id: one });
		} catch (error) {
			list.app.fail(error);
		}
		waiting -= 1;
		if (!waiting)
			list.app.jobs.now();
	}

	element.addEventListener('keydown', (event) => {
		const row = event.target.closest('[data-job]');
		if (!row || event.target !== row.grip)
			return;
		const at = list.rows.findIndex((job) => job.id === row.dataset.job);
		const places = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: list.rows.length - 1 };
		if (event.key in places) {
			event.preventDefault();
			move(row.dataset.job, places[event.key]);
		}
	});
	/* A handle is dragged: by mouse, finger or pen alike. */
	element.addEventListener('pointerdown', (event) => {
		const row = event.target.closest('[data-job]');
		if (!row || !row.grip.contains(event.target) || event.button !== 0)
			return;
		held = row;
		row.grip.setPointerCapture(event.pointerId);
		row.classList.add('fs-is-held');
	});
	element.addEventListener('pointermove', (event) => {
		if (held)
			follow(held, event.clientY);
	});
	const drop = (isMeant) => {
		if (!held)
			return;
		const row = held;
		held = null;
		row.classList.remove('fs-is-held');
		const place = [...element.children].indexOf(row);
		list.draw(); // as it was, should it not move after all
		if (isMeant)
			move(row.dataset.job, place);
	};
	element.addEventListener('pointerup', () => drop(true));
	element.addEventListener('pointercancel', () => drop(false));
	return { isHeld: () => held !== null || waiting > 0 };
}

/* Bring *row* to where the finger is. Its neighbours are moved, not the row itself, which
   would let go of the finger. */
function follow(row, y) {
	while (row.previousElementSibling && y < middleOf(row.previousElementSibling))
		row.after(row.previousElementSibling);
	while (row.nextElementSibling && y > middleOf(row.nextElementSibling))
		row.before(row.nextElementSibling);
}

function middleOf(row) {
	const box = row.getBoundingClientRect();
	return box.top + box.height / 2;
}
