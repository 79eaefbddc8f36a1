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
    assert "RAY_ADDRESS says http://10.0.0.9:8265, which is not followed" in chosen.conflict
    assert "http://10.0.0.5:8265 (from --address)" in str(chosen)


def test_the_spec_wins_over_the_environment(tmp_path: Path) -> None:
    text = DEMO.read_text().replace("demo.config", str(DEMO.parent / "demo.config"))
    file = tmp_path / "demo.yaml"
    file.write_text(text + "backend: {kind: ray, ray: {address: 'http://10.0.0.5:8265'}}\n")
    chosen = choose(load(file), ELSEWHERE)
    assert chosen.url == "http://10.0.0.5:8265"
    assert "demo.yaml" in chosen.source
    assert chosen.conflict


def test_the_environment_is_used_when_nothing_else_is_said() -> None:
    chosen = choose(spec(), ELSEWHERE)
    assert (chosen.url, chosen.source, chosen.conflict) == (
        "http://10.0.0.9:8265",
        "RAY_ADDRESS",
        "",
    )


def test_the_same_address_twice_is_no_conflict() -> None:
    assert not choose(spec("backend.ray.address=10.0.0.9"), ELSEWHERE).conflict


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
