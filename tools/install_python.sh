#!/usr/bin/env bash
# install_python.sh SITE PYTHON: makes the wheel of the package that CMake staged in SITE and installs it into PYTHON's
# environment, where anything in it has changed. The wheel, its tag and its metadata are scikit-build-core's, as those of
# `pip install .`, which builds the library anew; here it is the one that is there already.
set -euo pipefail
cd "$(dirname "$0")/.."
site=$1 python=$2 wheels=${1%/*}/python-wheel
digest() {
    { "$python" -c 'import sys; print(sys.prefix)'
      find "$site" pyproject.toml README.md LICENSE -type f ! -name '*.pyc' -print0 | sort -z | xargs -0 cksum; } | cksum
}
now=$(digest)
if [ "$(cat "$wheels/installed" 2>/dev/null)" = "$now" ] && "$python" -c \
    'import importlib.metadata as m, sys; sys.exit(not m.distribution("benben").locate_file("benben/__init__.py").exists())' 2>/dev/null
then
    exit 0
fi
rm -rf "$wheels"
mkdir -p "$wheels/source/python" # a project of its own: git ignores what is in build/, and so does scikit-build-core
cp pyproject.toml README.md LICENSE "$wheels/source"
cp -R "$site/benben" "$wheels/source/python"
pip=("$python" -m pip --disable-pip-version-check)
"${pip[@]}" wheel -q --no-build-isolation --no-deps --no-index --wheel-dir "$wheels" \
    -C wheel.cmake=false -C wheel.platlib=true "$wheels/source" &&
    "${pip[@]}" install -q --no-deps --no-index --force-reinstall "$wheels"/*.whl
rm -rf "$wheels/source"
echo "$now" >"$wheels/installed"
ls "$wheels"/*.whl
