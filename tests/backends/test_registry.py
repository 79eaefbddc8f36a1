"""Finding a run by its name, from any folder."""

from pathlib import Path

import pytest

from launcher.backends import registry
from launcher.contract import RunPaths
from launcher.errors import UsageError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def make_run(folder: Path, name: str) -> Path:
    root = folder / name
    root.mkdir(parents=True)
    RunPaths(root).plan.write_text("{}")
    return root


def test_order_of_places(home: Path) -> None:
    given = make_run(home / "given", "demo")
    here = make_run(home / "work" / "runs", "demo")
    listed = make_run(home / "elsewhere", "demo")
    assert registry.remember("demo", listed, "local")
    assert registry.find("demo", home / "given") == given
    assert registry.find("demo") == here
    RunPaths(here).plan.unlink()
    assert registry.find("demo") == listed


def test_given_run_dir_is_the_only_place(home: Path) -> None:
    make_run(home / "work" / "runs", "demo")
    with pytest.raises(UsageError, match="demo: no such run in"):
        registry.find("demo", home / "given")


def test_unknown_name_has_its_nearest(home: Path) -> None:
    make_run(home / "work" / "runs", "d3-coco")
    registry.remember("d3-cocoa", make_run(home / "elsewhere", "d3-cocoa"), "local")
    with pytest.raises(UsageError) as caught:
        registry.find("d3-coko")
    assert str(caught.value) == (
        "d3-coko: no such run in ./runs or on the list of runs. Did you mean d3-coco or d3-cocoa?"
    )


def test_run_that_is_gone_is_not_on_the_list(home: Path) -> None:
    root = make_run(home / "elsewhere", "demo")
    registry.remember("demo", root, "local")
    RunPaths(root).plan.unlink()
    assert registry.all_roots() == []
    assert registry.lookup("demo") is None


def test_forgetting_one_keeps_its_namesake(home: Path) -> None:
    listed = make_run(home / "elsewhere", "demo")
    registry.remember("demo", listed, "local")
    registry.forget("demo", home / "given" / "demo")
    assert registry.lookup("demo") == listed
    registry.forget("demo", listed)
    assert registry.lookup("demo") is None


def test_list_that_cannot_be_written_is_no_error(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "file"))
    assert not registry.remember("demo", home / "demo", "local")
    assert registry.known() == {}


@pytest.mark.parametrize("name", ["../demo", "a/b", "", ".", ".."])
def test_name_is_no_path(home: Path, name: str) -> None:
    make_run(home / "work", "demo")
    assert registry.lookup(name) is None


def test_relative_state_home_is_ignored_as_the_specification_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    assert registry.state_dir() == Path.home() / ".local" / "state" / "launcher"


def test_run_elsewhere_stays_on_the_list_without_a_folder(home: Path) -> None:
    root = Path("/mnt/not-here/runs/far")
    registry.remember("far", root, "kubernetes", {"namespace": "vision"})
    assert registry.find("far") == root
    entry = registry.entry_of(root)
    assert entry is not None
    assert (entry.backend, dict(entry.where)) == ("kubernetes", {"namespace": "vision"})
    assert registry.entry_of(home / "far") is None
    registry.forget("far", root)
    assert registry.lookup("far") is None
