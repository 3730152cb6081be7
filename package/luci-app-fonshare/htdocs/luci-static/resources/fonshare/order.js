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

/* Let the rows of *element* be moved; *list*: {app, rows, said}. */
export function orderBy(list, element) {
	let held = null; // the row that is dragged
	let isBusy = false;

	async function move(id, place) {
		const ids = list.rows.map((job) => job.id);
		const from = ids.indexOf(id);
		const to = Math.max(0, Math.min(ids.length - 1, place));
		if (isBusy || from < 0 || from === to)
			return;
		isBusy = true;
		try {
			for (const [command, one] of moves(ids, id, to))
				await list.app.call(command, { id: one });
			write(list.said, fill(_('%s is number %s now'), visible(list.rows[from].name), number(to + 1)));
		} catch (error) {
			list.app.fail(error);
		}
		isBusy = false;
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
		move(row.dataset.job, [...element.children].indexOf(row));
		list.app.jobs.now();
	});
	return { isHeld: () => held !== null || isBusy };
}
