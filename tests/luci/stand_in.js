/* A stand-in for LuCI in a browser, for tests: the interfaces that LuCI documents and that
   FonShare's views use (L, E, _, format, baseclass, view, rpc, uci, form, poll, ui, dom, fs,
   uqr), with the elements that LuCI makes where a test looks at them. Written from the
   documentation and from what was observed (tests/luci/observed), not from LuCI's code,
   and far smaller. The tests are the same before a real LuCI: that holds it to the truth. */

'use strict';

(function() {

const modules = {};
const TYPES = {
	uinteger: text => text !== '' && Number.isInteger(Number(text)) && Number(text) >= 0,
	range: (text, low, high) => Number(text) >= low && Number(text) <= high,
	port: text => Number.isInteger(Number(text)) && Number(text) >= 0 && Number(text) <= 65535,
	portrange: text => text.split('-').every(part => TYPES.port(part)),
	ipaddr: text => /^[0-9.]+$/.test(text) || (text.includes(':') && /^[0-9a-f:]+$/i.test(text)),
	host: text => /^[0-9a-z_.:-]+$/i.test(text)
};

/* --- what is global in LuCI --- */

function sized(value, digits) {
	const units = [ '', 'K', 'M', 'G', 'T' ];
	let power = 0;
	for (; value >= 1024 && power < units.length - 1; power++)
		value /= 1024;
	return value.toFixed(power ? digits : 0) + ' ' + units[power] + (power ? 'i' : '');
}

String.prototype.format = function(...values) {
	return this.replace(/%(%|1024\.(\d)m|s|d)/g, (all, kind, digits) =>
		kind === '%' ? '%' : digits ? sized(values.shift(), Number(digits)) : String(values.shift()));
};

window._ = text => window.TR[text] || text;

window.E = function(tag, attributes, children) {
	const element = document.createElement(tag);
	for (const [ name, value ] of Object.entries(attributes || {})) {
		if (typeof value === 'function')
			element.addEventListener(name, value);
		else if (value != null)
			element.setAttribute(name, value);
	}
	append(element, children);
	return element;
};

// As in LuCI, what stands in a list is text, and a text by itself is HTML.
function append(element, children) {
	if (children instanceof Node)
		element.append(children);
	else if (Array.isArray(children))
		children.forEach(child => child != null && element.append(child));
	else if (children != null)
		element.innerHTML = children;
}

const L = window.L = {
	env: { sessionid: '', rpctimeout: 20, apply_display: 1.5 },
	url: (...parts) => '/cgi-bin/luci/' + parts.join('/'),
	resource: (...parts) => '/luci-static/resources/' + parts.join('/'),
	resolveDefault: (value, fallback) => Promise.resolve(value).catch(() => fallback),
	isObject: value => value !== null && typeof value === 'object',
	hasViewPermission: () => document.body.dataset.readonly !== 'true',
	require: name => modules[name] || (modules[name] = load(name))
};

/* Return the instance that the module *name* makes of the class it returns. */
async function load(name) {
	const address = L.resource(name.replaceAll('.', '/') + '.js');
	const response = await fetch(address);
	if (!response.ok)
		throw new Error('NetworkError: HTTP error ' + response.status + ' while loading class file ' + address);
	const source = await response.text();
	const names = [], instances = [];
	for (const line of source.matchAll(/^'require ([\w.]+)(?: as (\w+))?';$/gm)) {
		names.push(line[2] || line[1].split('.').pop());
		instances.push(L.require(line[1]));
	}
	const factory = (0, eval)('(function(window, document, L' + names.map(one => ', ' + one).join('') +
		') {' + source + '\n})\n//# sourceURL=' + address);
	const made = factory(window, document, L, ...await Promise.all(instances));
	return new made();
}

function extend(base, members) {
	function Class(...values) {
		if (this.__init__)
			this.__init__(...values);
	}
	Class.prototype = Object.assign(Object.create(base.prototype), members);
	Class.extend = more => extend(Class, more);
	return Class;
}

function provide(name, value) {
	modules[name] = Promise.resolve(value);
	return value;
}

const baseclass = provide('baseclass', extend(Object, {}));

provide('poll', { add: (act, seconds) => setInterval(act, (seconds || 5) * 1000) });
provide('dom', { append, content: (place, children) => { place.replaceChildren(); append(place, children); } });
provide('uqr', { renderSVG: text => '<svg xmlns="http://www.w3.org/2000/svg" width="29" height="29">' +
	'<rect fill="white" width="29" height="29"/><path d="M4,4h1v1h-1z"/></svg>' });
const ui = provide('ui', {
	addNotification(title, content, kind) {
		document.getElementById('maincontent').prepend(
			E('div', { 'class': 'alert-message ' + (kind || '') }, [ title ? E('h4', {}, [ title ]) : '', content ]));
	},
	showModal(title, children) {
		ui.hideModal();
		document.body.append(E('div', { 'id': 'modal_overlay' }, [
			E('div', { 'class': 'modal', 'role': 'dialog' }, [ title ? E('h4', {}, [ title ]) : '', ...children ]) ]));
	},
	hideModal: () => document.getElementById('modal_overlay')?.remove(),
	createHandlerFn: (context, act, ...given) => event => {
		const pressed = event.currentTarget;
		pressed.disabled = true;
		Promise.resolve(act.call(context, ...given, event)).finally(() => { pressed.disabled = false; });
	}
});

/* --- ubus --- */

let number = 0;

async function call({ object, method, params, expect, reject }, values) {
	const given = Object.fromEntries((params || []).map((name, at) => [ name, values[at] ]));
	const where = 'RPC call to ' + object + '/' + method;
	const response = await fetch('/ubus/', { method: 'POST', body: JSON.stringify({
		jsonrpc: '2.0', id: ++number, method: 'call',
		params: [ document.body.dataset.session, object, method, given ]
	}) });
	if (!response.ok)
		throw new Error(where + ' failed with HTTP error ' + response.status + ': ' + response.statusText);
	const message = await response.json();
	if (message.error && message.error.code === -32002 && object !== 'session')
		await call({ object: 'session', method: 'access' }, []).catch(tellSessionIsOver);
	if (message.error)
		throw new Error(where + ' failed with error ' + message.error.code + ': ' + message.error.message);
	const [ code, result ] = message.result;
	if (reject && code !== 0)
		throw new Error(where + ' failed with ubus code ' + code);
	const reply = result === undefined ? code : result;
	const [ key ] = Object.keys(expect || {});
	return key === undefined ? reply : (reply?.[key] ?? expect[key]);
}

// LuCI asks whether the session is still good whenever it is denied something.
function tellSessionIsOver() {
	ui.showModal(_('Session expired'), [ E('div', { 'class': 'alert-message warning' },
		[ 'A new login is required since the authentication session expired.' ]) ]);
	throw Object.assign(new Error('Login session is expired'), { name: 'SessionError' });
}

const rpc = provide('rpc', { declare: options => (...values) => call(options, values) });
provide('fs', {
	exec: rpc.declare({ object: 'file', method: 'exec', params: [ 'command', 'params' ], reject: true }),
	write: (path, data, mode) => call({
		object: 'file', method: 'write', params: [ 'path', 'data', 'mode' ], reject: true
	}, [ path, data, mode ]),
	remove: rpc.declare({ object: 'file', method: 'remove', params: [ 'path' ], reject: true })
});

/* --- settings --- */

const uci = provide('uci', {
	loaded: {},
	async load(config) {
		if (uci.loaded[config])
			return; // what was changed meanwhile stays
		uci.loaded[config] = await call(
			{ object: 'uci', method: 'get', params: [ 'config' ], expect: { values: {} }, reject: true }, [ config ]);
	},
	sections: (config, type) => Object.values(uci.loaded[config] || {}).filter(one => !type || one['.type'] === type),
	get: (config, name, option) => uci.loaded[config]?.[name]?.[option],
	set(config, name, option, value) {
		uci.loaded[config][name][option] = value;
	},
	unset(config, name, option) {
		delete uci.loaded[config][name]?.[option];
	},
	add(config, type) {
		const name = 'new' + ++number;
		uci.loaded[config][name] = { '.type': type, '.name': name, '.anonymous': true };
		return name;
	},
	remove(config, name) {
		delete uci.loaded[config][name];
	},
	// In LuCI these are many calls and a confirmation; here one.
	store: config => call({ object: 'uci', method: 'set', params: [ 'config', 'values' ], reject: true },
		[ config, uci.loaded[config] ])
});

/* --- forms --- */

function isValid(type, text) {
	if (!type || text === '')
		return true;
	const parts = type.match(/^(\w+)(?:\((.*)\))?$/);
	if (parts[1] === 'and')
		return parts[2].match(/\w+(?:\([^)]*\))?/g).every(one => isValid(one, text));
	if (!TYPES[parts[1]])
		throw new Error('SyntaxError: Unhandled token "' + parts[1] + '"');
	return TYPES[parts[1]](text, ...(parts[2] || '').split(',').map(Number));
}

const Value = extend(baseclass, {
	rmempty: true,
	__init__(map, section, option, title, description) {
		Object.assign(this, { map, section, option, title, description, choices: [] });
	},
	value(key, label) {
		this.choices.push([ key, label || key ]);
	},
	/* Shown, checked and kept only while another field of the section has a value. */
	depends(field, value) {
		this.needs = (this.needs || []).concat([ [ field, value ] ]);
	},
	isActive(name) {
		return !this.needs || this.needs.some(([ field, value ]) => this.section.formvalue(name, field) === value);
	},
	checkDepends(name) {
		this.places[name].hidden = !this.isActive(name);
	},
	cfgvalue(name) {
		return this.map.data.get(this.map.config, name, this.option);
	},
	renderWidget(name) {
		return this.draw(name);
	},
	draw(name) {
		if (this.choices.length)
			return drawDropdown(this.choices, this.cfgvalue(name));
		return E('input', { 'type': this.password ? 'password' : 'text', 'class': 'cbi-input-text',
			'placeholder': this.placeholder, 'value': this.cfgvalue(name) ?? this.default ?? '' });
	},
	read: field => field.dataset.value ?? field.value,
	render(name) {
		const id = this.cbid(name);
		this.fields = this.fields || {};
		this.fields[name] = this.renderWidget(name);
		this.fields[name].id = 'widget.' + id;
		this.places = this.places || {};
		return this.places[name] = E('div', { 'class': 'cbi-value', 'data-field': id, 'data-name': this.option }, [
			E('label', { 'class': 'cbi-value-title', 'for': 'widget.' + id }, [ this.title ]),
			E('div', { 'class': 'cbi-value-field' }, [
				this.fields[name], E('div', { 'class': 'cbi-value-description' }, this.description)
			])
		]);
	},
	cbid(name) {
		return [ 'cbid', this.map.config, name, this.option ].join('.');
	},
	isValid: () => true,
	isFitting(name, text) {
		return isValid(this.datatype, text) && (!this.validate || this.validate(name, text) === true);
	},
	/* Write what the field says; return what is wrong with it. */
	parse(name) {
		const field = this.fields?.[name];
		if (!field)
			return null; // of a row that is not drawn yet: as in LuCI not looked at
		if (!this.isActive(name)) {
			this.map.data.unset(this.map.config, name, this.option);
			return null;
		}
		const value = this.read(field);
		const isEmpty = value === '' || value.length === 0;
		const verdict = this.isValid(name) && (!isEmpty || this.rmempty || this.optional)
			&& (Array.isArray(value) || this.isFitting(name, value)); // of a list each was looked at when it was added
		if (!Array.isArray(value))
			field.classList.toggle('cbi-input-invalid', !verdict);
		if (!verdict)
			return 'Option "' + this.title + '" contains an invalid input value.';
		if (isEmpty || (this.rmempty && value === this.default))
			this.map.data.unset(this.map.config, name, this.option);
		else if (this.forcewrite || String(this.cfgvalue(name)) !== String(value))
			this.map.data.set(this.map.config, name, this.option, value);
		return null;
	}
});
// A list to unfold, with a line for what it does not have; Enter takes that.
function drawDropdown(choices, now) {
	const place = E('div', { 'class': 'cbi-dropdown', 'tabindex': 0, 'data-value': now ?? '' });
	const list = E('ul', {}, choices.map(([ key, label ]) =>
		E('li', { 'data-value': key, 'click': () => choose(key) }, [ label ])));
	const own = E('input', { 'type': 'text', 'class': 'create-item-input', 'placeholder': '-- custom --',
		'keydown': event => event.key === 'Enter' && choose(event.target.value) });
	const choose = value => { place.dataset.value = value; };
	list.append(E('li', { 'data-value': '-', 'click': event => event.stopPropagation() }, own));
	place.append(list);
	return place;
}

const Flag = Value.extend({
	draw(name) {
		const field = E('input', { 'type': 'checkbox', 'value': '1' });
		field.checked = (this.cfgvalue(name) ?? this.default) === '1';
		return field;
	},
	read: field => field.checked ? '1' : '0'
});
const ListValue = Value.extend({
	draw(name) {
		const now = this.cfgvalue(name) ?? this.default;
		return E('select', {}, this.choices.map(([ key, label ]) =>
			E('option', { 'value': key, 'selected': key === now ? '' : null }, [ label ])));
	}
});
const DynamicList = Value.extend({
	draw(name) {
		const add = value => last.before(E('div', { 'class': 'item' }, [
			E('span', {}, [ value ]), E('input', { 'type': 'hidden', 'value': value }) ]));
		const field = E('input', { 'type': 'text', 'placeholder': this.placeholder, 'keydown': event => {
			field.classList.toggle('cbi-input-invalid', !this.isFitting(name, field.value));
			if (event.key !== 'Enter' || field.value === '' || !this.isFitting(name, field.value))
				return;
			add(field.value);
			field.value = '';
		} });
		const last = E('div', { 'class': 'add-item' }, [ field ]), place = E('div', { 'class': 'cbi-dynlist' }, [ last ]);
		[].concat(this.cfgvalue(name) ?? []).forEach(add);
		return place;
	},
	read: place => Array.from(place.querySelectorAll('.item > input'), one => one.value)
});
/* What is only shown. */
const DummyValue = Value.extend({
	draw(name) {
		return E('div', {}, [ this.cfgvalue(name) ?? this.default ?? '' ]);
	},
	read: () => null,
	parse: () => null
});
const Section = extend(baseclass, {
	option(Class, ...values) {
		const made = new Class(this.map, this, ...values);
		this.options.push(made);
		return made;
	},
	drawRow(name) {
		return E('div', { 'class': 'cbi-section-node', 'data-section-id': name },
			this.options.map(one => one.render(name)));
	},
	formvalue(name, option) {
		const found = this.options.find(one => one.option === option);
		return found && found.read(found.fields[name]);
	},
	parse() {
		return this.names().flatMap(name => this.options.map(one => one.parse(name))).filter(one => one !== null);
	}
});
const NamedSection = Section.extend({
	__init__(map, name, type, title, description) {
		Object.assign(this, { map, name, type, title, description, options: [] });
	},
	names() {
		return [ this.name ];
	},
	draw() {
		return [ this.drawRow(this.name) ];
	}
});
const TypedSection = Section.extend({
	__init__(map, type, title, description) {
		Object.assign(this, { map, type, title, description, options: [] });
	},
	names() {
		return this.map.data.sections(this.map.config, this.type).map(one => one['.name']);
	},
	/* As in LuCI, both save the form, and say nothing where a field is wrong. */
	handleAdd() {
		uci.add(this.map.config, this.type);
		return this.map.save(null, true);
	},
	handleRemove(name) {
		uci.remove(this.map.config, name);
		return this.map.save(null, true);
	},
	draw() {
		const rows = this.names().flatMap(name => [
			E('div', { 'class': 'cbi-section-remove' }, [ E('button', { 'class': 'cbi-button',
				'data-section-id': name, 'click': () => this.handleRemove(name) }, [ _('Delete') ]) ]),
			this.drawRow(name)
		]);
		return [ ...rows, this.addremove ? E('button', { 'class': 'cbi-button cbi-button-add',
			'click': () => this.handleAdd() }, [ _('Add') ]) : '' ];
	}
});
const Map_ = extend(baseclass, {
	data: uci,
	__init__(config, title, description) {
		Object.assign(this, { config, title, description, sectionsOfMap: [] });
	},
	section(Class, ...values) {
		const made = new Class(this, ...values);
		this.sectionsOfMap.push(made);
		return made;
	},
	async render() {
		await this.data.load(this.config);
		Map_.last = this;
		this.root = E('div', { 'class': 'cbi-map', 'id': 'cbi-' + this.config, 'change': () => this.checkDepends() });
		this.renderContents();
		return this.root;
	},
	checkDepends() {
		this.sectionsOfMap.forEach(section => section.names().forEach(
			name => section.options.forEach(one => one.checkDepends(name))));
	},
	renderContents() {
		this.root.replaceChildren(
			E('h2', {}, [ this.title ]), E('div', { 'class': 'cbi-map-descr' }, this.description),
			...this.sectionsOfMap.map(one => E('div', { 'class': 'cbi-section', 'data-tab': one.type,
				'data-tab-title': one.title }, [ E('h3', {}, [ one.title ]),
				E('div', { 'class': 'cbi-section-descr' }, one.description || ''), ...one.draw() ])));
		this.checkDepends();
	},
	findElements(name, value) {
		return this.root.querySelectorAll('[' + name + '="' + value + '"]');
	},
	async parse() {
		const wrong = this.sectionsOfMap.flatMap(one => one.parse());
		if (wrong.length)
			throw new Error(wrong.join(', '));
	},
	async save(callback, isSilent) {
		try {
			await this.parse();
		}
		catch (problem) {
			if (!isSilent)
				ui.showModal(_('Save error'), [ E('p', {}, [ problem.message ]),
					E('button', { 'class': 'cbi-button', 'click': ui.hideModal }, [ 'Dismiss' ]) ]);
			throw problem;
		}
		this.renderContents();
	}
});
/* A form over an object: what is in the fields when it is saved is in the object then. */
const JSONMap = Map_.extend({
	__init__(data, ...texts) {
		Map_.prototype.__init__.call(this, 'json', ...texts);
		this.data = {
			load: async () => {},
			get: (config, name, option) => data[name][option],
			set(config, name, option, value) {
				data[name][option] = value;
			},
			unset(config, name, option) {
				delete data[name][option];
			}
		};
	}
});
provide('form', { Map: Map_, JSONMap, DummyValue, NamedSection, TypedSection, Value, Flag, ListValue, DynamicList });

/* --- views --- */

provide('view', extend(baseclass, {
	load() {},
	async __init__() {
		const place = document.getElementById('view');
		try {
			place.append(await this.render(await this.load()));
			if (this.handleSaveApply !== null)
				place.append(E('button', { 'class': 'cbi-button-apply', 'click': () => this.saveAndApply() }, [ _('Save & Apply') ]));
			document.body.dataset.ready = 'true';
		}
		catch (problem) {
			place.append(E('p', { 'class': 'alert-message error' }, [ String(problem) ]));
			throw problem;
		}
	},
	// In LuCI the router is asked for a while whether it is still there; then the page is loaded again.
	async saveAndApply() {
		try {
			await Map_.last.save();
		}
		catch {
			return; // told by it
		}
		await uci.store(Map_.last.config);
		document.dispatchEvent(new CustomEvent('uci-applied'));
		ui.showModal(null, [ E('p', {}, [ 'Configuration changes applied.' ]) ]);
		setTimeout(() => { window.location = window.location.href.split('#')[0]; }, L.env.apply_display * 1000);
	}
}));

/* LuCI's overview: the cards of view/status/include, drawn anew as they are polled. */
async function showCard(name) {
	const card = await L.require('view.status.include.' + name);
	const content = E('div');
	document.getElementById('view').append(E('div', { 'class': 'cbi-section' }, [ E('h3', {}, [ card.title ]), content ]));
	const step = async () => content.replaceChildren(card.render(await card.load()));
	await step();
	document.body.dataset.ready = 'true';
	setInterval(step, 1000);
}

document.addEventListener('DOMContentLoaded', () => {
	const { view } = document.body.dataset;
	if (view === 'status/index')
		showCard('70_fonshare');
	else
		L.require('view.' + view.replaceAll('/', '.'));
});

}());
