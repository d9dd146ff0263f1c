#!/bin/sh
# Uses the package with the oldest Python and the oldest dependencies that pyproject.toml allows: draws compared with the
# fixtures, methods, plans with their pictures, a training on pictures, resumed, and images generated from it. No PyTorch.
#
#   scripts/test-oldest.sh [PYTEST OPTION]...
#
# That Python is PYTHON310 (for 3.10), or python3.10 on the PATH, or one of pyenv's; where there is none, this says so.
# Needs the environment that `make` makes, to read pyproject.toml; the other one is .venv-oldest.
set -eu
cd "$(dirname "$0")/.."
venv=.venv-oldest

# The first line is the oldest Python, the others are the oldest dependencies of the package and of its commands.
minimums=$(.venv/bin/python - <<'PYTHON'
import tomllib
with open("python/pyproject.toml", "rb") as file:
    project = tomllib.load(file)["project"]
extras = project["optional-dependencies"]
print(project["requires-python"].removeprefix(">="))
for requirement in sorted({*project["dependencies"], *extras["cli"], *extras["train"]}):
    print(requirement.replace(">=", "=="))
PYTHON
)
version=$(echo "$minimums" | head -n 1)

python=""
for candidate in "$(printenv "PYTHON$(echo "$version" | tr -d .)" || true)" "python$version" \
  "$HOME"/.pyenv/versions/"$version".*/bin/python; do
  # A shim of pyenv's is on the PATH also where what it stands for is not chosen: asking it tells.
  found=$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true)
  if [ "$found" = "$version" ]; then python=$candidate && break; fi
done
if [ -z "$python" ]; then
  echo "Not tested with Python $version, the oldest allowed: there is none here (PYTHON$(echo "$version" | tr -d .)=… names one)"
  exit 0
fi

if [ "$(cat "$venv/minimums" 2>/dev/null)" != "$minimums" ]; then
  rm -rf "$venv"
  "$python" -m venv "$venv"
  echo "$minimums" | tail -n +2 >"$venv/constraints"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -c "$venv/constraints" \
    -e 'python[cli,train]' pytest hypothesis scipy mpmath
  echo "$minimums" >"$venv/minimums"
fi

echo "== $("$venv/bin/python" --version)," $(tail -n +2 "$venv/minimums")
cd python
"../$venv/bin/pytest" --disable-warnings "$@" \
  tests/test_draw.py tests/test_state.py tests/test_copies.py tests/test_method_list.py tests/test_weightings.py \
  tests/test_plan_methods.py tests/test_plan.py \
  tests/test_plots.py::test_the_ending_chooses_the_format_and_equal_plans_give_equal_files \
  tests/test_picture_folders.py tests/test_train_command.py tests/test_train_resume.py tests/test_generate_command.py
