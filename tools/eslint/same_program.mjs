// Tells whether files are the same programs: node same_program.mjs KIND BEFORE AFTER...
// KIND is `module` or `script` (of LuCI: the body of a function). What they say is
// compared, not how they are written; prints the BEFORE of each pair that differs.

import { readFileSync } from 'node:fs';
import * as espree from 'espree';

const [ kind, ...files ] = process.argv.slice(2);
const options = { ecmaVersion: 2022, sourceType: kind, ecmaFeatures: { globalReturn: kind === 'script' } };

function parse(file) {
	try {
		return espree.parse(readFileSync(file, 'utf-8'), options);
	} catch (problem) {
		return file + ': ' + problem.message;
	}
}

function meaning(file) {
	const tree = parse(file);
	return JSON.stringify(tree, (key, value) =>
		[ 'start', 'end', 'range', 'loc', 'raw' ].includes(key) ? undefined
			: value instanceof RegExp ? String(value) : value);
}

for (let at = 0; at < files.length; at += 2) {
	if (meaning(files[at]) !== meaning(files[at + 1]))
		console.log(files[at]);
}
