"""What is said by more than one part."""

from launcher.contract import State


def lost_message(state: State) -> str:
    return (
        f"the driver of the run is gone without a word (it was killed, or its node or Ray's head "
        f"is gone); the run was {state}. `launcher submit SPEC --resume` continues it from the "
        "last checkpoint"
    )
