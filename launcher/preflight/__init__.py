"""What keeps a run from its number, said before it costs anything.

Reading is separate from judging: each check is a pure function of what was read and returns
Findings.

finding         Finding: what is wrong, what it costs, what to write instead
evidence        the figures that costs are taken from
options, run    what is looked at; all checks, and their report
subject         what is read of a configuration: plan, file, starting weights (weights)
batch           images in a step                    rates      learning rate and warm-up
normalization   images of a statistic               budget     images of the whole training
schedule        boundaries and their end            evaluation what makes a score incomparable
ignored         fields that nobody reads            fine_tune  the weights it starts from
mend            a spec without the errors
"""

from launcher.preflight.finding import Cost, Finding, Severity, ordered
from launcher.preflight.options import Options
from launcher.preflight.run import Report, check

__all__ = ["Cost", "Finding", "Options", "Report", "Severity", "check", "ordered"]
