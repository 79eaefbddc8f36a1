"""What `launcher --help` costs, in starts of a bare interpreter: `python bench/cli_start.py`.

The peer is `python -c pass` of the same interpreter. The smallest of several times counts: what
is above it is the machine's other work. The last line is JSON; at most 15 is the project's limit.
"""

import json
import subprocess
import sys
import time

ROUNDS = 15


def best(argv: list[str]) -> float:
    """Seconds of the fastest of ROUNDS runs."""
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> None:
    ours = best([sys.executable, "-m", "launcher", "--help"])
    peer = best([sys.executable, "-c", "pass"])
    result = {
        "name": "launcher --help against a bare interpreter",
        "ratio": round(ours / peer, 2),
        "ours": round(ours, 4),
        "peer": round(peer, 4),
        "unit": "s",
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
