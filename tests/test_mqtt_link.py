"""What a broker link promises, held against Mosquitto and against bad brokers.

The same file runs again under the oldest paho we support: test_paho_1_6_1.py.
"""

import os
import re
import socket
import ssl
import struct
import threading
import time
from pathlib import Path

import paho.mqtt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from brokers import (
    PUBACK,
    PUBLISH,
    SUBSCRIBE,
    Listener,
    Login,
    Mosquitto,
    accept_login,
    read_packet,
    relay_to,
    write_packet,
)
from certificates import make_tls_files, pin_of
from fonshare_agent.authorities import context_of
from fonshare_agent.errors import BrokerError
from fonshare_agent.links import broker_socket, mqtt_link, paho_session
from fonshare_agent.links.backoff import Backoff
from fonshare_agent.links.bounds import MESSAGES_MAX, Pending
from fonshare_agent.links.broker_socket import Wake
from fonshare_agent.links.mqtt_link import (
    BrokerUrl,
    Connected,
    Disconnected,
    MqttLink,
    Oversized,
    Received,
    SubscriptionRefused,
)
from fonshare_agent.links.packet_guard import PAYLOAD_MAX, OversizedPacket
from waiting import PATIENCE_S, wait_until

MIB = 1 << 20
SUBACK = 9


class Owner:
    """Owns a link as the agent does: notes its events and handles its messages."""

    def __init__(self, url, handles=True, **options):
        self.events, self.wills, self.handles = [], [], handles
        options.setdefault("backoff", Backoff(os.urandom, 0.02, 0.1))
        self.link = MqttLink(
            BrokerUrl.parse(url),
            new_will=self._new_will,
            on_event=self._on_event,
            draw=os.urandom,
            **options,
        )

    def _new_will(self):
        self.wills.append(b"gone " + os.urandom(4).hex().encode())
        return "presence/me", self.wills[-1]

    def _on_event(self, event):
        self.events.append(event)
        if self.handles and isinstance(event, Received):
            self.link.handled(event)

    def all(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    def wait_for(self, kind, count=1):
        """Return the *count*-th event of *kind*."""
        wait_until(lambda: len(self.all(kind)) >= count, f"{count} {kind.__name__}")
        return self.all(kind)[count - 1]

    def __enter__(self):
        self.link.start()
        return self

    def __exit__(self, *_):
        self.link.stop()


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory):
    with Mosquitto(tmp_path_factory.mktemp("mosquitto")) as broker:
        yield broker


@pytest.fixture
def any_broker(mosquitto):
    """A broker in whose hands the link must be safe; test_embedded_broker.py's too."""
    return mosquitto


@pytest.fixture(autouse=True)
def _nothing_happens_by_the_tick(monkeypatch):
    """What is asked of a link must happen at once, not when it looks around anyway."""
    monkeypatch.setattr(mqtt_link, "TICK_S", 60)


@pytest.fixture
def topic():
    return "t/" + os.urandom(8).hex()


def test_the_paho_under_test_is_the_one_meant():
    assert paho.mqtt.__version__ == os.environ.get(
        "FONSHARE_PAHO", paho.mqtt.__version__
    )


# --- messages -----------------------------------------------------------------


def test_messages_arrive_once_live_and_retained(any_broker, topic):
    large, live = os.urandom(PAYLOAD_MAX), os.urandom(60_000)
    with Owner(any_broker.url) as sender, Owner(any_broker.url) as receiver:
        sender.wait_for(Connected)
        assert sender.link.publish(topic + "/large", large, retain=True)
        wait_until(lambda: any_broker.retained().get(topic + "/large") == large)
        receiver.link.set_subscriptions({topic, topic + "/large"})
        receiver.wait_for(Received)
        sender.link.publish(topic, live)
        receiver.wait_for(Received, 2)
        sender.link.publish(topic, b"end")
        receiver.wait_for(Received, 3)

    assert [(e.payload, e.retained) for e in receiver.all(Received)] == [
        (large, True),
        (live, False),
        (b"end", False),
    ]


