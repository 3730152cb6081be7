'use strict';
'require baseclass';
'require form';
'require view.fonshare.options as options';

// Fields of LuCI's forms, from the options of options.js.

const HOURS = new RegExp('^([0-9]{1,2})(:[0-5][0-9])? *- *([0-9]{1,2})(:[0-5][0-9])?$');
const LABEL_BYTES = 64;
const FOREIGN = new RegExp('[/\\u0000-\\u001f\\u007f-\\u009f]');
const PIN = new RegExp('^[0-9A-Fa-f]{64}$');
const NETWORK = new RegExp('^([0-9]{1,3})[.]([0-9]{1,3})[.]([0-9]{1,3})[.]([0-9]{1,3})(?:/([0-9]{1,2}))?$');
const NETWORK6 = new RegExp('^[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(/[0-9]{1,3})?$');
const BROKER = new RegExp('^mqtts?://([^/@ ]+@)?([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?/?([?][^ ]*)?$');

const WIDGETS = {
	flag: form.Flag,
	choice: form.ListValue,
	list: form.DynamicList,
	secret: form.Value,
	text: form.Value
};

// LuCI shows descriptions as HTML.
function escaped(text) {
	return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function describe(option) {
	return escaped(option.help + ' ' + _('Allowed: %s.').format(option.allowed));
}

function isHours(text) {
	const parts = text.match(HOURS);
	if (!parts)
		return false;
	const begin = Number(parts[1]) * 60 + Number((parts[2] || ':0').slice(1));
	const end = Number(parts[3]) * 60 + Number((parts[4] || ':0').slice(1));
	return begin <= 1440 && end <= 1440 && begin != end;
}

// A name as the agent takes it: of a node, a share, a group.
function isLabel(text) {
	return new TextEncoder().encode(text).length <= LABEL_BYTES && text == text.trim()
		&& !FOREIGN.test(text) && text != '.' && text != '..';
}

function isLogin(text) {
	return isLabel(text) && text.indexOf(' ') < 0;
}

function isFolder(text) {
	return text[0] != '/' && text.split('/').indexOf('..') < 0;
}

function isPin(text) {
	return PIN.test(text.replaceAll(':', ''));
}

function isBroker(text) {
	return BROKER.test(text);
}

// A network as the agent takes it, without bits of a host, or one of its two words.
function isNetwork(text) {
	const parts = text.match(NETWORK);
	if (!parts)
		return text == 'loopback' || text == 'lan' || NETWORK6.test(text);
	const numbers = parts.slice(1, 5).map(Number), bits = Number(parts[5] || 32);
	const address = numbers.reduce((sum, one) => sum * 256 + one, 0);
	return numbers.every(one => one < 256) && bits <= 32 && address % Math.pow(2, 32 - bits) == 0;
}

// What LuCI has no datatype for. With a value that it refuses the agent would not start.
const CHECKS = {
	hours: isHours, label: isLabel, login: isLogin, folder: isFolder, pin: isPin, broker: isBroker, network: isNetwork
};

function isFitting(datatype, text) {
	return CHECKS[datatype](text);
}

function check(option, value) {
	return !value || isFitting(option.datatype, value) || _('Allowed: %s.').format(option.allowed);
}

// LuCI adds nothing to a list that is refused, and forgets it without a word when the form is saved.
function refuseWhatIsNotAdded(field, option) {
	field.isValid = sectionId => !Array.from(field.map.findElements('data-field', field.cbid(sectionId)))
		.some(place => place.querySelector('.add-item .cbi-input-invalid'));
	field.getValidationError = () => _('Allowed: %s.').format(option.allowed);
}

// Guests of the house need no password; a login that may write does.
function checkPassword(section, sectionId, value) {
	return !!value || section.formvalue(sectionId, 'access') != 'write'
		|| _('A login that may write needs a password.');
}

return baseclass.extend({
	escaped: escaped,
	isFitting: isFitting,

	// Return what *view* shows to a login that may only look, and that has nothing to save.
	refuse(view) {
		view.handleSave = view.handleSaveApply = view.handleReset = null;
		return E('div', { 'class': 'alert-message warning' }, [ _('This login of the router may only look.') ]);
	},

	// Return the option *name* of the sections *type*.
	find(type, name) {
		const kind = options.sections.find(one => one.type == type);
		return kind.options.find(one => one.name == name);
	},

	// Add a field for *option* to a section of a form, and return it.
	add(section, option) {
		const field = section.option(WIDGETS[option.widget], option.name, option.title, describe(option));

		if (CHECKS[option.datatype])
			field.validate = (sectionId, value) => check(option, value);
		else if (option.datatype)
			field.datatype = option.datatype;
		if (option.widget == 'list')
			refuseWhatIsNotAdded(field, option);
		if (option.choices)
			option.choices.forEach(choice => field.value(choice));
		if (option.widget == 'secret')
			field.password = true;
		if (option.name == 'password')
			field.validate = (sectionId, value) => checkPassword(section, sectionId, value);
		if (option.widget == 'flag' || option.widget == 'choice')
			field.default = option.preset;
		else
			field.placeholder = [].concat(option.preset || option.placeholder || []).join(' ');
		field.rmempty = !(option.isNeeded || option.isWritten) || option.name == 'password';
		field.optional = field.rmempty && (option.widget == 'text' || option.name == 'password');
		return field;
	}
});
