"""What keeps a run from its number, said before it costs anything.

Reading is separate from judging: each check is a pure function of what was read and returns
Findings.
"""

from launcher.preflight.finding import Cost, Finding, Severity

__all__ = ["Cost", "Finding", "Severity"]
