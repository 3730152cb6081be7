/* A job in words: what it does now, and since it waits, why. */

import { reason } from './errors.js';
import { _, duration, fill, percent, rate, size } from './words.js';

export const ENDED = new Set(['done', 'failed', 'cancelled']);
const MOVING = new Set(['running', 'verifying']);

export function isMoving(job) {
	return MOVING.has(job.state);
}

export function hasEnded(job) {
	return ENDED.has(job.state);
}

export function stateWord(job) {
	switch (job.state) {
	case 'queued':
		return _('Waiting');
	case 'locating':
		return _('Looking for a source');
	case 'running':
		return _('Arriving');
	case 'verifying':
		return _('Checking');
	case 'done':
		return _('Done');
	case 'paused':
		return _('Paused');
	case 'failed':
		return _('Failed');
	default:
		return _('Cancelled');
	}
}

/* How much of it is here, in one short line. */
export function describeJob(job) {
	if (job.state === 'done')
		return size(job.size);
	const share = job.size ? job.done_bytes / job.size : 0;
	const parts = [fill(_('%s of %s'), size(job.done_bytes), size(job.size)), percent(share)];
	if (job.state === 'running' && job.rate > 0) {
		parts.push(rate(job.rate));
		parts.push(fill(_('%s left'), duration((job.size - job.done_bytes) / job.rate)));
	}
	return parts.join(' · ');
}

/* Where a player finds what is read while it arrives, and how much of it is there. */
export function playable(job) {
	return job.stream && job.stream.ready_bytes
		? fill(_('The first %s can be played: %s'), size(job.stream.ready_bytes), job.stream.path) : '';
}

/* Why it does not move; empty while it does, or when nothing is known. */
export function whyItWaits(job) {
	if (isMoving(job) || job.state === 'done' || job.state === 'cancelled')
		return '';
	const text = reason(job.error);
	if (job.place)
		return fill(_('%s Place %d in its queue.'), text, job.place);
	return text;
}
