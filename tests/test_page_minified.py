"""The page as LuCI's build may ship it: minified by what LuCI itself minifies with."""

import shutil

import pytest

from browser import MODULES, page_server, visiting

rjsmin = pytest.importorskip("rjsmin")  # of `make venv`; LuCI's tree holds 1.2.4 too


@pytest.mark.full
def test_the_minified_page_does_the_same(chromium, tmp_path):
    folder = tmp_path / "fonshare"
    shutil.copytree(MODULES, folder)
    for file in folder.rglob("*.js"):
        file.write_text(rjsmin.jsmin(file.read_text()))
    assert "\n\n" not in (folder / "app.js").read_text()

    with page_server(folder) as address, visiting(chromium, address) as visit:
        visit.open("overview", "makeJob('A.mkv', {state: 'running', done_bytes: 5e7})")
        visit.page.get_by_text("50 MB of 100 MB").wait_for()
        for route, mark in (
            ("transfers", ".fs-job"),
            ("groups", ".fs-share"),
            ("group?Famille", ".fs-member"),
            ("settings", ".fs-form"),
            ("wizard", ".fs-step"),
            ("join", ".fs-join"),
            ("files", ".fs-entry"),
        ):
            visit.page.evaluate("route => { location.hash = '#/' + route }", route)
            visit.page.locator(mark).first.wait_for()
        visit.page.get_by_role("searchbox").fill("mkv")
        visit.page.get_by_text("4 found").wait_for()
