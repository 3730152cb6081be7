'use strict';
'require view';
'require form';
'require view.fonshare.fields as fields';
'require view.fonshare.options as options';

// Every setting of /etc/config/fonshare; which there are, options.js says. The agent checks
// them all again when it starts, and better.

// LuCI's own buttons save the form first. Where another field is wrong, "Add" then says nothing
// and leaves an empty row that nobody sees until it is saved, and "Delete" leaves the row in sight.
const Rows = form.TypedSection.extend({
	handleAdd(ev, name) {
		return this.map.parse().then(
			() => form.TypedSection.prototype.handleAdd.call(this, ev, name),
			() => this.map.save().catch(told => told.message));
	},

	handleRemove(sectionId, ev) {
		return form.TypedSection.prototype.handleRemove.call(this, sectionId, ev).catch(() => {
			this.map.findElements('data-section-id', sectionId)
				.forEach(one => (one.closest('.cbi-section-remove') || one).remove());
		});
	}
});

function addSection(map, kind) {
	const section = kind.isList
		? map.section(Rows, kind.type, kind.title, fields.escaped(kind.help))
		: map.section(form.NamedSection, kind.type, kind.type, kind.title);

	section.anonymous = kind.isList;
	section.addremove = kind.isList;
	kind.options.forEach(option => fields.add(section, option));
}

return view.extend({
	render() {
		// The file holds passwords, so only who may change it reads it.
		if (L.hasViewPermission() === false)
			return fields.refuse(this);

		const map = new form.Map('fonshare', _('FonShare: settings'),
			_('What is empty has the value shown in grey. Saving and applying starts FonShare anew; transfers go on where they were.'));

		map.tabbed = true;
		options.sections.forEach(kind => addSection(map, kind));
		return map.render();
	}
});
