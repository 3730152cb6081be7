'use strict';
'require view';
'require form';
'require view.fonshare.options as options';

// Every setting of /etc/config/fonshare; which there are, options.js says. The agent checks
// them all again when it starts, and better.

const HOURS = new RegExp('^([0-9]{1,2})(:[0-5][0-9])? *- *([0-9]{1,2})(:[0-5][0-9])?$');

// Help is shown as HTML by LuCI.
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

const WIDGETS = {
	flag: form.Flag,
	choice: form.ListValue,
	list: form.DynamicList,
	secret: form.Value,
	text: form.Value
};

function addOption(section, option) {
	const field = section.option(WIDGETS[option.widget], option.name, option.title, describe(option));

	if (option.datatype == 'hours')
		field.validate = checkHours;
	else if (option.datatype)
		field.datatype = option.datatype;
	if (option.choices)
		option.choices.forEach(choice => field.value(choice));
	if (option.widget == 'secret')
		field.password = true;
	if (option.widget == 'flag' || option.widget == 'choice')
		field.default = option.preset;
	else
		field.placeholder = [].concat(option.preset || option.placeholder || []).join(' ');
	field.rmempty = !(option.isNeeded || option.isWritten);
	field.optional = field.rmempty && option.widget == 'text';
}

function addSection(map, kind) {
	const section = kind.isList
		? map.section(form.TypedSection, kind.type, kind.title, escaped(kind.help))
		: map.section(form.NamedSection, kind.type, kind.type, kind.title);

	section.anonymous = kind.isList;
	section.addremove = kind.isList;
	kind.options.forEach(option => addOption(section, option));
}

return view.extend({
	render() {
		const map = new form.Map('fonshare', _('FonShare: settings'),
			_('What is empty has the value shown in grey. Saving and applying starts FonShare anew; transfers go on where they were.'));

		map.tabbed = true;
		options.sections.forEach(kind => addSection(map, kind));
		return map.render();
	}
});