def test_only_the_topics_last_asked_for_arrive(any_broker, topic):
    with Owner(any_broker.url) as owner, any_broker.observe() as observer:
        names = [f"{topic}/{number}" for number in range(40)]
        owner.link.set_subscriptions(names)
        owner.wait_for(Connected)
        owner.link.publish(names[0], b"1")
        owner.wait_for(Received)
        owner.link.set_subscriptions([*names[1:], topic])
        for name in [*names, topic]:
            owner.link.publish(name, b"2")
        owner.wait_for(Received, 41)
        observer.catch_up()

    received = sorted((e.topic, e.payload) for e in owner.all(Received))
    assert received == sorted(
        [(names[0], b"1"), *((name, b"2") for name in names[1:]), (topic, b"2")]
    )


def test_a_topic_is_asked_for_before_the_question_whose_answer_comes_there(
    monkeypatch,
):
    kinds = []

    def note(connection):
        accept_login(connection)
        while True:
            kinds.append(read_packet(connection)[0] >> 4)

    with Listener(note) as broker, Owner(broker.url) as owner:
        owner.wait_for(Connected)
        take = owner.link._outbox.take

        def ask_at_the_worst_moment():  # just when the link looks for messages
            monkeypatch.setattr(owner.link._outbox, "take", take)
            owner.link.set_subscriptions({"answer"})
            owner.link.publish("question", b"?")
            return take()

        monkeypatch.setattr(mqtt_link, "FAREWELL_S", 0.1)
        monkeypatch.setattr(owner.link._outbox, "take", ask_at_the_worst_moment)
        owner.link.retry_now()  # wakes it
        wait_until(lambda: len(kinds) >= 2)

    assert kinds[:2] == [SUBSCRIBE, PUBLISH]


def test_nothing_is_taken_while_there_is_no_connection(any_broker, topic):
    owner = Owner(any_broker.url)
    assert not owner.link.publish(topic, b"early")
    with owner:
        owner.wait_for(Connected)
        assert owner.link.is_connected
        assert owner.link.publish(topic, b"now")
    assert not owner.link.is_connected
    assert not owner.link.publish(topic, b"late")


def test_a_broker_that_takes_nothing_fills_the_queue_and_no_memory(monkeypatch):
    monkeypatch.setattr(mqtt_link, "FAREWELL_S", 0.1)

    def take_nothing(connection):
        accept_login(connection)
        while True:
            read_packet(connection)

    with Listener(take_nothing) as broker, Owner(broker.url) as owner:
        owner.wait_for(Connected)
        taken = [owner.link.publish("t", b"x") for _ in range(MESSAGES_MAX + 10)]

    assert taken == [True] * MESSAGES_MAX + [False] * 10


def test_confirmed_messages_make_room_for_the_next(any_broker, topic):
    with Owner(any_broker.url) as owner, any_broker.observe(topic) as observer:
        owner.wait_for(Connected)
        sent = 0
        while sent < 2 * MESSAGES_MAX:
            if owner.link.publish(topic, b"%d" % sent):
                sent += 1
            else:
                time.sleep(0.001)
        wait_until(lambda: len(observer.seen) == sent)

    assert [int(seen.payload) for seen in observer.seen] == list(range(sent))


def test_an_owner_that_is_behind_stops_the_reading_and_loses_nothing(any_broker, topic):
    count = MESSAGES_MAX + 200
    publisher = any_broker.connect()
    with Owner(any_broker.url, handles=False) as owner:
        owner.link.set_subscriptions({topic})
        owner.wait_for(Connected)
        owner.link.publish(topic, b"first")
        owner.wait_for(Received)
        for number in range(count):
            publisher.publish(topic, b"%d" % number)
        owner.wait_for(Received, MESSAGES_MAX)
        with any_broker.observe() as observer:  # a round trip: more could have come
            observer.catch_up()
        assert len(owner.all(Received)) == MESSAGES_MAX

        owner.handles = True
        for event in owner.all(Received):
            owner.link.handled(event)
        owner.wait_for(Received, count + 1)
    publisher.close()

    payloads = [event.payload for event in owner.all(Received)]
    assert payloads == [b"first", *(b"%d" % number for number in range(count))]
    assert not owner.all(Disconnected)


