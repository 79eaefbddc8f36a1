"""A corrupted byte anywhere in a TFRecord ends in a finding with file and offset."""

import random
from typing import Any

from launcher.preflight import Severity, data_findings, faults
from launcher.preflight.reading import read_data
from launcher.records import read_records

BYTES = 2000


def test_2000_corrupted_bytes(data: Any) -> None:
    """One at a time, each at another place of the file, with another value."""
    path = data.path("val", 1)  # three records
    good = path.read_bytes()
    starts = [record.offset for record in read_records(path)]
    plan = data.plan(train=str(path), val=None)
    rng = random.Random(0)
    # All of the lengths and sums, and the first and last bytes of the data, are among them.
    places = [s + i for s in starts for i in (*range(14), -1, -2, -3, -4, -5) if s + i >= 0]
    places += rng.sample(range(len(good)), BYTES - len(places))
    for at in places:
        content = bytearray(good)
        content[at] ^= rng.randint(1, 255)
        path.write_bytes(bytes(content))
        found = next(faults.judge(read_data(plan, progress=False), allowed=0))
        assert (found.name, found.severity) == ("records", Severity.ERROR), f"byte {at}"
        record = max(start for start in starts if start <= at)
        assert f"{path}: record {starts.index(record)} at byte {record}" in found.place


def test_cuts_and_tails(data: Any) -> None:
    """Wherever a file ends: a finding; between two records it is another number of them."""
    path = data.path("train", 1)
    good = path.read_bytes()
    starts = [record.offset for record in read_records(path)]
    plan = data.plan(train=str(path))
    for end in random.Random(1).sample(range(1, len(good)), 100):
        path.write_bytes(good[:end])
        result = data_findings(plan, progress=False)
        found = [f for f in result.findings if f.name == "records"]
        assert found or end in starts


def test_garbage(data: Any) -> None:
    path = data.path("train", 1)
    plan = data.plan(train=str(path))
    rng = random.Random(2)
    for size in range(1, 200, 7):
        path.write_bytes(rng.randbytes(size))
        found = data_findings(plan, progress=False).findings
        assert any(f.name == "records" and str(path) in f.place for f in found)
