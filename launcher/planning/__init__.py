"""From a spec to a plan: batch, learning rate, steps, the effective pipeline.config, processes.

arithmetic   the rules, on integers and fractions
source       the recipe or the user's file that the numbers come from
schedule     a learning rate schedule, read and scaled
division     replicas x per-replica batch x accumulation, or the nearest valid choices
data         records, label map, counts, classes, weights
norm         over how many images batch normalization works
effective    the patched pipeline.config
own_file     what is in the user's own file and cannot be trained with
own_input    the same of what it does with the images
departures   how far a file's numbers are from a reference's
memory       of one accelerator, by the shapes of a step's tensors
warnings     what a person should know
plan, make   the result
elastic      the same for other numbers of workers
table        the same for people
"""

from launcher.planning.data import DataPlan, FineTune, missing_data
from launcher.planning.make import make_plan
from launcher.planning.plan import Plan, Role
from launcher.planning.table import Row, table

__all__ = ["DataPlan", "FineTune", "Plan", "Role", "Row", "make_plan", "missing_data", "table"]