def test_the_reading_stops_at_the_bound_also_while_much_is_on_its_way_out(monkeypatch):
    # paho then reads many packets in one go.
    monkeypatch.setattr(mqtt_link, "FAREWELL_S", 0.1)
    is_full = []

    def flood(connection):
        accept_login(connection)
        read_packet(connection)
        while not is_full:
            time.sleep(0.001)
        connection.sendall(b"\x30\4\0\1tx" * (4 * MESSAGES_MAX))
        while True:
            read_packet(connection)

    with Listener(flood) as broker, Owner(broker.url, handles=False) as owner:
        owner.wait_for(Connected)
        while owner.link.publish("t", b"x"):
            pass
        is_full.append(True)
        for number in range(10):
            event = owner.wait_for(Received, MESSAGES_MAX + number)
            assert len(owner.all(Received)) == MESSAGES_MAX + number
            owner.link.handled(event)


def test_a_dead_line_is_noticed_while_the_reading_is_stopped():
    is_full = threading.Event()

    def flood_and_reset(connection):
        accept_login(connection)
        connection.sendall(b"\x30\4\0\1tx" * (4 * MESSAGES_MAX))
        is_full.wait(10)
        resets = struct.pack("ii", 1, 0)  # closing sends a reset
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, resets)

    with Listener(flood_and_reset) as broker, Owner(broker.url, handles=False) as owner:
        owner.wait_for(Received, MESSAGES_MAX)
        is_full.set()
        owner.wait_for(Disconnected)


# --- connecting and connecting again ------------------------------------------


def test_connect_says_exactly_what_the_design_asks_for():
    seen = []

    def note(connection):
        seen.append(accept_login(connection))

    with Listener(note) as broker, Owner(broker.url) as owner:
        owner.wait_for(Connected, 2)
        will = owner.wait_for(Connected).will_payload

    first, second = seen[:2]
    assert first[:8] == b"\0\4MQTT\4\x2e"  # 3.1.1; will: retained, QoS 1; clean
    assert 30 <= int.from_bytes(first[8:10], "big") <= 60
    ids = [connect[12 : 12 + connect[11]] for connect in (first, second)]
    assert all(re.fullmatch(rb"[0-9a-f]{22}", one) for one in ids)
    assert ids[0] != ids[1]
    assert first[34:] == b"\0\x0bpresence/me\0\x0d" + will
    assert second[34:] != first[34:]


def test_a_lost_line_leaves_the_will_and_the_next_connection_has_another(
    any_broker, topic
):
    with Listener(relay_to(any_broker.port)) as line, Owner(line.url) as owner:
        owner.link.set_subscriptions({topic})
        owner.wait_for(Connected)
        line.cut()
        again = owner.wait_for(Connected, 2)
        wait_until(lambda: any_broker.retained().get("presence/me") == owner.wills[0])
        owner.link.publish(topic, b"still here")
        owner.wait_for(Received)

    lost = owner.wait_for(Disconnected)
    assert lost.error.code == "broker.unreachable"
    assert 0 < lost.retry_in_s <= 0.1
    assert owner.wait_for(Connected).will_payload == owner.wills[0]
    assert again.will_payload == owner.wills[1] != owner.wills[0]


