#!/bin/sh
# Says in one line what to install where it cannot be installed from here: Swift, and the Python of the virtual environment. Debian's
# own Python is installed if there is none.
#
#   scripts/check-tools.sh swift
#   PYTHON=python3.12 scripts/check-tools.sh swift python
set -eu
cd "$(dirname "$0")/.."

check_swift() {
  if ! command -v swift >/dev/null; then
    echo "This needs Swift 6.1 or later, and there is no swift on the PATH: install it from https://swift.org/install" >&2
    exit 1
  fi
  if ! answer=$(swift --version 2>&1); then
    echo "This needs Swift 6.1 or later, and swift does not start: $(echo "$answer" | tail -n 1)." \
      "https://swift.org/install lists the packages it needs" >&2
    exit 1
  fi
  version=$(echo "$answer" | sed -n 's/.*Swift version \([0-9]*\.[0-9]*\).*/\1/p' | head -n 1)
  if [ "$(printf '%s\n6.1\n' "$version" | sort --version-sort | head -n 1)" != 6.1 ]; then
    echo "This needs Swift 6.1 or later, got ${version:-an unknown version}: install it from https://swift.org/install" >&2
    exit 1
  fi
}

check_python() {
  # The environment that is there already counts, whatever PYTHON says.
  python=${PYTHON:-python3}
  if [ -x .venv/bin/python ]; then python=.venv/bin/python; fi
  if [ "$python" = python3 ] && ! command -v python3 >/dev/null; then
    scripts/install-system-packages.sh python3 python3-venv
  fi
  found="no such program"
  if command -v "$python" >/dev/null; then found=$("$python" --version 2>&1 | head -n 1); fi
  if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "This needs Python 3.11 or later (the package alone 3.10), got $python, $found:" \
      "run make with PYTHON=python3.11, or a later one that you have" >&2
    exit 1
  fi
}

for tool in "$@"; do "check_$tool"; done
