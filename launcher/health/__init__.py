"""What a running job shows of itself: from its metrics to findings, each with evidence and remedy.

`facts` reads; the checks are pure functions of what was read: `losses`, `rates`, `speed`, `scores`,
`modes`. `look` puts them together.
"""

from launcher.health.look import look, of_run

__all__ = ["look", "of_run"]
