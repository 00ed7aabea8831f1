"""A mapping that forgets what was used least recently."""

from concurrent.futures import ThreadPoolExecutor

from wct_jax.system.recent import Recent


def filled(most, *sizes, **options):
    recent = Recent(most, **options)
    for number, size in enumerate(sizes):
        recent.add(number, size)
    return recent


def keys(recent):
    return [key for key in range(10) if key in recent]


def test_nothing_is_dropped_before_trim():
    recent = filled(2, *"abcd")
    assert (len(recent), recent.dropped) == (4, 0)
    recent.trim()
    assert (keys(recent), recent.dropped) == ([2, 3], 2)


def test_what_was_used_stays():
    recent = filled(2, *"abc")
    assert recent.get(0) == "a"
    assert recent.get(9) is None
    recent.trim()
    assert keys(recent) == [0, 2]


def test_sizes_add_up():
    recent = filled(10, 8, 4, 5, size=int)
    recent.trim()
    assert keys(recent) == [1, 2]
    recent.add(3, 50)
    recent.trim(keep=2)
    assert keys(recent) == [2, 3]
    recent.trim()
    assert keys(recent) == [3]  # However large.
    recent.trim(keep=0)
    assert keys(recent) == []


def test_the_first_value_of_a_key_stays():
    recent = filled(5, "a")
    assert recent.add(0, "b") == "a"
    recent.clear()
    assert (len(recent), recent.dropped) == (0, 1)
    assert recent.add(0, "b") == "b"


def test_several_threads():
    recent = Recent(5)

    def work(seed):
        for i in range(3000):
            key = (i * seed) % 11
            assert (recent.get(key) or recent.add(key, str(key))) == str(key)
            recent.trim()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, (1, 3, 5, 7))) == [None] * 4
    assert len(recent) == 5
