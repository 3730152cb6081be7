/* The order of a list, changed by dragging a row's handle or by its arrow keys.

   The agent knows `first` and `last` alone; any place is reached by putting those that
   shall stand before it first, one after the other, beginning with the last of them, or
   those behind it last: whichever is less. */

import { visible, write } from './dom.js';
import { scrollerOf } from './window.js';
import { _, fill, number } from './words.js';

const EDGE_PX = 110; // of the window, with the menu that lies over it

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
	let held = null, finger = null; // the row that is dragged, and where to
	const wished = []; // the moves that the node has not heard of: {ids, id, to}
	let isTelling = false;

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
		if (wished.length && wished[wished.length - 1].id === id)
			wished.pop(); // it goes on at once to where it shall be now
		wished.push({ ids, id, to });
		if (!isTelling)
			tell();
	}

	async function tell() {
		isTelling = true;
		while (wished.length) {
			const { ids, id, to } = wished.shift();
			try {
				for (const [command, one] of moves(ids, id, to))
					await list.app.call(command, { id: one });
			} catch (error) {
				list.app.fail(error);
			}
		}
		isTelling = false;
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
			row.scrollIntoView({ block: 'nearest' });
		}
	});
	/* A handle is dragged: by mouse, finger or pen alike. */
	element.addEventListener('pointerdown', (event) => {
		const row = event.target.closest('[data-job]');
		if (!row || !row.grip.contains(event.target) || event.button !== 0)
			return;
		held = row;
		finger = null;
		row.grip.setPointerCapture(event.pointerId);
		row.classList.add('fs-is-held');
		requestAnimationFrame(scrollOn);
	});
	element.addEventListener('pointermove', (event) => {
		finger = event.clientY;
		if (held)
			follow(held, finger);
	});

	/* What is held at an edge of the window moves the list on below it. */
	function scrollOn() {
		if (!held)
			return;
		const over = finger === null ? 0 : Math.min(0, finger - EDGE_PX) + Math.max(0, finger - window.innerHeight + EDGE_PX);
		if (over) {
			scrollerOf(element).scrollBy(0, over / 8);
			follow(held, finger);
		}
		requestAnimationFrame(scrollOn);
	}

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
	return { isHeld: () => held !== null || isTelling };
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