def test_a_broker_that_starts_again_is_found_again(tmp_path, topic):
    with Mosquitto(tmp_path) as broker, Owner(broker.url) as owner:
        owner.link.set_subscriptions({topic})
        owner.wait_for(Connected)
        broker.kill()
        owner.wait_for(Disconnected, 2)
        assert not owner.link.publish(topic, b"into nothing")
        broker.start()
        owner.wait_for(Connected, 2)
        assert owner.link.publish(topic, b"back")
        assert owner.wait_for(Received).payload == b"back"

    codes = {event.error.code for event in owner.all(Disconnected)}
    assert codes == {"broker.unreachable"}
    assert owner.all(Disconnected)[0].error.thing == broker.url


def test_a_hurry_ends_the_wait(tmp_path):
    with Mosquitto(tmp_path) as broker:
        broker.kill()
        with Owner(broker.url, backoff=Backoff(os.urandom, 3600, 7200)) as owner:
            owner.wait_for(Disconnected)
            broker.start()
            owner.link.retry_now()
            owner.wait_for(Connected)


def test_a_wrong_password_is_refused_and_never_shown(tmp_path):
    with Mosquitto(tmp_path, Login("anna", "right")) as broker:
        with Owner(broker.url.replace("right", "wr0ng")) as owner:
            refused = owner.wait_for(Disconnected).error
        with Owner(broker.url) as owner:
            owner.wait_for(Connected)

    assert refused.code == "broker.refused"
    assert "wr0ng" not in repr(owner.events) + repr(refused.as_dict())


@pytest.mark.parametrize(
    ("answer", "code"),
    [(1, "protocol"), (2, "refused"), (3, "unreachable"), (4, "refused"), (77, "")],
)
def test_each_refusal_has_its_code(answer, code):
    def refuse(connection):
        read_packet(connection)
        write_packet(connection, 0x20, bytes([0, answer]))

    with Listener(refuse) as broker, Owner(broker.url) as owner:
        error = owner.wait_for(Disconnected).error

    assert error.code.startswith("broker." + code)
    assert not owner.all(Connected)


def test_a_name_that_does_not_exist_is_an_event(monkeypatch):
    def find_nothing(host, port, **_):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", find_nothing)
    with Owner("mqtt://broker.invalid") as owner:
        error = owner.wait_for(Disconnected).error

    assert error.code == "broker.unreachable"
    assert "name" in str(error)


def test_the_second_address_serves_when_the_first_is_dead(mosquitto, monkeypatch):
    dead = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1))
    good = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", mosquitto.port))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [dead, good])
    with Owner("mqtt://broker.example") as owner:
        owner.wait_for(Connected)


def test_a_topic_that_the_broker_refuses_is_told():
    def refuse_the_second(connection):
        accept_login(connection)
        head, body = read_packet(connection)
        assert head >> 4 == SUBSCRIBE
        write_packet(connection, SUBACK << 4, body[:2] + b"\1\x80")
        read_packet(connection)

    with Listener(refuse_the_second) as broker:
        owner = Owner(broker.url)
        owner.link.set_subscriptions({"a", "b"})
        with owner:
            refused = owner.wait_for(SubscriptionRefused)

    assert refused.topic == "b"


def test_a_broker_that_falls_silent_is_left(monkeypatch):
    monkeypatch.setattr(paho_session, "KEEPALIVE_S", 1)
    monkeypatch.setattr(mqtt_link, "TICK_S", 0.1)

    def fall_silent(connection):
        accept_login(connection)
        _listen_only(connection)

    with Listener(fall_silent) as broker, Owner(broker.url) as owner:
        owner.wait_for(Connected)
        assert owner.wait_for(Disconnected).error.code == "broker.unreachable"


def test_a_link_whose_address_is_gone_connects_again_at_once():
    with Listener(_stay) as broker, _never_tries_again(broker) as owner:
        owner.wait_for(Connected)
        owner.link.network_changed(frozenset({"127.0.0.1"}))
        owner.link.network_changed(frozenset({"192.0.2.1"}))
        error = owner.wait_for(Disconnected).error
        assert "address" in str(error)
        owner.wait_for(Connected, 2)


