/* First use: a disk, a group, a share and a look whether all is well, step by step. */

import { append, foreign, h, replace, set, visible, write } from '../dom.js';
import { icon } from '../icons.js';
import { invite } from '../invite.js';
import { button, confirm, link } from '../parts.js';
import { addShare } from '../shares.js';
import { _, fill, number, size } from '../words.js';
import { create } from './groups.js';

const EXAMINE_MS = 600000; // it has friends knock here

/* A node that was begun a moment ago says so, and nothing else yet. */
function isOfStart(findings) {
	return findings !== null && findings.some((one) => one.code === 'starting');
}

export function show(app, scope, page) {
	write(page.title, _('Set up FonShare'));
	const progress = h('p', { class: 'fs-help', role: 'status' });
	const steps = [diskStep(app), groupStep(app), shareStep(app), friendStep(app), healthStep(app)];
	append(page.content, [progress, h('ol', { class: 'fs-steps' }, steps.map((step) => step.element)),
		h('p', { class: 'fs-actions' }, link(app, 'overview', _('To the overview')))]);
	const state = { status: null, shares: [], findings: null };

	function draw() {
		if (!state.status)
			return;
		const done = steps.map((step) => step.isDone(state));
		const next = done.indexOf(false);
		steps.forEach((step, at) => {
			set(step.element, 'data-state', done[at] ? 'done' : at === next ? 'now' : 'later');
			set(step.element, 'aria-current', at === next ? 'step' : null);
			step.update(state);
		});
		write(progress, next < 0 ? _('All is set up.')
			: fill(_('Step %s of %s'), number(next + 1), number(steps.length)));
	}

	state.look = async () => {
		state.shares = await app.call('share ls');
		draw();
	};
	state.examine = async (isFresh) => {
		state.findings = await app.findings(isFresh);
		draw();
	};
	app.status.follow(scope, (status) => {
		state.status = status;
		draw();
	});
	scope.repeat(state.look, 15, app.missed);
	let lookAt = 0;
	scope.repeat(async () => {
		const isStarting = isOfStart(state.findings);
		if (performance.now() < lookAt && !isStarting)
			return;
		await state.examine(isStarting);
		lookAt = performance.now() + EXAMINE_MS;
	}, 5, app.missed);
}

function step(symbol, title, text) {
	const said = h('div', { class: 'fs-step-said' });
	const element = h('li', { class: 'fs-card fs-step' }, h('span', { class: 'fs-step-mark' }, icon(symbol), icon('ok', 'fs-icon fs-step-ok')),
		h('div', null, h('h2', null, title), h('p', { class: 'fs-help' }, text), said));
	return { element, said, key: null };
}

/* Draw what *step* says only when *key* changes, so that no button is lost under a finger. */
function say(step, key, draw) {
	if (step.key === key)
		return;
	step.key = key;
	replace(step.said, draw());
}

function diskStep(app) {
	const self = step('disk', _('The disk'), _('Everything lives on the disk at your router.'));
	self.isDone = ({ status }) => status.disk.present && status.disk.writable;
	self.update = ({ status: { disk } }) => say(self, [disk.present, disk.writable, disk.problem && disk.problem.code].join(' '), () => {
		if (!disk.problem)
			return h('p', null, fill(_('%s free'), size(disk.free_bytes)));
		return [h('p', { class: 'fs-step-problem' }, foreign(disk.problem.message)),
			h('p', { class: 'fs-help' }, foreign(disk.problem.next || '')),
			disk.problem.code === 'disk.wrong' ? button(app, _('Take this disk'), async () => {
				if (await confirm(app, _('Take the disk that is plugged in?'),
					_('It becomes this node’s disk. What is on it stays there.'), _('Take this disk'))) {
					await app.call('disk adopt');
					app.status.now();
				}
			}, { kind: 'primary' }) : null];
	});
	return self;
}

function groupStep(app) {
	const self = step('groups', _('A group'), _('The circle of friends that you share with.'));
	self.isDone = ({ status }) => status.groups.length > 0;
	self.update = ({ status }) => say(self, status.groups.map((group) => group.name).join('/'), () =>
		status.groups.length ? h('p', null, foreign(status.groups.map((group) => group.name).join(', ')))
			: h('div', { class: 'fs-actions' },
				button(app, _('New group'), () => create(app, () => app.status.now()), { kind: 'primary', symbol: 'add' }),
				h('a', { class: 'fs-button', href: app.href('join') }, _('Join with an invite'))));
	return self;
}

function shareStep(app) {
	const self = step('folder', _('A share'), _('A folder of your disk that friends may read, never change.'));
	self.isDone = ({ shares }) => shares.some((share) => share.groups.length > 0);
	self.update = (state) => say(self, [state.status.groups.length, JSON.stringify(state.shares)].join(' '), () => [
		state.shares.length ? h('p', null, foreign(state.shares.map((share) => share.name).join(', '))) : null,
		state.status.groups.length ? h('div', { class: 'fs-actions' },
			button(app, _('Share a folder'), () => addShare(app, null, state.look),
				{ kind: state.shares.length ? '' : 'primary', symbol: 'add' })) : null]);
	return self;
}

function friendStep(app) {
	const self = step('person', _('A friend'), _('An invite lets one friend in; you see who asks first.'));
	const friends = (status) => [...new Map(status.groups.flatMap((group) => group.members)
		.filter((one) => one.id !== status.node.id).map((one) => [one.id, one])).values()];
	self.isDone = ({ status }) => friends(status).length > 0;
	self.update = ({ status }) => say(self, JSON.stringify(friends(status).map((one) => one.name)) + status.groups.length, () => [
		friends(status).length ? h('p', null, foreign(friends(status).map((one) => one.name).join(', '))) : null,
		h('div', { class: 'fs-actions' }, status.groups.map((group) =>
			button(app, fill(_('Invite to %s'), visible(group.name)), () => invite(app, group.name, false), { symbol: 'add' }))),
		status.groups.length ? h('p', { class: 'fs-help' }, link(app, 'groups', _('See who asks to join'))) : null]);
	return self;
}

function healthStep(app) {
	const self = step('health', _('A last look'), _('Whether friends reach you, and what else could be better.'));
	const wrong = ({ findings }) => (findings || []).filter((one) => one.level !== 'ok');
	self.isDone = (state) => state.findings !== null && !wrong(state).some((one) => one.level === 'error');
	self.update = (state) => say(self, JSON.stringify(state.findings), () => [
		state.findings === null ? h('p', { class: 'fs-help' }, _('Looking …'))
			: wrong(state).length ? h('ul', { class: 'fs-findings' }, wrong(state).map((one) =>
				h('li', { class: 'fs-finding fs-is-' + one.level }, icon(one.level), h('div', null,
					h('p', null, foreign(one.message)), one.next ? h('p', { class: 'fs-help' }, foreign(one.next)) : null))))
				: h('p', { class: 'fs-fine' }, icon('ok'), _('All is well.')),
		h('div', { class: 'fs-actions' }, button(app, _('Look again'), () => state.examine(true), { symbol: 'retry' }))]);
	return self;
}
