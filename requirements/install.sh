#!/bin/sh
# Makes .venv with the pinned requirements, or does nothing when it is up to date (`make setup`).
# PYTHON=... chooses the interpreter; otherwise the first one that works.
set -eu
cd "$(dirname "$0")/.."

works() { # Python 3.11, 3.12 or 3.13, with venv
    "$1" -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

find_python() {
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python}; do
        if works "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    asked=${PYTHON:-python3}
    version=$(command -v "$asked" >/dev/null && "$asked" -V 2>&1 | head -n 1 || echo "no such program")
    echo "error: $asked ($version) cannot be used:" \
        "TensorFlow 2.21 and this project run on Python 3.11, 3.12 and 3.13 (with the venv module)." \
        "Install one of them, or name it: make setup PYTHON=/path/to/python3.12" >&2
    exit 2
}

wanted=$(cat requirements/*.txt requirements/install.sh pyproject.toml | cksum)
if [ -f .venv/installed ] && [ "$(cat .venv/installed)" = "$wanted" ] && .venv/bin/launcher --version >/dev/null 2>&1; then
    exit 0
fi
python=$(find_python)
if ! { [ -x .venv/bin/python ] && works .venv/bin/python; }; then
    echo "setup: making .venv with $("$python" -V)"
    rm -rf .venv
    "$python" -m venv .venv
fi
echo "setup: installing the pinned packages (about 700 MB to download, 2.8 GiB on disk; some minutes the first time)"
.venv/bin/python -m pip install --no-deps --disable-pip-version-check \
    -r requirements/runtime.txt -r requirements/dev.txt
.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --disable-pip-version-check -e .
echo "$wanted" >.venv/installed
echo "setup: done, .venv/bin/launcher is ready"