def test_a_link_that_waits_tries_at_once_when_the_address_changes():
    with Listener(_stay) as broker, _never_tries_again(broker) as owner:
        owner.wait_for(Connected)
        broker.cut()
        owner.wait_for(Disconnected)
        owner.events.clear()
        owner.link.network_changed(frozenset())
        owner.wait_for(Connected)


# --- stopping -----------------------------------------------------------------


def test_a_farewell_is_delivered_and_drops_the_will(any_broker, topic):
    with any_broker.observe() as observer:
        owner = Owner(any_broker.url)
        owner.link.start()
        owner.wait_for(Connected)
        owner.link.publish(topic, b"last words")
        owner.link.stop([("presence/me", b"left", True)])
        observer.catch_up()

    told = [seen.payload for seen in observer.seen if not seen.retained]
    assert told == [b"last words", b"left"]
    assert any_broker.retained()["presence/me"] == b"left"


def test_no_event_is_given_once_stopping_has_begun():
    def answer_late(connection):
        accept_login(connection)
        _, farewell = read_packet(connection)
        write_packet(connection, PUBLISH << 4, b"\0\1tlate")
        write_packet(connection, PUBACK << 4, farewell[3:5])
        read_packet(connection)

    with Listener(answer_late) as broker, Owner(broker.url) as owner:
        owner.wait_for(Connected)
        stop(owner)

    assert len(owner.events) == 1


def _silent(connection):
    read_packet(connection)
    connection.recv(1)


def _stay(connection):
    accept_login(connection)
    _listen_only(connection)


def _never_tries_again(broker):
    return Owner(broker.url, backoff=Backoff(os.urandom, 3600, 7200))


def _listen_only(connection):
    while connection.recv(65536):
        pass


FOREVER_S = 3600.0  # what stopping must not wait for


def stop(owner):
    """Stop the link, or fail: whatever it may be waiting for here takes an hour."""
    stopping = threading.Thread(
        target=owner.link.stop, args=([("t", b"farewell", False)],), daemon=True
    )
    stopping.start()
    stopping.join(PATIENCE_S)
    assert not stopping.is_alive()


def test_stopping_is_prompt_while_the_broker_is_silent(monkeypatch):
    monkeypatch.setattr(paho_session, "ANSWER_S", FOREVER_S)
    with Listener(_silent) as broker, Owner(broker.url) as owner:
        wait_until(lambda: owner.wills)
        stop(owner)
    assert owner.events == []


def test_stopping_is_prompt_while_waiting_for_the_next_attempt():
    with Owner("mqtt://127.0.0.1:1", backoff=Backoff(os.urandom, 3600, 7200)) as owner:
        owner.wait_for(Disconnected)
        stop(owner)


def test_stopping_is_prompt_while_a_name_is_looked_up(monkeypatch):
    monkeypatch.setattr(broker_socket, "ATTEMPT_S", FOREVER_S)
    asked, is_answered = [], threading.Event()

    def hang(host, port, **_):
        asked.append(host)
        is_answered.wait(FOREVER_S)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with Owner("mqtt://broker.example") as owner:
        wait_until(lambda: asked)
        stop(owner)
        is_answered.set()


def test_stopping_is_prompt_during_a_handshake(tmp_path, monkeypatch):
    monkeypatch.setattr(broker_socket, "ATTEMPT_S", FOREVER_S)
    tls = make_tls_files(tmp_path)
    asked = []

    def take_hello(connection):
        asked.append(connection.recv(100))
        connection.recv(100_000)
        connection.recv(1)

    with Listener(take_hello) as broker:
        url = f"mqtts://127.0.0.1:{broker.port}?pin={pin_of(tls).hex()}"
        with Owner(url) as owner:
            wait_until(lambda: asked)
            stop(owner)


