"""What URLs, listings and replies say: the pure parts of `fonshare fxp`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fonshare_agent.errors import BadPath, FonshareError, FxpListing, FxpLost, FxpUrl
from fonshare_agent.transfer.fxp_listing import (
    Entry,
    Kind,
    demand_safe,
    parse_list,
    parse_mlsd,
    read_size,
)
from fonshare_agent.transfer.fxp_replies import (
    LINE_BYTES_MAX,
    Reply,
    ReplyReader,
    find_features,
    find_folder,
    find_port,
)
from fonshare_agent.transfer.fxp_url import ServerUrl


def test_a_url_names_a_server_a_user_and_a_path():
    url = ServerUrl.parse("ftps://me%40home@[::1]:2121/a%20b/caf%C3%A9#1?x y")
    assert url == ServerUrl(True, "::1", 2121, "me@home", "a b/café#1?x y".encode())
    assert str(url) == "ftps://me%40home@[::1]:2121/a%20b/caf%C3%A9%231%3Fx%20y"
    assert ServerUrl.parse("ftp://host") == ServerUrl(False, "host", 21, None, b"")
    assert ServerUrl.parse("FTPES://host//abs").path == b"/abs"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("http://host/a", "begins with"),
        ("host/a", "begins with"),
        ("ftp:///a", "names a host"),
        ("ftp://host:0/a", "port"),
        ("ftp://host:99999/a", "port"),
        ("ftp://me:geheim@host/a", "password"),
        ("ftp://@host/a", "user"),
        ("ftp://a@b@host/a", "%40"),
        ("ftp://host/100%", "%25"),
        ("ftp://host/a%0Ab", "line break"),
        ("ftp://host/a%00b", "NUL"),
        ("ftp://me%0d%0aQUIT@host/a", "line break"),
        ("ftp://host/" + "a" * 5000, "longer"),
    ],
)
def test_a_url_that_names_nothing_is_refused_and_not_repeated(text, complaint):
    with pytest.raises(FxpUrl) as raised:
        ServerUrl.parse(text)
    shown = f"{raised.value} {raised.value.next}"
    assert complaint in shown
    assert "geheim" not in shown


@given(st.text())
def test_any_text_is_a_url_or_a_complaint(text):
    try:
        url = ServerUrl.parse("ftp://host/" + text)
    except FxpUrl:
        return
    assert ServerUrl.parse(str(url)) == url


def test_a_machine_listing_is_read():
    raw = (
        b"type=cdir;modify=20260101000000; .\r\n"
        b"Type=file;Size=3;Modify=20260102030405;  two  spaces \r\n"
        b"type=dir; sub;dir\r\n"
        b"type=OS.unix=slink:/etc; link\r\n"
        b"type=file; nosize\r\n"
    )
    assert list(parse_mlsd(raw)) == [
        Entry(b" two  spaces ", Kind.FILE, 3, b"20260102030405"),
        Entry(b"sub;dir", Kind.FOLDER),
        Entry(b"link", Kind.OTHER),
        Entry(b"nosize", Kind.FILE),
    ]


def test_listings_of_unix_and_dos_are_read():
    unix = (
        b"total 12\r\n"
        b"drwxr-xr-x    2 0        0            4096 Nov 25 15:05 .\r\n"
        b"-rw-r--r--    1 owner    group           5 Nov 25  2024  lead\r\n"
        b"drwxr-xr-x+   2 0        0            4096 Nov 25 15:05 sub\r\n"
        b"lrwxrwxrwx    1 0        0               5 Nov 25 15:05 a -> b\r\n"
        b"crw-rw-rw-    1 0        0            1, 3 Nov 25 15:05 null\r\n"
    )
    assert list(parse_list(unix)) == [
        Entry(b" lead", Kind.FILE, 5),
        Entry(b"sub", Kind.FOLDER),
        Entry(b"a -> b", Kind.OTHER),
        Entry(b"null", Kind.OTHER),
    ]
    dos = (
        b"11-25-26  03:05PM       <DIR>          sub dir\r\n"
        b"11-25-2026  15:05                 1234 a.txt\r\n"
    )
    assert list(parse_list(dos)) == [
        Entry(b"sub dir", Kind.FOLDER),
        Entry(b"a.txt", Kind.FILE, 1234),
    ]


@pytest.mark.parametrize(
    "line",
    [
        b"-rw-r--r-- 1 two words group 5 Nov 25 15:05 which column",
        b"-rw-r--r-- 1 owner group 5 25 Nov 15:05 another order",
        b"a.txt",
        b"+i8388621.29609,m824255902,/,\tdev",
    ],
)
def test_a_line_that_is_not_clear_is_not_guessed(line):
    with pytest.raises(FxpListing):
        list(parse_list(line + b"\r\n"))


@pytest.mark.parametrize("size", [b"9" * 19, b"9" * 5000, b"-1", b"1_0", b""])
def test_a_size_that_no_file_has_is_not_told(size):
    assert read_size(size) is None
    facts = b"type=file;size=" + size + b"; a\r\n"
    assert list(parse_mlsd(facts)) == [Entry(b"a", Kind.FILE)]
    assert read_size(b"%d" % (2**63 - 1)) == 2**63 - 1


@pytest.mark.parametrize("name", [b"..", b".", b"a/b", b"/etc", b"a\nb", b"a\rb", b""])
def test_a_listing_cannot_lead_elsewhere(name):
    with pytest.raises(BadPath):
        demand_safe(name)


@given(st.binary())
def test_strangers_listings_are_read_or_refused(raw):
    for parse in (parse_mlsd, parse_list):
        try:
            list(parse(raw))
        except FonshareError:
            continue


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_replies_are_cut_out_however_the_bytes_come(step):
    raw = (
        b"220-Welcome\r\n230 not the end\r\n220-nor this\r\n220 now\r\n"
        b"331 Password\n226\r\n"
    )
    reader, found = ReplyReader(), []
    for start in range(0, len(raw), step):
        reader.feed(raw[start : start + step])
        while reply := reader.find_reply():
            found.append(reply)
    assert [reply.code for reply in found] == [220, 331, 226]
    assert found[0].lines == (b"Welcome", b"230 not the end", b"220-nor this", b"now")
    assert reader.is_empty


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"x" * (LINE_BYTES_MAX + 1),
        b"220-a\r\n" * 2000,
        b"\xff\xfe\r\n",
    ],
)
def test_what_is_no_ftp_is_refused(raw):
    reader = ReplyReader()
    reader.feed(raw)
    with pytest.raises(FxpLost):
        list(iter(reader.find_reply, None))


def test_what_replies_tell():
    assert find_port(Reply(227, (b"Entering Passive Mode (10,0,0,1,4,1).",))) == 1025
    assert find_port(Reply(229, (b"Extended (|||2121|)",))) == 2121
    assert find_port(Reply(227, (b"(10,0,0,1,999,1)",))) is None
    assert find_port(Reply(500, (b"(|||2121|)",))) is None
    assert find_folder(Reply(257, (b'"/a ""b""" is here',))) == b'/a "b"'
    lines = (b"Features:", b" MLST type*;size*;", b" SSCN", b"211-PRET", b"End")
    assert find_features(Reply(211, lines)) == {
        "MLST": "type*;size*;",
        "SSCN": "",
        "PRET": "",
    }
