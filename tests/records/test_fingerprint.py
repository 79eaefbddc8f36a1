"""The same for the same records, and another for any other."""

from pathlib import Path

import pytest

from launcher.errors import DataError
from launcher.records import RecordWriter
from launcher.records.fingerprint import Fingerprint, fingerprint


def write(path: Path, *records: bytes) -> Path:
    with RecordWriter(path) as writer:
        for record in records:
            writer.write(record)
    return path


def test_it_is_of_the_content_and_not_of_the_files(tmp_path: Path) -> None:
    whole = fingerprint([write(tmp_path / "a", b"one", b"two", b"three")])
    assert whole == Fingerprint(records=3, files=1, bytes=59, digest=whole.digest)
    parts = [write(tmp_path / "b0", b"one"), write(tmp_path / "b1", b"two", b"three")]
    assert fingerprint(parts).digest == whole.digest
    assert fingerprint(parts).files == 2


@pytest.mark.parametrize(
    "records", [(b"one", b"twa", b"three"), (b"two", b"one", b"three"), (b"one", b"two"), (b"one",)]
)
def test_any_other_content_has_another(tmp_path: Path, records: tuple[bytes, ...]) -> None:
    a = fingerprint([write(tmp_path / "a", b"one", b"two", b"three")])
    assert fingerprint([write(tmp_path / "b", *records)]).digest != a.digest


def test_a_cut_file_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a", b"one" * 100)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match="truncated"):
        fingerprint([path])
