/* The order of a list, changed by dragging a row or by the arrow keys on its handle.

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
	element.addEventListener('dragstart', (event) => {
		held = event.target.closest('[data-job]');
		event.dataTransfer.effectAllowed = 'move';
		event.dataTransfer.setData('text/plain', held.dataset.job);
		held.classList.add('fs-is-held');
	});
	element.addEventListener('dragover', (event) => {
		if (!held)
			return;
		event.preventDefault();
		const over = event.target.closest('[data-job]');
		if (over && over !== held) {
			const box = over.getBoundingClientRect();
			const isBelow = event.clientY > box.top + box.height / 2;
			over.parentElement.insertBefore(held, isBelow ? over.nextSibling : over);
		}
	});
	element.addEventListener('drop', (event) => event.preventDefault());
	element.addEventListener('dragend', () => {
		if (!held)
			return;
		const row = held;
		held = null;
		row.classList.remove('fs-is-held');
		const place = [...element.children].indexOf(row);
		list.draw(); // as it was, should it not move after all
		move(row.dataset.job, place);
	});
	return { isHeld: () => held !== null || waiting > 0 };
}
