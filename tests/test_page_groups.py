"""Groups and settings in the page: invites, members, shares, limits, backups."""

import pytest

from browser import visiting
from waiting import wait_until

WORDS = ["apple", "river", "stone", "candle", "tiger", "window"]


@pytest.fixture
def visit(chromium, page_address):
    with visiting(chromium, page_address) as visitor:
        yield visitor


def test_a_group_is_made_and_a_friend_invited(visit):
    visit.open("groups")
    visit.page.get_by_role("button", name="New group").click()
    visit.page.get_by_label("Name", exact=True).fill("Famille")
    visit.page.get_by_role("button", name="Make the group").click()
    dialog = visit.page.get_by_role("dialog")
    dialog.get_by_role("alert").get_by_text("the name is taken").wait_for()
    visit.page.get_by_label("Name", exact=True).fill("Voisins")
    visit.page.get_by_role("button", name="Make the group").click()
    visit.page.get_by_role("heading", name="Voisins").wait_for()

    visit.page.get_by_role("button", name="Invite a friend").click()
    dialog = visit.page.get_by_role("dialog")
    dialog.get_by_role("img", name="QR picture of the link").wait_for()
    code = dialog.get_by_role("textbox", name="Code").input_value()
    link = dialog.get_by_role("textbox", name="Link").input_value()
    assert code.startswith("ABCDE-")
    assert link == f"FONSHARE:{code}"
    copy = dialog.get_by_role("button", name="Copy")
    assert copy.count() == 2
    copy.first.click()
    dialog.get_by_role("status").locator(".fs-notice").wait_for()
    assert visit.calls("group invite") == [{"group": "Voisins", "accept_first": False}]


def test_who_asks_to_join_is_accepted_after_a_look_at_the_words(visit):
    request = {"group": "Famille", "id": "david-x2k4m", "name": "David", "words": WORDS}
    visit.open("groups")
    visit.page.evaluate("one => { world.requests = [one] }", request)
    accept = visit.page.get_by_role("button", name="The words are the same: accept")
    accept.wait_for()
    shown = visit.page.locator(".fs-words li").all_inner_texts()
    assert [one.split()[-1] for one in shown] == WORDS
    assert (
        "1"
        in visit.page.locator(".fs-menu")
        .get_by_role("link", name="Groups")
        .inner_text()
    )
    accept.click()

    visit.page.locator(".fs-request").wait_for(state="detached")
    wanted = {"group": "Famille", "member": "david-x2k4m"}
    assert visit.calls("group accept") == [wanted]


def test_joining_shows_the_inviter_and_the_words_first(visit):
    visit.open("join")
    visit.page.get_by_label("Invite").fill("nonsense")
    visit.page.get_by_role("button", name="Go on").click()
    visit.page.locator(".fs-alert").get_by_text("mistyped").wait_for()
    visit.page.get_by_label("Invite").fill(" FONSHARE:ABCDE-FGHIJ ")
    visit.page.get_by_role("button", name="Go on").click()
    visit.page.get_by_text("Waiting for your friend’s node.").wait_for()
    visit.page.evaluate(
        """words => Object.assign(world.joining, {state: 'confirming', words,
            inviter: {id: 'bobby-m3xr7-x', name: 'Bob'}})""",
        WORDS,
    )
    visit.page.get_by_role("heading", name="Is this your friend?").wait_for()
    box = visit.page.locator(".fs-join").inner_text()
    assert "Bob" in box
    assert "bobby-m3xr7" in box
    assert all(word in box for word in WORDS)

    visit.page.get_by_role("link", name="Files").click()  # away, and back
    visit.page.evaluate("() => { location.hash = '#/join' }")
    visit.page.get_by_role("button", name="Yes, the words are the same").click()
    visit.page.get_by_text("Waiting for your friend to accept.").wait_for()
    visit.page.evaluate("() => { world.joining.state = 'member' }")
    visit.page.get_by_role("heading", name="Welcome!").wait_for()

    assert visit.calls("group join")[-1] == {"code": "FONSHARE:ABCDE-FGHIJ"}
    wanted = {"group": "Voisins", "decision": "yes"}
    assert visit.calls("group confirm") == [wanted]


