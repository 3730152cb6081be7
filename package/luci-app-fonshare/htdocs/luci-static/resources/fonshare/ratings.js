/* Ratings: what a group thinks of a file in one to five stars, and the reader's own word. */

import { foreign, h, replace, set } from './dom.js';
import { icon } from './icons.js';
import { openDialog, run } from './parts.js';
import { _, fill, number, plural } from './words.js';

const STARS = [1, 2, 3, 4, 5];

/* Whether all of *rows* are files, which alone are rated. */
export function canRate(rows) {
	return rows.length > 0 && rows.every((row) => row.kind === 'file');
}

function shownAverage(rating) {
	return number(Math.round(rating.average * 10) / 10);
}

/* The rating of *row* in a word or two; empty without one. */
export function ratingBadge(row) {
	const { rating } = row;
	if (!rating)
		return null;
	return h('span', { class: 'fs-rating' },
		h('span', { 'aria-hidden': 'true' }, icon('star'), shownAverage(rating), ' (' + number(rating.count) + ')'),
		h('span', { class: 'fs-unseen' }, inWords(rating)));
}

function inWords(rating) {
	return fill(_('%s of 5 stars'), shownAverage(rating)) + ', ' + plural(rating.count, _('%d rating'), _('%d ratings'));
}

/* Return the stars to press for *rows*; *done* hears of the rows as they are rated now. */
export function starButtons(app, rows, done) {
	const said = h('p', { class: 'fs-help' });
	const own = () => (rows.length === 1 && rows[0].rating ? rows[0].rating.own : null);
	const press = (element, stars) => run(app, element, async () => {
		const rated = [];
		for (const row of rows)
			rated.push(...await app.call('rate', { entry: row.id, stars }));
		rows.forEach((row, at) => {
			row.rating = rated[at].rating;
		});
		update();
		done(stars);
	});
	const buttons = STARS.map((stars) => {
		const element = h('button', {
			type: 'button', class: 'fs-button fs-quiet fs-star', 'aria-pressed': 'false',
			'aria-label': plural(stars, _('%d star'), _('%d stars')),
			on: { click: () => press(element, stars) }
		}, icon('star'));
		return element;
	});
	const back = h('button', {
		type: 'button', class: 'fs-button', on: { click: () => press(back, 0) }
	}, h('span', null, _('Take back')));

	function update() {
		const mine = own();
		buttons.forEach((element, at) => {
			set(element, 'aria-pressed', String(mine === at + 1));
			element.classList.toggle('fs-is-lit', mine !== null && at < mine);
		});
		set(back, 'hidden', rows.length === 1 && mine === null);
		replace(said, rows.length === 1 ? (rows[0].rating ? inWords(rows[0].rating) : _('Nobody has rated it yet.')) : null);
	}
	update();
	return h('div', null, said,
		h('div', { class: 'fs-stars', role: 'group', 'aria-label': _('Your rating') }, buttons, back));
}

/* Ask how good *rows* are. Calls *done* when they are rated. */
export function askToRate(app, rows, done) {
	const dialog = openDialog(app, _('Rate'), [
		h('p', null, foreign(rows.map((row) => row.name).join(', '))),
		h('p', { class: 'fs-help' }, _('All members of the group see it.')),
		starButtons(app, rows, () => {
			dialog.close();
			app.notify(_('Rated.'));
			done();
		})
	]);
}
