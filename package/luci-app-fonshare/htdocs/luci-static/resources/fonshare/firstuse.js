/* The very first use off the router, where there are no settings yet: a form that asks what
   `fonshare setup` asks on a terminal.

   `mountFirstUse(element, host, done)` shows it in *element*; what is answered goes to
   host.begin(answers), and *done* is called when the node begins to live. */

import { complaining, complainingOf, summaryLine } from './complaints.js';
import { append, h, replace, set, visible } from './dom.js';
import { asError, words } from './errors.js';
import { icon } from './icons.js';
import { makeScope } from './live.js';
import { dress } from './look.js';
import { card, checkbox, field, form, input } from './parts.js';
import { _, fill, size, speakAs } from './words.js';

const LOCAL_BROKER = 'mqtt://127.0.0.1:1883';

export function mountFirstUse(element, host, done) {
	speakAs(host);
	const scope = makeScope();
	const alerts = h('div', { class: 'fs-alerts', role: 'alert' });
	const content = h('div', { class: 'fs-content' });
	const root = h('div', { class: 'fonshare', 'data-host': host.kind }, alerts, content);
	// What forms need of the page: where to say that something failed.
	const app = { host, root, fail: (thrown) => fail(alerts, asError(thrown)) };
	dress(root, host, scope);
	replace(element, root);
	show(app, content, done).catch(app.fail);
	return () => {
		scope.end();
		root.remove();
	};
}

function fail(alerts, error) {
	replace(alerts, h('div', { class: 'fs-alert', 'data-code': error.code }, icon('error'), words(error)));
	alerts.scrollIntoView({ block: 'center' });
}

async function show(app, content, done) {
	const proposed = await app.host.propose();
	const parts = [name(proposed), disk(proposed), ...passwords(), guests(), ...broker(proposed), port(proposed), reach()];
	const of = (title, symbol, help, ...named) => card(title, symbol, help ? h('p', { class: 'fs-help' }, help) : null,
		h('div', { class: 'fs-form' }, parts.filter((one) => named.includes(one.step)).map((one) => one.element)));
	const summary = summaryLine();
	const sections = [
		of(_('This node'), 'home', '', 'node'),
		of(_('The disk'), 'disk', _('FonShare shares folders from here, and puts what you fetch here.'), 'disk'),
		of(_('You and your guests'), 'person', _('With this password you sign in to this page, and to your files by FTP as “owner”.'), 'people'),
		of(_('The broker'), 'groups', _('A broker passes on what members tell each other, not files. Who is invited needs none.'), 'broker'),
		of(_('The way to friends'), 'transfers', '', 'reach')
	];
	replace(content, h('h1', { class: 'fs-title', tabindex: '-1' }, _('Set up FonShare')),
		h('p', { class: 'fs-help' }, fill(_('The answers are written to %s; all of it can be changed later.'), visible(proposed.file))),
		form(app, [sections, summary], _('Begin'), async () => {
			replace(app.root.querySelector('.fs-alerts'));
			if (await begin(app, parts, summary))
				done();
		}));
}

/* Have the node begun; false if an answer is wrong, which is said where it stands. */
function begin(app, parts, summary) {
	return complainingOf(parts, summary, async () => {
		const answers = {};
		for (const part of parts) {
			const problem = part.check ? part.check() : '';
			if (problem) {
				part.complain(problem);
				part.control.focus();
				return false;
			}
			Object.assign(answers, part.read());
		}
		await app.host.begin(answers);
		return true;
	});
}

function part(step, name, label, control, help, read) {
	return complaining({ step, name, control, element: field(label, control, help), read });
}

function name(proposed) {
	const control = input('name', { value: proposed.name });
	return part('node', 'node.name', _('Name'), control, _('The name that friends see.'), () => ({ name: control.value.trim() }));
}

function disk(proposed) {
	const control = input('disk', { value: proposed.disk, list: 'fs-disks' });
	const found = part('disk', 'disk', _('Folder'), control, _('A disk, or a folder; it is made if it is not there.'),
		() => ({ disk: control.value.trim() }));
	append(found.element, [h('datalist', { id: 'fs-disks' }, proposed.disks.map((one) =>
		h('option', { value: one.path }, fill(_('%s free'), size(one.free_bytes)))))]);
	return found;
}

function passwords() {
	const first = input('password', { type: 'password', autocomplete: 'new-password' });
	const again = input('again', { type: 'password', autocomplete: 'new-password' });
	const one = part('people', 'ftp.users', _('Password'), first, '', () => ({ password: first.value }));
	one.check = () => first.value ? '' : _('The owner’s login needs a password.');
	const other = part('people', 'again', _('Password again'), again, '', () => ({}));
	other.check = () => first.value === again.value ? '' : _('The two are not the same.');
	return [one, other];
}

function guests() {
	const control = h('textarea', { class: 'fs-input', name: 'guest_folders', rows: '2', spellcheck: 'false' });
	return part('people', 'ftp.guest_folders', _('Folders for guests'), control,
		_('What everybody at home may read without a password: TV, players, phones. One in each line; none is fine.'),
		() => ({ guest_folders: control.value.split('\n').map((line) => line.trim()).filter(Boolean) }));
}

/* --- the broker: none, one's own, or the one on this machine --- */

function broker(proposed) {
	const address = input('broker', { placeholder: 'mqtts://USER:PASSWORD@HOST', inputmode: 'url' });
	const own = part('broker', 'mqtt.broker', _('Address of the broker'), address, '', () => ({}));
	const choices = [
		['', _('None: a friend invites me')],
		['own', _('One of my own, or of a provider')],
		proposed.has_broker ? ['here', _('Mosquitto on this machine, to try things out here')] : null
	].filter(Boolean);
	const list = h('fieldset', { class: 'fs-login' }, h('legend', { class: 'fs-unseen' }, _('The broker')),
		choices.map(([value, label], at) => h('label', { class: 'fs-check' },
			h('input', { type: 'radio', name: 'broker-choice', value, checked: at === 0 }), h('span', null, label))),
		h('p', { class: 'fs-help' }, proposed.has_broker ? _('Friends elsewhere do not reach that one before it has an address and logins of its own.')
			: _('There is no Mosquitto on this machine. With one installed, groups could be tried out here.')));
	const chosen = () => list.querySelector('input:checked').value;
	const follow = () => set(own.element, 'hidden', chosen() !== 'own');
	list.addEventListener('change', follow);
	follow();
	own.check = () => chosen() === 'own' && !address.value.trim() ? _('Write its address, or choose none.') : '';
	const choice = complaining({
		step: 'broker', name: 'broker-choice', control: list.querySelector('input'), element: list,
		read: () => ({ broker: { own: address.value.trim(), here: LOCAL_BROKER }[chosen()] || '' })
	});
	return [choice, own];
}

/* --- ports --- */

function port(proposed) {
	const control = input('port', { value: String(proposed.port), inputmode: 'numeric' });
	return part('reach', 'ftp.port', _('Port of the house door'), control, _('Friends come in at the next one.'),
		() => ({ port: control.value.trim() }));
}

function reach() {
	const open = checkbox('open', 'on', _('Friends elsewhere may come in'), true);
	const mapping = checkbox('port_mapping', 'on', _('Ask the router to let them in, if it has to'), true);
	const is = (label) => label.querySelector('input').checked;
	const element = h('div', null, open, mapping, h('p', { class: 'fs-help' }, _('Without, you fetch from friends who can be reached.')));
	return complaining({
		step: 'reach', name: 'node.port_mapping', control: open.querySelector('input'), element,
		read: () => ({ is_open: is(open), port_mapping: is(mapping) })
	});
}
