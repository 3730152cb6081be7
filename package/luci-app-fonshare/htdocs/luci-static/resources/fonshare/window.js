/* A list of any length, of which only the rows in sight are elements.

   All rows are equally high. It is a grid for who does not see it: rows have numbers,
   the arrow keys move, space selects, enter opens. Knows no files: *make* draws a row. */

import { append, h, set } from './dom.js';

const SPARE = 8; // rows drawn beyond the edges
const AHEAD = 200; // rows left when more are asked for
const ROW_TALL_REM = 4; // where a row has two lines, on a phone
const ROW_REM = 3;

/* *options*: {label, columns: elements, make(row, index), keyOf(row), open(row), toggle(row),
   more(): asks for more rows}. */
export function windowed(scope, options) {
	const body = h('div', { class: 'fs-rows', role: 'rowgroup' });
	const element = h('div', {
		class: 'fs-table', role: 'grid', 'aria-label': options.label, 'aria-multiselectable': 'true'
	}, options.columns ? h('div', { class: 'fs-row fs-head', role: 'row' }, options.columns) : null, body);
	const narrow = window.matchMedia('(max-width: 719px)');
	const drawn = new Map();
	const state = { rows: [], isComplete: true, focus: 0 };

	/* As high as letters want it, which some people have set larger. */
	function height() {
		const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
		return rem * (narrow.matches ? ROW_TALL_REM : ROW_REM);
	}

	/* Which rows are in sight: [first, behind the last]. */
	function sight() {
		const box = body.getBoundingClientRect();
		const first = Math.floor(-box.top / height()) - SPARE;
		const count = Math.ceil(window.innerHeight / height()) + 2 * SPARE;
		const from = Math.max(0, Math.min(first, state.rows.length - 1));
		return [from, Math.min(state.rows.length, from + count)];
	}

	function draw() {
		if (scope.isOver)
			return;
		const [from, to] = sight();
		const held = body.contains(document.activeElement) ? state.focus : -1;
		for (const [index, row] of drawn) {
			if ((index < from || index >= to || index >= state.rows.length) && index !== held) {
				row.remove();
				drawn.delete(index);
			}
		}
		for (let index = from; index < to; index += 1) {
			if (!drawn.has(index))
				place(index);
		}
		if (to + AHEAD >= state.rows.length && !state.isComplete)
			options.more();
	}

	function place(index) {
		const element = options.make(state.rows[index], index);
		set(element, 'role', 'row');
		put(element, index);
		let before = null;
		for (const other of body.children) { // read in the order of the rows
			if (other.rowIndex > index) {
				before = other;
				break;
			}
		}
		body.insertBefore(element, before);
	}

	function put(element, index) {
		set(element, 'aria-rowindex', index + 1 + (options.columns ? 1 : 0));
		set(element, 'tabindex', index === state.focus ? '0' : '-1');
		element.rowIndex = index;
		element.style.setProperty('transform', 'translateY(' + index * height() + 'px)');
		drawn.set(index, element);
	}

	function clear() {
		for (const row of drawn.values())
			row.remove();
		drawn.clear();
	}

	/* Show *rows*. The same list grown keeps what is drawn. */
	function show(rows, isComplete, isNew) {
		state.rows = rows;
		state.isComplete = isComplete;
		if (isNew) {
			state.focus = 0;
			clear();
		}
		measure();
		draw();
	}

	function measure() {
		const { rows, isComplete } = state;
		set(element, 'aria-rowcount', isComplete ? rows.length + (options.columns ? 1 : 0) : -1);
		body.style.setProperty('height', rows.length * height() + 'px');
	}

	/* Show *rows* in the place of what is shown. What is in sight stays where it is, and the
	   focus where it was. */
	function renew(rows, isComplete) {
		const before = state.rows;
		const places = new Map(rows.map((row, at) => [options.keyOf(row), at]));
		const placeOf = (row) => (row ? places.get(options.keyOf(row)) : undefined);
		const held = holdOf(document.activeElement);
		const moved = stepsOf(before, placeOf);
		const focus = placeOf(before[state.focus]);
		state.rows = rows;
		state.isComplete = isComplete;
		state.focus = focus === undefined ? Math.max(0, Math.min(state.focus, rows.length - 1)) : focus;
		keep(before, placeOf);
		measure();
		if (moved)
			scrollerOf(element).scrollBy(0, moved * height());
		draw();
		if (held && !body.contains(document.activeElement) && rows.length)
			held.again(state.focus);
	}

	/* What brings the same rows into sight again, once they are shown again. */
	function whereabouts() {
		return { top: body.getBoundingClientRect().top, focus: state.focus };
	}

	function goBack({ top, focus: index }) {
		state.focus = Math.min(index, Math.max(0, state.rows.length - 1));
		scrollerOf(element).scrollBy(0, body.getBoundingClientRect().top - top);
		redraw();
	}

	/* How many rows what is in sight first moves down; at the top what is new is seen. */
	function stepsOf(before, placeOf) {
		const top = Math.ceil(-body.getBoundingClientRect().top / height());
		if (top <= 0)
			return 0;
		const at = before.findIndex((row, index) => index >= top && placeOf(row) !== undefined);
		return at < 0 ? 0 : placeOf(before[at]) - at;
	}

	/* Keep what is drawn of rows that are as they were, in their order. */
	function keep(before, placeOf) {
		const were = [...drawn].sort((one, other) => one[0] - other[0]);
		drawn.clear();
		let last = -1;
		for (const [index, element] of were) {
			const place = placeOf(before[index]);
			if (place > last && JSON.stringify(state.rows[place]) === JSON.stringify(before[index])) {
				put(element, place);
				last = place;
			} else {
				element.remove();
			}
		}
	}

	/* What holds the focus in a row, so that the row drawn anew can have it there. */
	function holdOf(active) {
		if (!body.contains(active))
			return null;
		const controls = (row) => [...row.querySelectorAll('button, input')];
		const at = controls(active.closest('[role=row]')).indexOf(active);
		return {
			again(index) {
				focus(index);
				const control = controls(drawn.get(index))[at];
				if (control)
					control.focus({ preventScroll: true });
			}
		};
	}

	function redraw() {
		const isFocused = body.contains(document.activeElement);
		clear();
		measure();
		draw();
		if (isFocused)
			focus(state.focus);
	}

	function focus(index) {
		const to = Math.max(0, Math.min(index, state.rows.length - 1));
		const old = drawn.get(state.focus);
		if (old)
			set(old, 'tabindex', '-1');
		state.focus = to;
		if (!state.rows.length)
			return;
		if (!drawn.has(to))
			place(to);
		const row = drawn.get(to);
		set(row, 'tabindex', '0');
		row.focus({ preventScroll: true });
		row.scrollIntoView({ block: 'nearest' });
	}

	element.addEventListener('keydown', (event) => {
		const isRow = event.target.rowIndex !== undefined;
		const page = Math.max(1, Math.floor(window.innerHeight / height()) - 3);
		const steps = {
			ArrowDown: state.focus + 1, ArrowUp: state.focus - 1, Home: 0, End: state.rows.length - 1,
			PageDown: state.focus + page, PageUp: state.focus - page
		};
		if (event.ctrlKey || event.metaKey || event.altKey)
			return;
		if (event.key in steps) {
			event.preventDefault();
			focus(steps[event.key]);
		} else if (event.key === ' ' && isRow) {
			event.preventDefault();
			options.toggle(state.rows[state.focus]);
		} else if (event.key === 'Enter' && isRow) {
			event.preventDefault();
			options.open(state.rows[state.focus]);
		}
	});
	element.addEventListener('focusin', (event) => {
		const row = event.target.closest('[role=row]');
		if (row && row.rowIndex !== undefined && row.rowIndex !== state.focus) {
			const old = drawn.get(state.focus);
			if (old)
				set(old, 'tabindex', '-1');
			state.focus = row.rowIndex;
			set(row, 'tabindex', '0');
		}
	});
	let isDue = false;
	scope.listen(document, 'scroll', () => {
		if (isDue)
			return;
		isDue = true;
		requestAnimationFrame(() => {
			isDue = false;
			draw();
		});
	}, { capture: true, passive: true });
	scope.listen(window, 'resize', draw);
	scope.listen(narrow, 'change', redraw);
	return { element, show, renew, sight, focus, whereabouts, goBack, update: (change) => drawn.forEach((row) => change(row)) };
}

/* What scrolls *element*: the window, or within LuCI what a theme has in its place. */
export function scrollerOf(element) {
	for (let one = element.parentElement; one && one !== document.body; one = one.parentElement) {
		if (one.scrollHeight > one.clientHeight && ['auto', 'scroll'].includes(getComputedStyle(one).overflowY))
			return one;
	}
	return window;
}

export function cell(className, ...children) {
	const element = h('div', { class: className, role: 'gridcell' });
	append(element, children);
	return element;
}
