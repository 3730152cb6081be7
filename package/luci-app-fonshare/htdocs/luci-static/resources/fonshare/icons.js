/* Pictures of one line width, drawn here so that nothing is ever loaded from elsewhere. */

import { svg } from './dom.js';

const LINES = {
	home: ['M4 11 12 4l8 7', 'M6 10v10h12V10', 'M10 20v-6h4v6'],
	folder: ['M3 7a2 2 0 0 1 2-2h4l2 2.5h8a2 2 0 0 1 2 2V17a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2z'],
	file: ['M7 3h7l4 4v14H7z', 'M14 3v4h4'],
	audio: ['M9 18V6l10-2v12', 'M9 18a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0z',
		'M19 16a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0z'],
	video: ['M3 6h12v12H3z', 'M15 11l6-4v10l-6-4'],
	picture: ['M3 5h18v14H3z', 'M3 16l5-5 4 4 3-3 6 6', 'M15.5 9.5h.01'],
	document: ['M7 3h7l4 4v14H7z', 'M10 11h5', 'M10 14h5', 'M10 17h3'],
	transfers: ['M7 4v16', 'M3 16l4 4 4-4', 'M17 20V4', 'M13 8l4-4 4 4'],
	groups: ['M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7z', 'M2.5 20c.4-4 3-6 6.5-6s6.1 2 6.5 6',
		'M16 4.500a3.5 3.5 0 0 1 0 6.5', 'M18 14.500c2 .8 3.2 2.6 3.5 5.5'],
	person: ['M12 11.500a4 4 0 1 0 0-8 4 4 0 0 0 0 8z', 'M4.5 20.500c.5-4.5 3.5-6.5 7.5-6.500s7 2 7.5 6.5'],
	settings: ['M4 7h9', 'M17 7h3', 'M15 9.200a2.2 2.2 0 1 0 0-4.4 2.2 2.2 0 0 0 0 4.400z', 'M4 17h3',
		'M11 17h9', 'M9 19.200a2.2 2.2 0 1 0 0-4.4 2.2 2.2 0 0 0 0 4.400z'],
	search: ['M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13z', 'M15.5 15.5 21 21'],
	get: ['M12 4v12', 'M7 11l5 5 5-5', 'M5 20h14'],
	pause: ['M9 5v14', 'M15 5v14'],
	resume: ['M8 5l11 7-11 7z'],
	retry: ['M19 12a7 7 0 1 1-2.1-5', 'M17.5 2.500V7.500h-5'],
	close: ['M6 6l12 12', 'M18 6 6 18'],
	first: ['M12 20V8', 'M6.5 13.5 12 8l5.5 5.5', 'M6 4h12'],
	last: ['M12 4v12', 'M6.5 10.5 12 16l5.5-5.5', 'M6 20h12'],
	grip: ['M9 6h.01', 'M15 6h.01', 'M9 12h.01', 'M15 12h.01', 'M9 18h.01', 'M15 18h.01'],
	disk: ['M4 14h16v5H4z', 'M4 14l3-9h10l3 9', 'M16.5 16.500h.01'],
	line: ['M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18z', 'M3 12h18', 'M12 3c5 5 5 13 0 18', 'M12 3c-5 5-5 13 0 18'],
	ok: ['M5 12.5 10 17.5 19 7'],
	warning: ['M12 4 2.5 20h19z', 'M12 10v4.5', 'M12 17.300h.01'],
	error: ['M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18z', 'M12 7.500v5', 'M12 16.300h.01'],
	next: ['M9 5l7 7-7 7'],
	copy: ['M9 9h11v11H9z', 'M5 15H4V4h11v1'],
	add: ['M12 5v14', 'M5 12h14'],
	star: ['M12 4l2.4 5.2 5.6.6-4.2 3.8 1.2 5.6-5-2.9-5 2.9 1.2-5.600L4 9.800l5.6-.6z'],
	key: ['M8 19a4 4 0 1 0 0-8 4 4 0 0 0 0 8z', 'M11 12.5 20 4', 'M16.5 7.500l3 3'],
	filter: ['M4 6h16', 'M7 12h10', 'M10 18h4'],
	health: ['M3 12h4l3-7 4 14 3-7h4']
};

export function icon(name, className) {
	return svg('svg', {
		class: className || 'fs-icon', viewBox: '0 0 24 24', 'aria-hidden': 'true', focusable: 'false'
	}, (LINES[name] || LINES.file).map((line) => svg('path', { d: line })));
}