def test_stopping_waits_only_so_long_for_a_broker_that_confirms_nothing(monkeypatch):
    monkeypatch.setattr(mqtt_link, "FAREWELL_S", 0.3)

    def take_nothing(connection):
        accept_login(connection)
        while True:
            read_packet(connection)

    with Listener(take_nothing) as broker, Owner(broker.url) as owner:
        owner.wait_for(Connected)
        began = time.monotonic()
        stop(owner)
        assert time.monotonic() - began > 0.25


def test_silence_is_bounded(monkeypatch):
    monkeypatch.setattr(paho_session, "ANSWER_S", 0.2)
    with Listener(_silent) as broker, Owner(broker.url) as owner:
        error = owner.wait_for(Disconnected).error

    assert error.code == "broker.unreachable"
    assert "does not answer" in str(error)


def test_a_silent_handshake_is_bounded(monkeypatch):
    monkeypatch.setattr(broker_socket, "ATTEMPT_S", 0.2)
    with Listener(_listen_only) as broker:
        url = f"mqtts://127.0.0.1:{broker.port}?pin={'00' * 32}"
        with Owner(url) as owner:
            error = owner.wait_for(Disconnected).error

    assert error.code == "broker.unreachable"
    assert "handshake" in str(error)


def test_a_name_look_up_without_an_answer_is_bounded(monkeypatch):
    monkeypatch.setattr(broker_socket, "ATTEMPT_S", 0.1)
    asked, is_answered = [], threading.Event()

    def hang(host, port, **_):
        asked.append(host)
        is_answered.wait(FOREVER_S)
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with Owner("mqtt://broker.example") as owner:
        error = owner.wait_for(Disconnected).error
        owner.wait_for(Disconnected, 3)
        is_answered.set()

    assert "no answer" in str(error)
    assert len(asked) == 1  # one thread waits, however often it is tried


# --- what is too large or malformed -------------------------------------------


def _peak_kib():
    text = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", text)[1])


@pytest.mark.parametrize("retained", [False, True])
def test_a_message_of_200_mb_costs_its_topic_and_no_memory(mosquitto, topic, retained):
    with Owner(mosquitto.url) as owner:
        owner.link.set_subscriptions({topic, topic + "/2"})
        owner.wait_for(Connected)
        publisher = mosquitto.connect()
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = _peak_kib()

        publisher.publish_stream(topic, 200 * MIB, retain=retained)
        huge = owner.wait_for(Oversized)
        owner.wait_for(Connected, 2)
        publisher.publish(topic, b"on the topic that rests")
        publisher.publish(topic + "/2", b"on another")
        message = owner.wait_for(Received)

        assert _peak_kib() - before < 6 * 1024
        publisher.publish(topic, b"", retain=True)
        publisher.close()

    assert (huge.topic, huge.size > 200 * MIB) == (topic, True)
    assert (message.topic, message.payload) == (topic + "/2", b"on another")
    assert len(owner.all(Connected)) == 2
    assert [e.error.code for e in owner.all(Disconnected)] == ["broker.protocol"]


def test_a_topic_that_rested_is_tried_again(mosquitto, topic, monkeypatch):
    monkeypatch.setattr(mqtt_link, "REST_S", 0.2)
    monkeypatch.setattr(mqtt_link, "TICK_S", 0.05)
    publisher = mosquitto.connect()
    with Owner(mosquitto.url) as owner:
        owner.link.set_subscriptions({topic})
        owner.wait_for(Connected)
        publisher.publish_stream(topic, PAYLOAD_MAX + 600, retain=True)
        owner.wait_for(Oversized, 2)
        publisher.publish(topic, b"small", retain=True)
        message = owner.wait_for(Received)
    publisher.close()

    assert message.payload == b"small"


