"""The published recipes: 36 models of the TF2 model zoo, as data.

Importing this costs no protobuf: messages are made by `Recipe.build` and `match` alone.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from launcher.errors import UsageError
from launcher.recipes.recipe import Recipe
from launcher.recipes.table import RECIPES
from launcher.recipes.training import Training

if TYPE_CHECKING:
    from launcher.odapi.protos import Message

__all__ = ["Recipe", "Training", "all_recipes", "get", "match", "names", "rows", "same_model"]


def names() -> list[str]:
    return [recipe.name for recipe in RECIPES]


def all_recipes() -> Iterator[Recipe]:
    return iter(RECIPES)


def get(name: str) -> Recipe:
    """Raises UsageError with the nearest names."""
    for recipe in RECIPES:
        if recipe.name == name:
            return recipe
    nearest = _nearest(name)
    raise UsageError(
        f"no recipe is called {name!r}",
        place="recipe",
        remedy=(f"Did you mean {' or '.join(nearest)}? " if nearest else "")
        + "`launcher recipes` lists them all",
    )


def match(pipeline: "Message") -> Recipe | None:
    """The recipe with the model section of this TrainEvalPipelineConfig, if there is one.

    Only the network and its losses count: not num_classes, data, batch or schedule.
    """
    from launcher.recipes import matching

    return matching.match(pipeline)


def same_model(first: "Message", second: "Message") -> bool:
    """Whether two TrainEvalPipelineConfigs build the same network and losses."""
    from launcher.recipes import matching

    return matching.fingerprint(first) == matching.fingerprint(second)


def rows() -> list[dict[str, Any]]:
    """A JSON-ready row for each recipe, in the table's order."""
    return [recipe.row() for recipe in RECIPES]


def _nearest(name: str) -> list[str]:
    """At most three names. The published file's name leads to its recipe, too."""
    from difflib import get_close_matches

    word = name.lower().replace("-", "_").replace(" ", "_")
    names_of = {recipe.name: recipe.name for recipe in RECIPES}
    for recipe in RECIPES:
        names_of[recipe.file.removesuffix(".config").replace("-", "_")] = recipe.name
    close = get_close_matches(word, names_of, n=6, cutoff=0.6)
    return list(dict.fromkeys(names_of[n] for n in close))[:3]