@pytest.mark.full
def test_a_join_goes_on_where_it_was_when_the_page_is_loaded_again(visit):
    """As a phone does by itself, whose owner reads the words somewhere else."""
    inviter = "{ id: 'bobby-m3xr7-ccccc', name: 'Bob' }"
    words = "['a', 'b', 'c', 'd', 'e', 'f']"
    under_way = (
        "world.joining = { group: 'Voisins', state: 'knocking',"
        f" inviter: {inviter}, words: {words} }}"
    )
    visit.open("join", under_way)
    visit.page.get_by_label("Invite").fill("ABCDE-FGHIJ")
    visit.page.get_by_label("Name of the group").fill("Voisins")
    visit.page.get_by_role("button", name="Go on").click()
    visit.page.get_by_text("Waiting for your friend’s node.").wait_for()
    route = visit.page.evaluate("() => location.hash.replace('#/', '')")
    assert route == "join?Voisins"

    visit.page.reload()
    visit.open(route, under_way)
    visit.page.get_by_role("button", name="Yes, the words are the same").click()
    assert visit.calls("group join") == []
    confirmed = {"group": "Voisins", "decision": "yes"}
    wait_until(lambda: visit.calls("group confirm") == [confirmed], "said")


@pytest.mark.full
def test_a_join_that_is_refused_says_so(visit):
    visit.open("join")
    visit.page.get_by_label("Invite").fill("ABCDE")
    visit.page.get_by_role("button", name="Go on").click()
    visit.page.get_by_text("Waiting for your friend’s node.").wait_for()
    visit.page.evaluate("() => { world.joining.state = 'refused' }")
    visit.page.get_by_role("heading", name="You were not let in").wait_for()
    visit.page.get_by_role("button", name="Another invite").click()
    visit.page.get_by_label("Invite").wait_for()


@pytest.mark.full
def test_members_are_managed_by_admins_only(visit):
    visit.open("group?Famille")
    carol = visit.page.locator(".fs-member", has_text="Carol")
    assert "last seen 2 hours ago" in carol.inner_text()
    carol.get_by_text("More").click()
    carol.get_by_role("button", name="Make admin: Carol").click()
    dialog = visit.page.get_by_role("dialog")
    dialog.get_by_role("button", name="Make admin").click()
    carol.get_by_text("admin", exact=True).wait_for()
    carol.get_by_role("button", name="Take admin back: Carol").click()
    carol.get_by_text("admin", exact=True).wait_for(state="detached")
    carol.get_by_role("button", name="Remove Carol").click()
    dialog.get_by_role("button", name="Remove").click()
    carol.wait_for(state="detached")
    carol_id = "carol-q9wz2-eeeee-fffff"
    wanted = [{"group": "Famille", "member": carol_id}]
    assert visit.calls("group admin") == wanted
    assert visit.calls("group unadmin") == wanted
    assert visit.calls("group remove") == wanted
    anna = visit.page.locator(".fs-member", has_text="Anna")
    assert anna.get_by_text("creator", exact=True).count() == 1

    visit.page.evaluate("() => { location.hash = '#/group?Cin%C3%A9-club' }")
    visit.page.get_by_text("Only the admins of this group can invite.").wait_for()
    assert visit.page.get_by_role("button", name="Invite a friend").count() == 0
    assert visit.page.get_by_text("More", exact=True).count() == 0


def test_a_folder_is_chosen_shared_and_no_more(visit):
    visit.open("group?Famille")
    visit.page.get_by_role("button", name="Share a folder").click()
    folders = visit.page.get_by_role("group", name="Folders of the disk")
    assert "shared already" in folders.get_by_role("button", name="Photos").inner_text()
    folders.get_by_role("button", name="media").click()
    folders.get_by_role("button", name="Music").click()
    folders.get_by_role("button", name="Live").wait_for()
    path = visit.page.get_by_label("Folder of the disk", exact=True)
    assert path.input_value() == "media/Music"
    assert visit.page.get_by_label("Name", exact=True).input_value() == "Music"
    visit.page.get_by_role("button", name="Share", exact=True).click()
    visit.page.get_by_role("button", name="Stop sharing Music").click()
    dialog = visit.page.get_by_role("dialog")
    dialog.get_by_role("button", name="Stop sharing").click()
    gone = visit.page.get_by_role("button", name="Stop sharing Music")
    gone.wait_for(state="detached")

    wanted = {"path": "media/Music", "name": "Music", "group": ["Famille"]}
    assert visit.calls("share add") == [wanted]
    assert visit.calls("share rm") == [{"name": "Music"}]


@pytest.mark.full
def test_a_group_is_left_only_after_a_question(visit):
    visit.open("group?Famille")
    visit.page.get_by_role("button", name="Leave the group").click()
    dialog = visit.page.get_by_role("dialog")
    visit.page.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    assert visit.calls("group leave") == []
    visit.page.get_by_role("button", name="Leave the group").click()
    dialog.get_by_role("button", name="Leave the group").click()
    visit.page.get_by_role("heading", name="Groups", exact=True).wait_for()
    assert visit.calls("group leave") == [{"group": "Famille"}]


def test_limits_are_shown_and_changed(visit):
    visit.open("settings")
    upload = visit.page.get_by_label("To friends, KiB a second")
    upload.wait_for()
    assert upload.input_value() == "500"
    upload.fill("100")
    visit.page.get_by_label("Hours").fill("23-7")
    visit.page.get_by_role("button", name="Save the limits").click()
    visit.page.get_by_text("Saved.").wait_for()

    saved = visit.calls("limits")[-1]
    assert saved["upload"] == 100
    assert saved["hours"] == "23-7"
    assert saved["transfers"] == 3


@pytest.mark.full
def test_a_backup_wants_the_passphrase_twice_and_a_restore_a_yes(visit, tmp_path):
    visit.open("settings")
    card = visit.page.locator(".fs-card", has_text="Keep it elsewhere")
    card.get_by_label("Passphrase", exact=True).fill("correct horse")
    card.get_by_label("Passphrase again").fill("correct house")
    card.get_by_role("button", name="Download a backup").click()
    assert visit.page.evaluate("() => world.backups") == []
    card.get_by_label("Passphrase again").fill("correct horse")
    card.get_by_role("button", name="Download a backup").click()
    visit.page.get_by_text("The backup is made.").wait_for()
    assert visit.page.evaluate("() => world.backups") == ["correct horse"]

    file = tmp_path / "anna.fonshare"
    file.write_bytes(b"sealed")
    card = visit.page.locator(".fs-card", has_text="Brings keys")
    card.get_by_label("Backup file").set_input_files(file)
    card.get_by_label("Passphrase").fill("correct horse")
    card.get_by_role("button", name="Restore").click()
    dialog = visit.page.get_by_role("dialog")
    dialog.get_by_role("button", name="Restore").click()
    visit.page.get_by_text("Restored.").wait_for()
    restored = visit.page.evaluate("() => world.restores")
    assert restored == [["anna.fonshare", "correct horse"]]


@pytest.mark.full
def test_the_other_settings_are_shown_or_linked(visit):
    row = "{name: 'node.name', help: 'The name that friends see.', value: 'Anna'}"
    visit.open("settings", f"world.settings = [{row}]")
    visit.page.get_by_role("row", name="node.name").get_by_text("Anna").wait_for()

    visit.open("settings", options="{kind: 'luci', settings: '/cgi-bin/luci/x'}")
    link = visit.page.get_by_role("link", name="All settings")
    assert link.get_attribute("href") == "/cgi-bin/luci/x"


@pytest.mark.full
def test_a_groups_brokers_are_seen_by_all_and_changed_by_admins(visit):
    visit.open("group?Famille")
    card = visit.page.locator(
        ".fs-card", has=visit.page.get_by_role("heading", name="Brokers")
    )
    card.get_by_text("mqtts://…@broker.example").wait_for()
    gone = card.get_by_role("button", name="Leave the broker mqtts://…@broker.example")
    assert not gone.is_visible()  # it is the only one

    card.get_by_role("button", name="Add a broker").click()
    dialog = visit.page.get_by_role("dialog")
    dialog.get_by_label("Address").fill(" mqtts://a:secret@second.example ")
    dialog.get_by_role("button", name="Add the broker").click()
    card.get_by_text("mqtts://…@second.example").wait_for()
    gone.click()
    dialog.get_by_role("button", name="Leave the broker").click()
    gone.wait_for(state="detached")
    assert [list(one.values()) for one in visit.calls("group broker")] == [
        ["Famille", "add", "mqtts://a:secret@second.example"],
        ["Famille", "remove", "mqtts://…@broker.example"],
    ]

    visit.page.evaluate("() => { location.hash = '#/group?Cin%C3%A9-club' }")
    card.get_by_text("mqtts://broker.example").wait_for()
    assert not card.get_by_role("button", name="Add a broker").is_visible()