def test_a_topic_whose_large_message_is_retained_rests_longer_each_time(
    mosquitto, topic, monkeypatch
):
    monkeypatch.setattr(mqtt_link, "REST_S", 0.1)
    monkeypatch.setattr(mqtt_link, "TICK_S", 0.02)
    publisher = mosquitto.connect()
    publisher.publish_stream(topic, PAYLOAD_MAX + 600, retain=True)
    backoff = Backoff(bytes, 0.02, 0.02)
    with Owner(mosquitto.url, backoff=backoff) as owner:
        owner.link.set_subscriptions({topic})
        owner.wait_for(Oversized, 4)
    publisher.publish(topic, b"", retain=True)
    publisher.close()

    # Had it been asked for while it rested, there would be a 0 among these.
    rests = [event.rest_s for event in owner.all(Oversized)][:4]
    assert rests == [0.1, 0.2, 0.4, 0.8]


def test_a_large_message_nobody_asked_for_makes_the_link_wait_longer():
    def send_large(connection):
        accept_login(connection)
        write_packet(connection, PUBLISH << 4, b"\0\1x" + bytes(200_000))

    backoff = Backoff(bytes, 0.02, 1000)
    with Listener(send_large) as broker, Owner(broker.url, backoff=backoff) as owner:
        owner.wait_for(Disconnected, 4)

    waits = [event.retry_in_s for event in owner.all(Disconnected)][:4]
    assert waits == pytest.approx([0.02, 0.04, 0.08, 0.16])


def _converse_with(answer):
    """Let a session meet a broker that says yes and then *answer*; return the end."""
    near, far = socket.socketpair()
    wake = Wake()
    wake.open()
    url = BrokerUrl.parse("mqtt://h")
    with near, far:
        near.setblocking(False)
        session = paho_session.Session(
            near, url, ("w", b"w"), os.urandom, wake, Pending()
        )
        far.sendall(b"\x20\2\0\0" + answer)
        far.shutdown(socket.SHUT_WR)
        try:
            session.open(lambda: False)
            while True:
                session.step(1)
        except (BrokerError, OversizedPacket) as error:
            return error
        finally:
            wake.close()


heads = st.sampled_from([0x20, 0x30, 0x32, 0x40, 0x50, 0x62, 0x70, 0x90, 0xB0, 0xD0])
framed = st.builds(
    lambda head, body: bytes([head, len(body)]) + body, heads, st.binary(max_size=40)
)


@settings(max_examples=150, deadline=None)
@example(b"\x30\1\0")
@example(b"\x30\3\0\x09t")
@example(b"\x32\4\0\1t\0")
@example(b"\x30\3\0\1\xff")
@example(b"\x90\0")
@example(b"\x40\1\0")
@given(st.lists(framed, max_size=4).map(b"".join) | st.binary(max_size=60))
def test_a_broker_that_sends_nonsense_is_left_with_a_broker_error(answer):
    assert _converse_with(answer) is not None


def test_qos_2_is_not_what_we_asked_for():
    error = _converse_with(b"\x34\7\0\1t\0\1ab")

    assert error.code == "broker.protocol"


@pytest.mark.parametrize("hook", ["_sock_recv", "_create_socket_connection"])
def test_a_paho_without_our_places_is_refused(hook, mosquitto, monkeypatch):
    monkeypatch.delattr(paho_session.mqtt.Client, hook)
    with Owner(mosquitto.url) as owner:
        error = owner.wait_for(Disconnected).error

    assert error.code == "broker.paho"


def test_a_paho_that_reads_past_the_limit_is_refused(mosquitto, monkeypatch):
    reads_past = paho_session.mqtt.Client._sock_recv
    monkeypatch.setattr(paho_session._GuardedClient, "_sock_recv", reads_past)
    with Owner(mosquitto.url) as owner:
        error = owner.wait_for(Disconnected).error

    assert error.code == "broker.paho"


# --- TLS ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    return make_tls_files(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def tls_broker(tmp_path_factory, tls):
    folder = tmp_path_factory.mktemp("tls-broker")
    with Mosquitto(folder, Login("anna", "secret"), tls) as broker:
        yield broker


