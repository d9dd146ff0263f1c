#!/bin/sh
# Installs the Debian packages it is given that are missing, or says exactly what to install where it cannot.
#
#   scripts/install-system-packages.sh libopenblas-dev python3-dev
set -eu
missing=""
for package in "$@"; do
  if ! dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed'; then
    missing="$missing $package"
  fi
done
# A virtual environment needs pip inside; Debian packs it apart from its own Python, and other Pythons bring it.
if ! "${PYTHON:-python3}" -c 'import ensurepip, venv' 2>/dev/null; then missing="$missing python3-venv"; fi
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