@pytest.mark.full
def test_an_old_server_is_copied_read_again_and_given_another_password(visit):
    visit.open("groups")
    visit.page.get_by_role("button", name="Copy a server").click()
    dialog = visit.page.get_by_role("dialog")
    dialog.get_by_label("Address").fill("ftp://anna@old.example/pub/Films")
    dialog.get_by_label("Password").fill("secret")
    assert dialog.get_by_label("Name").input_value() == "Films"
    dialog.get_by_label("Famille").check()
    dialog.get_by_role("button", name="Copy and share").click()
    visit.page.get_by_text("Copy of ftp://anna@old.example/pub/Films").wait_for()

    visit.page.get_by_role("button", name="Read it now: Films").click()
    visit.page.get_by_text("being read now").wait_for()
    change = visit.page.get_by_role("button", name="Password for the server of Films")
    change.click()
    dialog.get_by_label("Password").fill("wrong")
    dialog.get_by_role("button", name="Save the password").click()
    dialog.get_by_text("does not take that password").wait_for()
    dialog.get_by_label("Password").fill("right")
    dialog.get_by_role("button", name="Save the password").click()
    dialog.wait_for(state="detached")
    [added] = visit.calls("share add")
    assert added == {
        "path": "ftp://anna@old.example/pub/Films",
        "name": "Films",
        "group": ["Famille"],
        "password": "secret",
    }
    assert visit.calls("share refresh") == [{"name": "Films"}]
    wanted = [{"name": "Films", "password": one} for one in ("wrong", "right")]
    assert visit.calls("share password") == wanted
    failure = "{path: 'a.mkv', code: 'disk.full', message: 'the disk is full'}"
    visit.page.evaluate(
        "() => Object.assign(world.shares.at(-1).mirror, {failed: 1, failures: ["
        + failure
        + "]})"
    )
    visit.page.get_by_text("1 file was not copied").click()
    visit.page.get_by_text("a.mkv").wait_for()
    visit.page.get_by_text("The disk is full").wait_for()


@pytest.mark.full
def test_this_router_becomes_a_groups_broker_and_lets_go_of_it(visit):
    visit.open("group?Famille", "world.logins = []")
    page, dialog = visit.page, visit.page.get_by_role("dialog")
    page.get_by_role("button", name="Add a broker").click()
    dialog.get_by_text("Or this router").click()
    dialog.get_by_role("button", name="Have this router be it").click()
    dialog.get_by_text("Friends need an address to reach this router.").wait_for()
    dialog.get_by_label("This router’s address").fill("home.example")
    visit.page.evaluate("() => { world.failing['group broker'] = {code: 'no_agent'} }")
    dialog.get_by_role("button", name="Have this router be it").click()
    visit.until("world.began['group broker']")  # the first login starts it again
    page.evaluate("() => { world.failing = {} }")
    page.get_by_text("Added. The members hear of it now.").wait_for()
    page.get_by_text("mqtts://…@home.example:8883?pin=0a").wait_for()
    assert visit.calls("broker add")[1:] == [
        {"name": "Famille", "address": "home.example"}
    ]

    page.get_by_role("link", name="Settings").click()
    page.get_by_role("button", name="Add a login").click()
    dialog.get_by_label("Name", exact=True).fill("Chorale")
    dialog.get_by_label("This router’s address").fill("home.example")
    dialog.get_by_role("button", name="Add the login").click()
    shown = dialog.get_by_label("Address", exact=True)
    assert shown.input_value() == "mqtts://Chorale:secret@home.example:8883?pin=0a"
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Take the login Chorale away").click()
    dialog.get_by_role("button", name="Take it away").click()
    page.get_by_role("listitem").filter(has_text="Chorale").wait_for(state="detached")
    page.get_by_text("Famille", exact=True).wait_for()


FORM = """{ options: {
    read: async () => ({ file: 'fonshare.yaml', refusal: null, pending: [], logins: [],
        sections: [{ name: 'disk', title: 'Disk and folders' }],
        options: [{ name: 'keys', section: 'disk', title: 'Keys folder', help: 'Keys.',
            widget: 'text', choices: [], is_number: false, value: 'keys', default: '',
            is_unset: false, caution: 'The keys do not move by themselves.' }] }),
    save: async (wish) => { world.calls.push(['save', wish]); return {}; } } }"""


@pytest.mark.full
def test_who_changes_the_keys_folder_is_told_what_that_means(visit):
    visit.open("settings", options=FORM)
    page, dialog = visit.page, visit.page.get_by_role("dialog")
    page.get_by_text("Disk and folders").click()
    page.get_by_label("Keys folder").fill("elsewhere")
    page.get_by_role("button", name="Save the settings").click()
    dialog.get_by_text("The keys do not move by themselves.").wait_for()
    dialog.get_by_role("button", name="Go back").click()
    page.get_by_role("button", name="Save the settings").click()
    assert visit.calls("save") == []
    dialog.get_by_role("button", name="Change it").click()
    page.get_by_text("Saved.").wait_for()
    assert visit.calls("save") == [{"options": {"keys": "elsewhere"}}]


@pytest.mark.full
def test_an_agent_that_is_stopped_is_started_where_the_host_can(visit):
    start = "{ start: async () => { world.calls.push(['start']); world.away = null; } }"
    visit.open("overview", "world.away = 'no_agent'", start)
    visit.page.get_by_role("button", name="Start FonShare").click()
    visit.page.locator(".fonshare:not([data-trouble])").wait_for()
    assert len(visit.calls("start")) == 1