def test_a_broker_whose_ca_we_have_is_trusted(tls_broker, tls, topic):
    large = os.urandom(PAYLOAD_MAX)
    with Owner(tls_broker.url, ca=tls.ca) as owner:
        owner.link.set_subscriptions({topic})
        owner.wait_for(Connected)
        owner.link.publish(topic, large)
        assert owner.wait_for(Received).payload == large


def test_only_a_file_of_the_owners_own_is_not_checked_strictly(tls):
    """Python does from 3.13 on; the CA of these tests does not say its key's use."""
    usual = ssl.create_default_context().verify_flags

    assert context_of(None).verify_flags == usual
    assert context_of(tls.ca).verify_flags == usual & ~ssl.VERIFY_X509_STRICT


def test_a_pinned_broker_needs_neither_ca_nor_clock(tls_broker, tls):
    with Owner(tls_broker.url, pin=pin_of(tls), clock_is_known=lambda: False) as owner:
        owner.wait_for(Connected)
    with Owner(f"{tls_broker.url}?pin={pin_of(tls).hex()}") as owner:
        owner.wait_for(Connected)


@pytest.fixture
def decoy(tls):
    """A TLS server that notes what it is told after the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.certificate, tls.key)
    told = []

    def serve(connection):
        with context.wrap_socket(connection, server_side=True) as secured:
            told.append(secured.recv(1000))

    with Listener(serve) as listener:
        listener.told = told
        yield listener


def test_another_certificate_than_the_pinned_one_is_told_nothing(decoy):
    with Owner(f"mqtts://anna:secret@127.0.0.1:{decoy.port}", pin=bytes(32)) as owner:
        error = owner.wait_for(Disconnected).error
        owner.wait_for(Disconnected, 2)

    assert error.code == "broker.tls"
    assert b"".join(decoy.told) == b""


def test_a_broker_with_another_ca_is_told_nothing(decoy, tmp_path):
    other = make_tls_files(tmp_path)
    with Owner(f"mqtts://anna:secret@127.0.0.1:{decoy.port}", ca=other.ca) as owner:
        error = owner.wait_for(Disconnected).error
        owner.wait_for(Disconnected, 2)

    assert error.code == "broker.tls"
    assert b"".join(decoy.told) == b""


def test_a_certificate_for_another_name_is_not_trusted(decoy, tls):
    url = f"mqtts://localhost:{decoy.port}"  # the certificate says 127.0.0.1
    with Owner(url, ca=tls.ca) as owner:
        error = owner.wait_for(Disconnected).error

    assert error.code == "broker.tls"
    assert "mismatch" in str(error).lower()


def test_a_missing_ca_file_is_a_tls_error_and_no_loosening(decoy, tmp_path):
    url = f"mqtts://127.0.0.1:{decoy.port}?ca={tmp_path}/none.pem"
    with Owner(url) as owner:
        error = owner.wait_for(Disconnected).error

    assert error.code == "broker.tls"


def test_a_plain_broker_behind_mqtts_is_an_error(mosquitto, tls):
    url = mosquitto.url.replace("mqtt:", "mqtts:")
    with Owner(url, ca=tls.ca) as owner:
        assert owner.wait_for(Disconnected).error.code in (
            "broker.tls",
            "broker.unreachable",
        )


def test_without_a_clock_a_ca_waits_and_then_connects(tls_broker, tls, monkeypatch):
    monkeypatch.setattr(mqtt_link, "CLOCK_POLL_S", 0.05)
    clock = []
    with Owner(tls_broker.url, ca=tls.ca, clock_is_known=lambda: bool(clock)) as owner:
        waiting = owner.wait_for(Disconnected)
        time.sleep(0.2)  # several polls of an unknown clock
        assert owner.events == [waiting]
        clock.append("ntp")
        owner.wait_for(Connected)

    assert waiting.error.code == "broker.clock_unknown"
    assert not owner.all(Disconnected)[1:]


def test_a_plain_broker_needs_no_clock(mosquitto):
    with Owner(mosquitto.url, clock_is_known=lambda: False) as owner:
        owner.wait_for(Connected)
