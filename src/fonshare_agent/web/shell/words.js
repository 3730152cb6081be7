// The words of the frame and the sign-in. The page's own come from /words/LANGUAGE.json;
// these few are here so that signing in never waits for, or lacks, a translation.

const FRENCH = {
	'Sign in': 'Se connecter',
	'Sign out': 'Se déconnecter',
	'Password': 'Mot de passe',
	'The password of the owner\'s FTP login.': 'Le mot de passe FTP du propriétaire.',
	'Code': 'Code',
	'It stands where `fonshare web` was started, and opens this page once.':
		'Il est écrit là où `fonshare web` a été lancé, et ouvre cette page une fois.',
	'The code is wrong, or was used already: then start `fonshare web` again.':
		'Le code est faux, ou a déjà servi : relancez alors `fonshare web`.',
	'Signing in…': 'Connexion…',
	'Your session is over. Sign in to go on.': 'Votre session est terminée. Reconnectez-vous pour continuer.',
	'The password is wrong.': 'Le mot de passe est faux.',
	'Too many attempts. Try again in %s.': 'Trop d’essais. Réessayez dans %s.',
	'The server of this page does not answer. Is `fonshare web` running?':
		'Le serveur de cette page ne répond pas. Est-ce que `fonshare web` tourne ?',
	'Language': 'Langue',
	'A part of the page did not come. If trying again does not help, install FonShare anew.':
		'Une partie de la page n’est pas arrivée. Si réessayer ne suffit pas, réinstallez FonShare.',
	'Try again': 'Réessayer',
};

const LANGUAGES = { en: 'English', fr: 'Français' };
const KEPT = 'fonshare.language';

export { LANGUAGES };

export function chosenLanguage(preferred) {
	const kept = localStorage.getItem(KEPT);
	return Object.hasOwn(LANGUAGES, kept || '') ? kept : preferred;
}

export function keepLanguage(language) {
	localStorage.setItem(KEPT, language);
}

// What the shell itself says.
export function shellWords(language) {
	return (text) => (language === 'fr' && FRENCH[text]) || text;
}

// What the page says: a function of the English text.
export async function pageWords(language) {
	if (language === 'en')
		return (text) => text;
	const response = await fetch('/words/' + language + '.json');
	const words = response.ok ? await response.json() : {};
	return (text) => (Object.hasOwn(words, text) ? words[text] : text);
}
