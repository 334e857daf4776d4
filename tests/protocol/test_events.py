from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidestep_tui.protocol.events import TEXT_FIELDS, decode, decode_lines, encode

_SPELLED = {"NaN", "Infinity", "-Infinity"}

prose = st.text(max_size=30)
numbers = st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=True, allow_infinity=True))
plain_text = prose.filter(lambda text: text not in _SPELLED)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, plain_text),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(plain_text.filter(lambda k: k not in TEXT_FIELDS), inner, max_size=4),
    ),
    max_leaves=10,
)
events = st.builds(
    lambda numbers_, texts: numbers_ | texts,
    st.dictionaries(plain_text.filter(lambda key: key not in TEXT_FIELDS), values, max_size=6),
    st.dictionaries(
        st.sampled_from(sorted(TEXT_FIELDS)), st.one_of(prose, st.sampled_from(sorted(_SPELLED))), max_size=4
    ),
)


def same(left: object, right: object) -> bool:
    """Equality in which NaN equals NaN, and kinds count."""
    if isinstance(left, float) and isinstance(right, float):
        return left == right or (math.isnan(left) and math.isnan(right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and left == right


@given(events)
def test_an_event_survives_the_journal(event: dict[str, object]) -> None:
    line = encode(event)
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    assert same(decode(line), event)


@given(st.lists(events.filter(bool), min_size=1, max_size=5))
def test_a_block_reads_like_its_single_lines(batch: list[dict[str, object]]) -> None:
    block, bad = decode_lines(b"".join(map(encode, batch)))
    assert bad == 0
    assert same(block, batch)


def test_every_line_is_json_that_any_tool_reads() -> None:
    line = encode({"loss": math.nan, "lr": math.inf, "deep": [{"x": -math.inf}]})

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    parsed = json.loads(line, parse_constant=refuse)
    assert parsed == {"loss": "NaN", "lr": "Infinity", "deep": [{"x": "-Infinity"}]}


def test_text_that_reads_like_a_number_stays_text() -> None:
    assert decode(encode({"type": "log", "msg": "NaN", "detail": "Infinity"})) == {
        "type": "log",
        "msg": "NaN",
        "detail": "Infinity",
    }


def test_text_beyond_ascii_is_readable_in_the_file() -> None:
    assert "ドラム".encode() in encode({"msg": "ドラム"})


def test_a_file_name_that_is_not_utf8_survives() -> None:
    name = b"caf\xe9.wav".decode("utf-8", errors="surrogateescape")
    line = encode({"detail": name})
    assert decode(line)["detail"] == name
    assert decode_lines(line * 2) == ([{"detail": name}] * 2, 0)


def test_paths_are_written_as_text() -> None:
    assert decode(encode({"path": Path("a/b")})) == {"path": "a/b"}


def test_what_is_no_plain_value_is_refused() -> None:
    with pytest.raises(TypeError, match="set cannot be written"):
        encode({"x": {1}})


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"{",
        b"\x00\x00\x00",
        b"17",
        b'"text"',
        b"[1]",
        b'{"a":1}{"b":2}',
        b"\xff\xfe",
        b"[" * 100_000,
        b"{}}",
        b"null",
    ],
    ids=repr,
)
def test_garbage_is_counted_and_its_neighbours_are_read(garbage: bytes) -> None:
    with pytest.raises(ValueError):
        decode(garbage)
    events_, bad = decode_lines(b'{"seq":1}\n' + garbage + b'\n{"seq":2}\n')
    assert events_ == [{"seq": 1}, {"seq": 2}]
    assert bad == (1 if garbage else 0)


def test_two_halves_of_an_array_are_not_read_as_one_event() -> None:
    events_, bad = decode_lines(b'{"a":[1\n2]}\n{"seq":3}\n')
    assert (events_, bad) == ([{"seq": 3}], 2)
