"""Where a run's model, batch, rate and schedule come from: the recipe, or the user's own file."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from launcher import recipes
from launcher.errors import SpecError
from launcher.odapi import pipeline as pipelines
from launcher.odapi.protos import Message
from launcher.planning.schedule import Facts, facts_of
from launcher.spec import JobSpec

if TYPE_CHECKING:
    from launcher.recipes import Recipe


@dataclass(frozen=True)
class OwnRecipe:
    """batch.reference_config: a file that stands where a published recipe would."""

    path: Path
    published_map: ClassVar[None] = None
    images_per_core: ClassVar[None] = None

    @property
    def name(self) -> str:
        """As messages have it, and never that of a published recipe."""
        stem = self.path.stem
        return self.path.name if stem in recipes.names() else stem

    def build(self) -> Message:
        return pipelines.read(self.path)


@dataclass(frozen=True)
class Source:
    """The model and the numbers that it is trained with, before anything is scaled.

    `recipe` is the published recipe that the spec names or the file's model section matches, or
    batch.reference_config.
    `train_config` is the reference's: whose batch, rate and schedule are scaled for this run.
    """

    pipeline: Message
    recipe: "Recipe | OwnRecipe | None"
    recipe_facts: Facts | None
    file: str | None
    file_facts: Facts | None
    train_config: Message
    reference: Facts
    reference_place: str

    @property
    def follows_recipe(self) -> bool:
        """False when the user's own file is the reference."""
        return self.reference is self.recipe_facts

    def place(self, *path: str) -> str:
        """Of a field of the file, `p.config:12: train_config.batch_size`: its line, or that of the
        nearest message around it which is written; of a recipe's, `recipe d3: train_config...`."""
        dotted = ".".join(path)
        if self.file is None:
            return f"recipe {self.recipe.name if self.recipe else ''}: {dotted}"
        text = pipelines.read_text(Path(self.file))
        parts = (path[:n] for n in range(len(path), 0, -1))
        line = next(filter(None, (pipelines.line_of(text, *part) for part in parts)), None)
        return f"{self.file}:{line}: {dotted}" if line else f"{self.file}: {dotted}"

    @property
    def images_per_core(self) -> int | None:
        return self.recipe.images_per_core if self.recipe else None


def source_of(spec: JobSpec) -> Source:
    """Raises SpecError when the file cannot be read or its numbers cannot be trained with."""
    if spec.recipe is not None:
        return _of_recipe(recipes.get(spec.recipe))
    return _of_file(spec)


def _of_recipe(recipe: "Recipe | OwnRecipe") -> Source:
    built = recipe.build()
    place = f"recipe {recipe.name}"
    if isinstance(recipe, OwnRecipe):
        place = f"{recipe.path}: train_config"
    facts = facts_of(built.train_config, place)
    return Source(built, recipe, facts, None, None, built.train_config, facts, place)


def _of_file(spec: JobSpec) -> Source:
    assert spec.pipeline_config is not None  # noqa: S101 (a rule of JobSpec)
    file = str(spec.pipeline_config)
    own = _read(spec, spec.pipeline_config, "pipeline_config")
    if own.model.WhichOneof("model") is None:
        raise spec.error("pipeline_config", f"{file} has no model section", "Name a recipe instead")
    place = f"{file}: train_config"
    recipe = _own_recipe(spec, own) or recipes.match(own)
    if recipe is None or spec.batch.lr_scaling == "none":
        facts = facts_of(own.train_config, place)
        published = _of_recipe(recipe).reference if recipe else None
        return Source(own, recipe, published, file, facts, own.train_config, facts, place)
    reference = _of_recipe(recipe)
    return Source(
        own,
        recipe,
        reference.reference,
        file,
        _facts_or_none(own.train_config, place),
        reference.train_config,
        reference.reference,
        reference.reference_place,
    )


def _own_recipe(spec: JobSpec, own: Message) -> OwnRecipe | None:
    path = spec.batch.reference_config
    if path is None:
        return None
    reference = _read(spec, path, "batch.reference_config")
    if recipes.same_model(reference, own):
        return OwnRecipe(path)
    raise spec.error(
        "batch.reference_config",
        f"{path} has another model section than {spec.pipeline_config}",
        "Batch and rate belong to a model: name a file of this model, or remove the key",
    )


def _read(spec: JobSpec, path: Path, key: str) -> Message:
    try:
        return pipelines.read(path)
    except SpecError as e:
        if not spec.origin.file or Path(spec.origin.file).absolute() == path:
            raise  # a bare pipeline.config: its own place says it all
        problem = e.problems[0]
        what = f"{problem.place}: {problem.what}"
        raise spec.error(key, what, problem.remedy) from None


def _facts_or_none(train_config: Message, place: str) -> Facts | None:
    """A file whose own numbers are not used may lack them."""
    try:
        return facts_of(train_config, place)
    except SpecError:
        return None
