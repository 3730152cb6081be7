'use strict';
'require baseclass';
'require form';
'require view.fonshare.options as options';

// Fields of LuCI's forms, from the options of options.js.

const HOURS = new RegExp('^([0-9]{1,2})(:[0-5][0-9])? *- *([0-9]{1,2})(:[0-5][0-9])?$');

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

function checkHours(sectionId, value) {
	return !value || isHours(value) || _('Two times of the day, such as 23-7 or 22:30-06:45.');
}

// Guests of the house need no password; a login that may write does.
function checkPassword(section, sectionId, value) {
	return !!value || section.formvalue(sectionId, 'access') != 'write'
		|| _('A login that may write needs a password.');
}

return baseclass.extend({
	escaped: escaped,

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

		if (option.datatype == 'hours')
			field.validate = checkHours;
		else if (option.datatype)
			field.datatype = option.datatype;
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
