export function say(element, text) {
	element.setAttribute('data-said', text);
	element.textContent = text;
}
