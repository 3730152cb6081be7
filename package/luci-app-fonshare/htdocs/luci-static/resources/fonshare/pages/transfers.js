/* Transfers: what is on its way here, in which order, how fast, and why it waits. */

import { append, foreign, h, keyed, replace, set, svg, visible, write } from '../dom.js';
import { followsCard, tellFollow } from '../follows.js';
import { icon } from '../icons.js';
import { describeJob, hasEnded, isMoving, playable, stateWord, whyItWaits } from '../jobs.js';
import { orderBy } from '../order.js';
import { badge, button, confirm, empty, progress, swap } from '../parts.js';
import { serversCard } from '../servers.js';
import { _, fill, plural, rate } from '../words.js';

const ENDED_SHOWN = 200; // the newest of those that have ended
const SHOWN_AT_ONCE = 100; // of those under way; a folder of photos can be thousands

export function show(app, scope, page) {
	write(page.title, _('Transfers'));
	const graph = speedGraph(app);
	const said = h('p', { class: 'fs-unseen', role: 'status' });
	const active = h('ul', { class: 'fs-jobs', 'aria-label': _('Under way, in their order') });
	const ended = h('ul', { class: 'fs-jobs', 'aria-label': _('Ended') });
	const nothing = empty('transfers', _('Nothing is on its way'),
		_('Choose something in Files: it comes here, also while you sleep.'),
		h('a', { class: 'fs-button fs-primary', href: app.href('files') }, _('Browse files')));
	const tools = h('div', { class: 'fs-actions' },
		button(app, _('Pause all'), () => act('jobs pause', 'all'), { symbol: 'pause' }),
		button(app, _('Resume all'), () => act('jobs resume', 'all'), { symbol: 'resume' }));
	const clear = h('div', { class: 'fs-actions' },
		button(app, _('Clear the list'), () => act('jobs rm', 'all'), { symbol: 'close' }));
	const past = h('details', { class: 'fs-past', open: true }, h('summary', null, _('Ended')), ended, clear);
	const follows = followsCard(app, scope);
	const waiting = h('p');
	const more = h('div', { class: 'fs-actions', hidden: true }, waiting, button(app, _('Show more'), () => {
		list.shown += SHOWN_AT_ONCE;
		list.draw();
	}));
	append(page.content, [graph.element, tools, active, more, past, nothing, follows.element, serversCard(app, scope), said]);

	async function act(command, id) {
		await app.call(command, { id });
		app.jobs.now();
	}

	const list = { app, act, said, active, rows: [], shown: SHOWN_AT_ONCE, labelOf: follows.labelOf };
	list.draw = () => {
		const behind = list.rows.length - list.shown;
		keyed(active, list.rows.slice(0, list.shown), (job) => job.id, (job) => activeRow(list, job),
			(row, job) => row.update(job));
		set(more, 'hidden', behind <= 0);
		write(waiting, behind > 0 ? plural(behind, _('%d more waits behind these.'), _('%d more wait behind these.')) : '');
	};
	const order = orderBy(list, active);

	app.jobs.follow(scope, (jobs) => {
		const rows = jobs.filter((job) => !hasEnded(job));
		const over = jobs.filter(hasEnded).reverse().slice(0, ENDED_SHOWN);
		graph.update();
		set(graph.element, 'hidden', !app.rates.history.some(Boolean));
		set(tools, 'hidden', !rows.length);
		set(past, 'hidden', !over.length);
		set(clear, 'hidden', !over.some((job) => job.state !== 'failed'));
		set(nothing, 'hidden', jobs.length > 0);
		if (!order.isHeld()) {
			list.rows = rows;
			list.draw();
		}
		keyed(ended, over, (job) => job.id, (job) => endedRow(list, job), (row, job) => row.update(job));
	});
}

