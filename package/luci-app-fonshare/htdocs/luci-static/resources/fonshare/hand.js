/* What is pressed at the moment: an element that is made anew under a finger never hears
   that it was pressed, and one that moves hears what was meant for another. So what comes
   from the node meanwhile waits until the hand is away. */

const HELD_MS = 2000; // a scroll bar that is dragged, a press whose end nobody told
const TAP_MS = 150; // from a finger's leaving to the click that it makes
const KEYS = [' ', 'Enter'];

/* Return a function: a promise of the hand's being away, null if it is. */
export function watchHand(scope) {
	let held = null, letGo = null, timer = null;

	function hold() {
		if (!held)
			held = new Promise((resolve) => { letGo = resolve; });
		within(HELD_MS);
	}

	function within(milliseconds) {
		clearTimeout(timer);
		timer = setTimeout(free, milliseconds);
	}

	function free() {
		clearTimeout(timer);
		held = null;
		if (letGo)
			letGo();
	}

	const options = { capture: true, passive: true };
	const lift = () => held && within(TAP_MS);
	const clicked = () => held && within(0); // whoever listens to it comes first
	const ofKey = (act) => (event) => KEYS.includes(event.key) && !event.repeat && act();
	scope.listen(document, 'pointerdown', hold, options);
	scope.listen(document, 'pointerup', lift, options);
	scope.listen(document, 'pointercancel', free, options);
	scope.listen(document, 'keydown', ofKey(hold), options);
	scope.listen(document, 'keyup', ofKey(lift), options);
	scope.listen(document, 'click', clicked, options);
	scope.atEnd(free);
	return () => held;
}
