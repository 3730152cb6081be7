"""Listings of the page while entries come and go: pure modules, run in the browser."""

import json

import pytest

from browser import visiting

# A folder of a random history, looked at through windows: whatever came and went, what
# has been read anew is what there is, in its order and each row once.
HISTORIES = """async ([kind, seeds]) => {
    const {folderListing, mergedListing, searchListing} =
        await import('/page/listing.js');
    const wrong = [];
    for (let seed = 1; seed <= seeds; seed += 1) {
        let last = seed * 2654435761 % 4294967296;
        const draw = (below) => {
            last = (last * 1664525 + 1013904223) % 4294967296;
            return Math.floor(last / 4294967296 * below);
        };
        const name = () => 'n' + String(draw(20000)).padStart(5, '0');
        const places = kind === 'merged' ? [new Set(), new Set()] : [new Set()];
        const put = (place, count) => {
            for (let at = 0; at < count; at += 1)
                place.add(name());
        };
        const drop = (place, share) => {
            for (const one of [...place]) {
                if (draw(100) < share)
                    place.delete(one);
            }
        };
        places.forEach(place => put(place, draw(4000)));
        let moved = 0;
        const ask = (place) => async (command, {limit, after}) => {
            const names = [...place].sort();
            const from = after ? names.findIndex(one => one > after) : 0;
            const page = from < 0 ? [] : names.slice(from, from + limit);
            const rows = page.map(one => ({id: one, kind: 'file', name: one, size: 1}));
            if (rows.length && names[names.length - 1] > page[page.length - 1])
                rows[rows.length - 1].cursor = page[page.length - 1];
            return rows;
        };
        const key = () => moved;
        const parts = places.map(place => kind === 'search'
            ? searchListing(ask(place), {words: []}, key)
            : folderListing(ask(place), '', key));
        const seen = kind === 'merged' ? mergedListing(async () => parts) : parts[0];
        await seen.more();
        for (let step = 0; step < 8; step += 1) {
            for (const place of places) {
                if (draw(2))
                    put(place, draw(draw(4) ? 20 : 7000));
                if (draw(2))
                    drop(place, draw(draw(4) ? 5 : 100));
            }
            moved += 1;
            if (draw(3))
                await seen.more();
            const from = draw(seen.rows.length + 1);
            await seen.renew(from, from + draw(60));
        }
        let isStale = true; // until no window, from the first row to the last, is
        while (isStale) {
            isStale = !seen.isComplete;
            await seen.more();
            for (let at = 0; at <= seen.rows.length; at += 500)
                isStale = await seen.renew(at, at + 500) || isStale;
        }
        const truth = [...new Set(places.flatMap(place => [...place]))].sort();
        const found = seen.rows.map(row => row.name);
        if (JSON.stringify(found) !== JSON.stringify(truth))
            wrong.push([seed, found.length, truth.length, new Set(found).size,
                found.filter(one => !truth.includes(one)).length]);
    }
    return JSON.stringify(wrong);
}"""


@pytest.mark.full
@pytest.mark.parametrize(
    ("kind", "seeds"), [("folder", 20), ("merged", 6), ("search", 6)]
)
def test_whatever_comes_and_goes_a_listing_is_what_there_is(
    chromium, page_address, kind, seeds
):
    with visiting(chromium, page_address) as visit:
        visit.open("settings")
        assert json.loads(visit.page.evaluate(HISTORIES, [kind, seeds])) == []
