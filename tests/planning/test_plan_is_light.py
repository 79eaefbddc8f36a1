"""`launcher plan` is quick: what makes it slow is never imported."""

import subprocess
import sys

HEAVY = ("numpy", "tensorflow", "PIL", "matplotlib", "pandas", "ray", "kubernetes", "google_crc32c")

PROGRAM = f"""
import sys
from launcher.planning import make_plan, missing_data, table
from launcher.spec import from_mapping, json_schema, template, to_yaml
plan = make_plan(from_mapping({{"name": "x", "recipe": "efficientdet_d3"}}))
table(plan), missing_data(plan.spec), to_yaml(plan.spec), json_schema(), template("efficientdet_d3")
print([name for name in {HEAVY} if name in sys.modules])
"""


def test_a_plan_loads_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