function activeRow(list, job) {
	const { app, act } = list;
	const bar = progress(fill(_('Progress of %s'), visible(job.name)));
	const state = h('span', { class: 'fs-state' });
	const numbers = h('p', { class: 'fs-job-numbers' });
	const why = h('p', { class: 'fs-job-why' });
	const play = h('p', { class: 'fs-help' });
	const sources = h('span', { class: 'fs-job-sources' });
	const first = badge(_('first'));
	const followed = badge('');
	const named = (label) => fill(label, visible(job.name));
	const pause = button(app, _('Pause'), () => act('jobs pause', job.id),
		{ symbol: 'pause', quiet: true, name: named(_('Pause %s')) });
	const resume = button(app, _('Resume'), () => act('jobs resume', job.id),
		{ symbol: 'resume', quiet: true, name: named(_('Resume %s')) });
	const grip = h('button', {
		type: 'button', class: 'fs-button fs-quiet fs-grip', 'aria-label': named(_('Move %s: arrow keys')),
		title: _('Drag, or use the arrow keys')
	}, icon('grip'));
	const row = h('li', { class: 'fs-job', 'data-job': job.id }, grip,
		h('div', { class: 'fs-job-main' },
			h('p', { class: 'fs-job-name' }, foreign(job.name), ' ', first, ' ', followed),
			bar,
			h('p', { class: 'fs-job-line' }, state, sources), numbers, play, why),
		h('div', { class: 'fs-job-tools' }, pause, resume,
			button(app, _('First'), () => act('jobs first', job.id),
				{ symbol: 'first', quiet: true, name: named(_('Put %s first')) }),
			button(app, _('Cancel'), () => cancel(list, job),
				{ symbol: 'close', quiet: true, name: named(_('Cancel %s')) })));
	row.grip = grip;
	row.update = (now) => {
		set(row, 'data-state', now.state);
		bar.update(now.state === 'locating' && !now.error ? null
			: now.size ? now.done_bytes / now.size : 0, describeJob(now));
		bar.classList.toggle('fs-is-still', !isMoving(now));
		write(state, stateWord(now));
		write(sources, now.sources ? ' · ' + plural(now.sources, _('from %d source'), _('from %d sources')) : '');
		write(numbers, describeJob(now));
		write(play, visible(playable(now)));
		set(play, 'hidden', !play.textContent);
		write(why, visible(whyItWaits(now)));
		set(why, 'hidden', !why.textContent);
		set(first, 'hidden', !now.first);
		tellFollow(followed, now, list.labelOf);
		if (now.state === 'paused')
			swap(resume, pause);
		else
			swap(pause, resume);
	};
	return row;
}

async function cancel(list, job) {
	const isSure = await confirm(list.app, _('Cancel this transfer?'),
		[foreign(job.name), h('p', { class: 'fs-help' }, _('What has arrived of it is deleted.'))],
		_('Cancel the transfer'), 'fs-danger');
	if (isSure)
		await list.act('jobs cancel', job.id);
}

function endedRow(list, job) {
	const { app, act } = list;
	const followed = badge('');
	const state = h('span', { class: 'fs-state' });
	const text = h('p', { class: 'fs-job-numbers' });
	const why = h('p', { class: 'fs-job-why' });
	const named = (label) => fill(label, visible(job.name));
	const retry = button(app, _('Try again'), () => act('jobs resume', job.id),
		{ symbol: 'retry', name: named(_('Try again: %s')) });
	const remove = button(app, _('Take off the list'), () => act('jobs rm', job.id),
		{ symbol: 'close', quiet: true, name: named(_('Take off the list: %s')) });
	const symbol = h('span', { class: 'fs-job-symbol' });
	const row = h('li', { class: 'fs-job', 'data-job': job.id }, symbol,
		h('div', { class: 'fs-job-main' }, h('p', { class: 'fs-job-name' }, foreign(job.name), ' ', followed),
			h('p', { class: 'fs-job-line' }, state), text, why),
		h('div', { class: 'fs-job-tools' }, retry, remove));
	row.update = (now) => {
		tellFollow(followed, now, list.labelOf);
		if (row.getAttribute('data-state') === now.state)
			return;
		set(row, 'data-state', now.state);
		replace(symbol, icon(now.state === 'done' ? 'ok' : now.state === 'failed' ? 'warning' : 'close'));
		write(state, stateWord(now));
		replace(text, describeJob(now), now.state === 'done' ? [' · ', foreign(now.path, 'fs-name fs-path')] : null);
		write(why, visible(whyItWaits(now)));
		set(why, 'hidden', !why.textContent);
		set(retry, 'hidden', now.state !== 'failed');
		set(remove, 'hidden', now.state !== 'failed');
	};
	return row;
}

/* How fast all of it came in the last minutes. */
function speedGraph(app) {
	const width = 300, height = 60;
	const area = svg('path', { class: 'fs-graph-area' });
	const line = svg('path', { class: 'fs-graph-line' });
	const drawn = svg('svg', {
		viewBox: '0 0 ' + width + ' ' + height, preserveAspectRatio: 'none', class: 'fs-graph', role: 'img'
	}, area, line);
	const figure = h('p', { class: 'fs-figure' });
	const top = h('p', { class: 'fs-help' });
	const element = h('section', { class: 'fs-card fs-speed' },
		h('div', null, h('h2', { class: 'fs-card-title' }, _('Speed')), figure, top), drawn);

	function update() {
		const points = app.rates.history;
		const now = points[points.length - 1] || 0;
		const most = Math.max(1, ...points);
		write(figure, rate(now));
		write(top, fill(_('at most %s in the last minutes'), rate(most)));
		set(drawn, 'aria-label', fill(_('Speed now %s, at most %s'), rate(now), rate(most)));
		const step = width / 119;
		const path = points.map((value, index) => (index ? 'L' : 'M')
			+ (width - (points.length - 1 - index) * step).toFixed(1) + ' '
			+ (height - 2 - (height - 6) * value / most).toFixed(1)).join('');
		const left = (width - (points.length - 1) * step).toFixed(1);
		set(line, 'd', path);
		set(area, 'd', path + 'L' + width + ' ' + height + 'L' + left + ' ' + height + 'Z');
	}
	return { element, update };
}
