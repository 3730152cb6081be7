from fonshare_agent.protocol.check_digits import ALPHABET, check_character, read_group


def test_a_one_is_read_as_whichever_letter_fits():
    data = "ililabcdefghi"
    good = data + check_character(data, 1)

    assert read_group(good.replace("i", "1", 1), 1) == data
    assert read_group(good.replace("l", "1", 1), 1) == data


def fits(typed):
    """Return how many ways there are to read the ones of *typed*."""
    guesses = [typed]
    while "1" in guesses[0]:
        guesses = [g.replace("1", i, 1) for g in guesses for i in "il"]
    return sum(check_character(g[:-1], 1) == g[-1] for g in guesses)


def typed_with_fits(pattern, count):
    """Return a group like *pattern* whose ones can be read in *count* ways."""
    typed = (pattern.format(a, b) for a in ALPHABET for b in ALPHABET)
    return next(group for group in typed if fits(group) == count)


def test_a_group_that_can_be_read_in_two_ways_is_refused():
    assert read_group(typed_with_fits("1{}a1a1{}", 2), 1) is None


def test_a_group_of_many_ones_is_refused_rather_than_guessed():
    assert read_group(typed_with_fits("1111{}{}", 1), 1) is not None
    assert read_group(typed_with_fits("11111{}{}", 1), 1) is None


def test_a_group_of_no_length_that_is_written_is_refused():
    for typed in ("", check_character("", 1), "a" * 32):
        assert read_group(typed, 1) is None
