"""What may wait between a link and the rest."""

from fonshare_agent.links.bounds import (
    BYTES_MAX,
    MESSAGES_MAX,
    Outbox,
    Outgoing,
    Pending,
)

SMALL = Outgoing("t", b"x", False)


def test_a_closed_outbox_takes_nothing_and_forgets_what_it_had() -> None:
    outbox = Outbox()
    assert not outbox.offer(SMALL)
    outbox.open()
    assert outbox.offer(SMALL)

    outbox.close()
    outbox.open()

    assert outbox.take() == []


def test_messages_count_until_the_broker_confirmed_them() -> None:
    outbox = Outbox()
    outbox.open()
    taken = [outbox.offer(SMALL) for _ in range(MESSAGES_MAX + 1)]
    assert taken == [True] * MESSAGES_MAX + [False]

    assert len(outbox.take()) == MESSAGES_MAX
    assert not outbox.offer(SMALL)
    outbox.confirm(SMALL.size)

    assert outbox.offer(SMALL)
    assert not outbox.offer(SMALL)


def test_a_mebibyte_is_full_but_one_message_of_any_size_passes() -> None:
    outbox = Outbox()
    outbox.open()
    large = Outgoing("t", bytes(BYTES_MAX), False)

    assert outbox.offer(large)
    assert not outbox.offer(SMALL)
    outbox.take()
    outbox.confirm(large.size)

    assert outbox.offer(SMALL)


def test_pending_is_full_at_its_bounds_and_says_when_there_is_room_again() -> None:
    by_count, by_size = Pending(), Pending()
    for _ in range(MESSAGES_MAX):
        assert not by_count.is_full
        by_count.add(1)
    by_size.add(BYTES_MAX)

    assert by_count.is_full
    assert by_size.is_full
    assert by_count.remove(1)
    assert not by_count.remove(1)
    assert by_size.remove(BYTES_MAX)
