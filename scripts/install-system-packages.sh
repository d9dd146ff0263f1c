#!/bin/sh
# Installs the Debian packages it is given that are missing, or says exactly what to install where it cannot.
#
#   scripts/install-system-packages.sh libopenblas-dev python3-dev
#
# python3-venv counts as there if PYTHON can make a virtual environment: Debian packs that apart from its own Python, and
# other Pythons bring it.
set -eu
if ! command -v dpkg-query >/dev/null; then
  echo "This is no Debian: what it calls $* must be installed" >&2
  exit 0
fi
missing=""
for package in "$@"; do
  if [ "$package" = python3-venv ] && "${PYTHON:-python3}" -c 'import ensurepip, venv' 2>/dev/null; then continue; fi
  if ! dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed'; then
    missing="$missing $package"
  fi
done
if [ -z "$missing" ]; then exit 0; fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "These Debian packages are missing:$missing" >&2
  echo "Install them with: sudo apt-get install$missing" >&2
  exit 1
fi
echo "Installing$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086  # a list of names
apt-get install -y -qq --no-install-recommends $missing
