"""Which cluster is used, and what is said about the others."""

from pathlib import Path

import pytest

from launcher import load
from launcher.backends.ray.address import choose, clean_environment, normal
from launcher.errors import UsageError
from launcher.spec import JobSpec

DEMO = Path(__file__).parents[2] / "configs" / "demo.yaml"
ELSEWHERE = {"RAY_ADDRESS": "http://10.0.0.9:8265"}


def spec(*overrides: str) -> JobSpec:
    return load(DEMO, ["backend.kind=ray", *overrides])


def test_the_option_wins_and_the_conflict_is_said() -> None:
    chosen = choose(spec("backend.ray.address=http://10.0.0.5:8265"), ELSEWHERE)
    assert (chosen.url, chosen.source) == ("http://10.0.0.5:8265", "--address")
    said = "RAY_ADDRESS says http://10.0.0.9:8265, which is not followed: --address wins"
    assert chosen.conflicts == (said,)
    assert "http://10.0.0.5:8265 (from --address)" in str(chosen)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A spec that names a cluster."""
    text = DEMO.read_text().replace("demo.config", str(DEMO.parent / "demo.config"))
    file = tmp_path / "demo.yaml"
    file.write_text(text + "backend: {kind: ray, ray: {address: 'http://10.0.0.5:8265'}}\n")
    return file


def test_the_spec_wins_over_the_environment(file: Path) -> None:
    chosen = choose(load(file), ELSEWHERE)
    assert chosen.url == "http://10.0.0.5:8265"
    assert "demo.yaml" in chosen.source
    assert len(chosen.conflicts) == 1


def test_the_option_wins_over_the_spec_and_says_so(file: Path) -> None:
    line = (
        file.read_text()
        .splitlines()
        .index("backend: {kind: ray, ray: {address: 'http://10.0.0.5:8265'}}")
    )
    in_file = f"{file}:{line + 1}: backend.ray.address"
    chosen = choose(load(file, ["backend.ray.address=10.0.0.7"]), ELSEWHERE)
    assert chosen.url == "http://10.0.0.7:8265"
    assert chosen.conflicts == (
        f"{in_file} says http://10.0.0.5:8265, which is not followed: --address wins",
        "RAY_ADDRESS says http://10.0.0.9:8265, which is not followed: --address wins",
    )
    assert not choose(load(file, ["backend.ray.address=10.0.0.5"]), {}).conflicts


@pytest.mark.parametrize("variable", ["auto", "local", "ray://head:10001", "no address at all"])
def test_a_variable_that_is_not_followed_is_a_conflict_and_no_mistake(variable: str) -> None:
    chosen = choose(spec("backend.ray.address=10.0.0.5"), {"RAY_ADDRESS": variable})
    assert chosen.url == "http://10.0.0.5:8265"
    (said,) = chosen.conflicts
    assert said.startswith(f"RAY_ADDRESS says {variable}, which is not followed")


def test_a_variable_that_is_followed_and_no_dashboard_is_a_mistake() -> None:
    with pytest.raises(UsageError, match="environment variable RAY_ADDRESS"):
        choose(spec(), {"RAY_ADDRESS": "ray://head:10001"})


def test_the_environment_is_used_when_nothing_else_is_said() -> None:
    chosen = choose(spec(), ELSEWHERE)
    found = (chosen.url, chosen.source, chosen.conflicts)
    assert found == ("http://10.0.0.9:8265", "RAY_ADDRESS", ())


def test_the_same_address_twice_is_no_conflict() -> None:
    assert not choose(spec("backend.ray.address=10.0.0.9"), ELSEWHERE).conflicts


def test_without_any_a_ray_of_the_runs_own() -> None:
    assert choose(spec(), {}).url is None
    assert "is started for the run" in str(choose(spec(), {}))


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("10.0.0.5", "http://10.0.0.5:8265"),
        ("head:1234", "http://head:1234"),
        ("https://ray.example/", "https://ray.example:443"),
        ("http://[::1]:8265", "http://[::1]:8265"),
    ],
)
def test_addresses_as_people_write_them(text: str, url: str) -> None:
    assert normal(text, "x") == url


@pytest.mark.parametrize(
    "text", ["auto", "ray://head:10001", "http://a b", "head:99999", "ftp://x"]
)
def test_what_is_no_dashboard_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="http://HOST:8265"):
        normal(text, "--address")


def test_ray_does_not_see_the_variable_that_would_override(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setenv("RAY_ADDRESS", "http://10.0.0.9:8265")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    with clean_environment("http://10.0.0.5:8265"):
        assert "RAY_ADDRESS" not in os.environ
        assert "HTTP_PROXY" in os.environ
    with clean_environment("http://127.0.0.1:8265"):
        assert "HTTP_PROXY" not in os.environ, "what is for this machine goes to no proxy"
    assert os.environ["HTTP_PROXY"] == "http://proxy:3128"
    assert os.environ["RAY_ADDRESS"] == "http://10.0.0.9:8265"
