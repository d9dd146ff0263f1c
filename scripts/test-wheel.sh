#!/bin/sh
# Tests the wheel in dist/ as its users meet it: installed into a new environment, apart from the checkout, with neither
# Swift nor a system's OpenBLAS in sight; the package's tests with each of its builds that this processor runs.
#
#   scripts/test-wheel.sh [PYTEST OPTION]...
#
# Where mounting is allowed, Swift and OpenBLAS are out of reach whatever the tests do; elsewhere only out of PATH, and
# tests/test_wheel.py looks at which OpenBLAS is in use.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
if [ -z "${WHEEL_TEST_FOLDER:-}" ]; then
  WHEEL_TEST_FOLDER=$(mktemp -d)
  export WHEEL_TEST_FOLDER
  trap 'rm -rf "$WHEEL_TEST_FOLDER"' EXIT
  if unshare --mount true 2>/dev/null; then unshare --mount "$0" "$@"; else WHEEL_TEST_SEES_ALL=1 "$0" "$@"; fi
  exit
fi
work=$WHEEL_TEST_FOLDER
mkdir "$work/nothing" "$work/checkout"
if [ -z "${WHEEL_TEST_SEES_ALL:-}" ]; then
  if command -v swift >/dev/null; then
    toolchain=$(swift -print-target-info | sed -n 's|.*"runtimeResourcePath": "\(.*\)/lib/swift".*|\1|p')
    mount --bind "$work/nothing" "$toolchain"
  fi
  find /usr/lib /usr/local/lib -name 'libopenblas*.so*' -type f -exec mount --bind /dev/null {} \;
fi

"$python" -m venv "$work/venv"
wheel=$(echo "$PWD"/dist/speediff-*.whl)
"$work/venv/bin/pip" install --quiet --disable-pip-version-check -c python/constraints.txt \
  "$wheel[cli,train,examples,dev]"
scripts/install-evaluation.sh "$work/venv/bin/pip"
# All but the package itself, so that what is tested is what was installed.
git ls-files -z | grep -zv '^python/speediff/' | xargs -0 cp --parents -t "$work/checkout"
cd "$work/checkout/python"

run() { env -i PATH="$work/venv/bin:/usr/bin:/bin" HOME="$work" LANG=C.UTF-8 SPEEDIFF_ISA="$isa" "$@"; }
isa=
if run swift --version >/dev/null 2>&1; then echo "Swift is in sight" >&2 && exit 1; fi
if [ -z "${WHEEL_TEST_SEES_ALL:-}" ] && run python -c "import ctypes; ctypes.CDLL('libopenblas.so.0')" 2>/dev/null; then
  echo "OpenBLAS is in sight" >&2 && exit 1
fi
best=$(run speediff --version | sed -n 's|^library .*/\(x86-64-v.\)/.*|\1|p')
for isa in x86-64-v2 x86-64-v3 x86-64-v4; do
  run speediff --version
  run pytest "$@"
  if [ $isa = "$best" ]; then break; fi
done
