"""What all parts of a job spec have in common."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """What all parts of a spec have in common: unknown keys are errors, nothing is converted."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )
