"""An Example's bytes in parts are those that protobuf makes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.records import encode_example, make_example

INTS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(width=32)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.one_of(
    *(kind | st.lists(kind) for kind in (st.binary(), TEXTS, INTS)),
    FLOATS,
    st.lists(FLOATS),
    st.lists(FLOATS | st.integers(-1000, 1000)),
    st.lists(st.binary() | TEXTS),
)


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=4, max_size=4)
"""None the beginning of another: these protobuf's C library sorts longest first."""


@given(st.dictionaries(NAMES, VALUES))
def test_the_bytes_of_protobuf(features: dict[str, Any]) -> None:
    wanted = make_example(features).SerializeToString(deterministic=True)
    assert b"".join(encode_example(features)) == wanted


@pytest.mark.parametrize("size", [100, 127, 128, 16_000, 200_000])  # lengths of 1, 2, 3 bytes
def test_a_picture_is_not_copied(size: int) -> None:
    features = {"image/encoded": bytes(size), "image/height": 480, "image/source_id": "7"}
    parts = encode_example(features)
    assert any(part is features["image/encoded"] for part in parts)
    assert b"".join(parts) == make_example(features).SerializeToString(deterministic=True)


@pytest.mark.parametrize("value", [[1, "two"], [1.5, b"x"], [None], object()])
def test_what_a_feature_cannot_hold(value: Any) -> None:
    with pytest.raises(TypeError, match="labels: a feature holds one kind of value, not"):
        encode_example({"labels": value})


def test_a_number_of_more_than_64_bits() -> None:
    with pytest.raises(ValueError, match="has no 64 bits"):
        encode_example({"label": 2**63})
