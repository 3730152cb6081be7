// The rules of `make lint-js`. LuCI's views: LuCI's own rules (ESLint's recommended ones,
// scripts that end in `return`, LuCI's globals), and stricter where LuCI only warns. The
// page's modules: the same as modules. Neither may hold what LuCI's minifier could break.

import { defineConfig } from 'eslint/config';
import globals from 'globals';
import js from '@eslint/js';
import json from '@eslint/json';

const LUCI = [ '_', 'N_', 'L', 'E', 'TR', 'baseclass', 'dom', 'form', 'fs', 'poll', 'request',
	'rpc', 'session', 'uci', 'ui', 'uqr', 'validation', 'view', 'options', 'host', 'commands', 'backup', 'broker', 'health', 'program', 'refusals',
	'modules', 'fields' ];
const RESOURCES = 'package/luci-app-fonshare/htdocs/luci-static/resources';

const ours = {
	'no-undef': 'error',
	'no-unused-vars': [ 'error', { args: 'none', caughtErrors: 'none', ignoreRestSiblings: true } ],
	'no-var': 'error',
	'no-restricted-syntax': [ 'error', {
		selector: 'TemplateLiteral',
		message: 'LuCI\'s minifier reads a template as text without nested parts.'
	} ]
};
// As in LuCI.
const relaxed = {
	'strict': 'off',
	'no-prototype-builtins': 'off',
	'no-empty': 'off',
	'no-regex-spaces': 'off',
	'no-control-regex': 'off',
	'preserve-caught-error': 'off',
	'no-useless-assignment': 'off'
};

export default defineConfig([
	{
		files: [ 'package/luci-app-fonshare/root/**/*.json' ],
		plugins: { json },
		language: 'json/json',
		extends: [ 'json/recommended' ]
	},
	{
		files: [ `${RESOURCES}/view/**/*.js` ],
		plugins: { js },
		extends: [ 'js/recommended' ],
		languageOptions: {
			sourceType: 'script',
			ecmaVersion: 2022,
			globals: {
				...globals.browser,
				...Object.fromEntries(LUCI.map(name => [ name, 'readonly' ]))
			},
			parserOptions: { ecmaFeatures: { globalReturn: true } }
		},
		rules: { ...relaxed, ...ours }
	},
	{
		files: [ `${RESOURCES}/fonshare/**/*.js`, 'src/fonshare_agent/web/shell/**/*.js' ],
		plugins: { js },
		extends: [ 'js/recommended' ],
		languageOptions: {
			sourceType: 'module',
			ecmaVersion: 2022,
			globals: globals.browser
		},
		rules: { ...relaxed, ...ours }
	}
]);
