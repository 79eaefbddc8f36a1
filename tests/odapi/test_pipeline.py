"""pipeline.config as a protobuf: equal round trips, errors with file, line, column and remedy."""

import subprocess
import sys
from pathlib import Path

import pytest

from launcher.errors import SpecError, StorageError
from launcher.odapi import pipeline


def test_every_published_config_reads_and_writes_back_equal(shared: Path, tmp_path: Path) -> None:
    published = [*sorted((shared / "zoo").glob("*.config")), shared / "seed" / "pipeline.config"]
    assert len(published) == 37
    for path in published:
        message = pipeline.read(path)
        pipeline.write(tmp_path / path.name, message)
        assert pipeline.read(tmp_path / path.name) == message, path.name


def test_the_line_of_a_field() -> None:
    text = (
        'model {\n  # ssd { loss {} }\n  ssd: <\n    name: "} loss {"\n    box { loss {} }\n'
        "    loss {\n      weight: 1\n    }\n  >\n}\ntrain_config { steps: 1 }\n"
        "loss { weight: 2 }\n"
    )
    assert pipeline.line_of(text, "model", "ssd", "loss") == 6
    assert pipeline.line_of(text, "model", "ssd", "loss", "weight") == 7
    assert pipeline.line_of(text, "train_config", "steps") == 11
    assert pipeline.line_of(text, "loss", "weight") == 12
    assert pipeline.line_of(text, "model", "loss") is None
    assert pipeline.line_of("}} model {", "model") == 1


BAD = [
    (
        "model {\n  ssd {\n    num_clases: 3\n  }\n}",
        'x.config:3:5: Message type "Ssd" has no field named "num_clases".'
        ' Did you mean "num_classes"?',
    ),
    (
        "train_config { optimizer { momentun_optimizer {} } }",
        'x.config:1:28: Message type "Optimizer" has no field named "momentun_optimizer".'
        ' Did you mean "momentum_optimizer"?',
    ),
    (
        "model { ssd { num_classes: 'many' } }",
        "x.config:1:28: Couldn't parse integer: 'many'. Correct the value or remove it",
    ),
    (
        "model { ssd { feature_extractor { conv_hyperparams { activation: SWISHH } } } }",
        'x.config:1:66: Enum type "Hyperparams.Activation" has no value named SWISHH.'
        ' Did you mean "SWISH"?',
    ),
    (
        "model { ssd { num_classes: 3 ",
        'x.config:1:28: Expected "}". Check the braces and quotes around this place',
    ),
    (
        "train_config { batch_size: 99999999999 }",
        "x.config:1:28: Value out of range: 99999999999. Correct the value or remove it",
    ),
]


@pytest.mark.parametrize(("text", "message"), BAD, ids=[m for _, m in BAD])
def test_syntax_errors_name_place_value_and_remedy(text: str, message: str) -> None:
    with pytest.raises(SpecError) as e:
        pipeline.parse(text, "x.config")
    assert str(e.value) == message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name, what in {
        "absent": "no such file",
        "binary": "not a text file",
        ".": "is a directory",
    }.items():
        with pytest.raises(SpecError, match=what) as e:
            pipeline.read(tmp_path / name)
        assert str(tmp_path) in str(e.value)
    with pytest.raises(SpecError, match="not a path"):
        pipeline.read(Path("a\0b"))


def test_deep_nesting_is_an_error_and_no_crash() -> None:
    with pytest.raises(SpecError):
        pipeline.parse("model { ssd { " * 50_000, "x")


def test_write_says_where_it_could_not(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        pipeline.write(tmp_path / "file" / "pipeline.config", pipeline.parse("", "x"))


def test_reading_a_pipeline_loads_neither_tensorflow_nor_the_od_api(shared: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from launcher.odapi import pipeline;"
        f"pipeline.read(Path({str(shared / 'seed' / 'pipeline.config')!r}));"
        "sys.exit(bool({'tensorflow', 'object_detection', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
