# Sourced by benchmarks/run, calibrate, check, docs and test: finds a Python that runs, and sets up a virtual environment once.
# POSIX sh; expects to stand at the root of the checkout.

# Variables that would bring in other code; and without bytecode each process of a test compiles all that it imports.
unset PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE

# What builds the package (pyproject.toml, [build-system]), where that happens without a network.
build_requirements='meson-python>=0.16 ninja numpy click'

say() { echo "$(basename "$0"): $*" >&2; }

# Does it run, is it 3.11 or newer, and of the version asked for? pyenv leaves shims of versions that do not run.
suits() {
    found=$("$1" -c 'import sys; print("%d.%d.%d." % sys.version_info[:3] * (sys.version_info >= (3, 11)))' \
        2>/dev/null) || return 1
    case $found in
    '') return 1 ;;
    "${2:+$2.}"*) return 0 ;;
    *) return 1 ;;
    esac
}

# Debian ships what makes virtual environments in a package of its own.
makes_environments() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

# find_python [VERSION]: prints an interpreter, or says what is missing and fails with 3.
find_python() {
    without_venv=
    for candidate in ${PYTHON:+"$PYTHON"} python3 python "python${1:-3.13}" python3.12 python3.11 python3.14 \
        "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"${1:-3}"*/bin/python3; do
        suits "$candidate" "${1:-}" || continue
        if makes_environments "$candidate"; then
            command -v "$candidate"
            return
        fi
        without_venv=$candidate
    done
    if [ -n "$without_venv" ]; then
        say "$(command -v "$without_venv") cannot make virtual environments: its venv or ensurepip module is" \
            "missing. Install them (Debian and Ubuntu: apt install python3-venv) and run this again."
    else
        say "No Python ${1:-3.11 or newer} was found. Install one, or name it: PYTHON=/path/to/python3 $0"
    fi
    return 3
}

# set_up FOLDER PYTHON EXTRAS PIP-ARGUMENT...: makes the environment, with what the project and these extras of it
# (`calibrate,share`) need, unless it already stands just so. The project itself is built once, by install_package.
set_up() {
    folder=$1 interpreter=$2 extras=$3
    shift 3
    wish="$PWD $("$interpreter" -c 'import sys; print(sys.executable, *sys.version.split())') $(cksum <pyproject.toml) $extras $*"
    if [ -x "$folder/bin/python" ] && [ "$(cat "$folder/stamp" 2>/dev/null)" = "$wish" ]; then
        return
    fi
    say "Setting up $folder (once; a minute or two) ..."
    builder=
    if "$interpreter" -m venv --clear "$folder" && install "$folder" --upgrade 'pip>=25.1' &&
        dependencies "$interpreter" "$extras" >"$folder/requirements.txt" &&
        case "$*" in *"$build_requirements"*) start_build "$folder" ;; esac &&
        install "$folder" -r "$folder/requirements.txt" "$@"; then
        [ -z "$builder" ] || wait "$builder" || : # install_package tries again, and says why
        echo "$wish" >"$folder/stamp"
    else
        say "$folder could not be set up; the reason stands above. Nothing else was changed: run this again."
        return 3
    fi
}

# install FOLDER PIP-ARGUMENT...: without --no-compile pip compiles 12,000 files, one after another, of which few are
# ever imported.
install() {
    into=$1/bin/python
    shift
    "$into" -m pip install --quiet --disable-pip-version-check --no-compile "$@"
}

# start_build FOLDER: builds the package while the other packages arrive; `builder` is the process.
start_build() {
    install "$1" $build_requirements || return
    build_wheel "$1" >/dev/null 2>&1 &
    builder=$!
}

# dependencies PYTHON EXTRAS: prints what pyproject.toml names, one a line.
dependencies() {
    "$1" -c 'import sys, tomllib
with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)["project"]
extras = [project["optional-dependencies"][extra] for extra in sys.argv[1].split(",")]
print(*project["dependencies"], *sum(extras, []), sep="\n")' "$2"
}

# set_up_tests PYTHON: makes the environment of tests and checks, and puts its folder into `environment`.
set_up_tests() {
    environment=.venv-test-$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    set_up "$environment" "$1" calibrate,share --group test --group check $build_requirements
}

# install_package FOLDER [PIP-ARGUMENT...]: installs the package into an environment that set_up made, if any of its files
# has changed since.
install_package() {
    version=$(package_version "$@")
    if [ "$(cat "$1/package" 2>/dev/null)" = "$version" ]; then
        return
    fi
    build_wheel "$@" || { say "The package could not be built; the reason stands above." && return 3; }
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall build/wheel/*.whl
    echo "$version" >"$1/package"
}

# build_wheel FOLDER [PIP-ARGUMENT...]: builds the package into build/wheel with an environment that set_up made, unless
# the wheel there is of these files. A C core is built if there is a compiler.
build_wheel() {
    if [ "$(cat build/wheel/version 2>/dev/null)" = "$(package_version "$@")" ]; then
        return
    fi
    folder=$1
    shift
    rm -rf build/wheel "build/wheel.$$"
    # meson and ninja are commands of the environment
    PATH="$PWD/$folder/bin:$PATH" "$folder/bin/python" -m pip wheel --quiet --disable-pip-version-check --no-deps \
        --no-build-isolation --wheel-dir "build/wheel.$$" "$@" . || return
    package_version "$folder" "$@" >"build/wheel.$$/version"
    mv "build/wheel.$$" build/wheel
}

# package_version FOLDER [PIP-ARGUMENT...]: prints what tells the files of the package, and how it is built, from others.
package_version() {
    "$1/bin/python" -c 'import sys; print(sys.version)'
    shift
    find src profiles meson.build meson.options pyproject.toml scripts/list_package.py scripts/write_manuals.py \
        -type f ! -name '*.pyc' ! -name '*.so' -exec cksum {} + | sort | cksum
    echo "$*"
}
