"""Structure of the package: imports, files, names, dependencies, and the page that describes it."""

import ast
import re
import tomllib
from collections import Counter
from functools import cache
from importlib.metadata import requires
from importlib.resources import files
from pathlib import Path

import pytest
from support.programs import printed

import autotune
from autotune.errors import EXTRAS

PACKAGE = Path(autotune.__file__).parent
ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src" / "autotune"
MODULES = sorted(PACKAGE.rglob("*.py"))
HEAVY = ("numpy", "optuna", "yaml", "rich", "scipy", "psutil", "threadpoolctl", "click")


def loaded_by(statement):
    """Which of the heavy modules a fresh interpreter has loaded after a statement."""
    code = f"import sys\n{statement}\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    return set(printed(code).split())


@cache
def tree(path):
    """The syntax tree of a file, parsed once for all tests."""
    return ast.parse(path.read_text("utf-8"))


def words_by_file(modules, words):
    """The words that a function gives for each of these files, without files that it gives none for."""
    return {str(path): sorted(those) for path in modules if (those := set(words(path)))}


def names_bound(module):
    """Every name that a module binds or passes: variables, attributes, functions, classes, arguments."""
    for node in ast.walk(tree(module)):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.arg(arg=str(name)) | ast.keyword(arg=str(name)) | ast.alias(asname=str(name)):
                yield name


def names_called(module):
    """Every plain name, and every name in a module, that a module calls."""
    for node in ast.walk(tree(module)):
        match node:
            case ast.Call(func=ast.Name(id=name)):
                yield name
            case ast.Call(func=ast.Attribute(value=ast.Name(id=home), attr=name)):
                yield f"{home}.{name}"


@pytest.mark.real
def test_import_autotune_loads_nothing_heavy():
    assert loaded_by("import autotune") == set()


@pytest.mark.real
def test_apply_loads_nothing_of_the_workshop(tmp_path, monkeypatch):
    for variable in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    assert loaded_by("import autotune; autotune.apply()") <= {"numpy", "threadpoolctl", "yaml"}


@pytest.mark.real
def test_run_starts_its_command_without_numpy_and_ctypes(tmp_path, monkeypatch):
    """From the second time on, with the answer of the first one: the command waits for whatever is imported."""
    for variable in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    code = """
        import os, sys
        from autotune.cli.program import main
        os.execvpe = lambda *_: print(*sorted({"autotune.cli.run", "ctypes", "numpy"} & set(sys.modules)))
        sys.argv = ["autotune", "run", "-q", "--", "true"]
        main()
    """
    assert "numpy" in printed(code)
    assert printed(code).split() == ["autotune.cli.run"]


def test_the_import_contracts_hold():
    from importlinter.cli import lint_imports

    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), cache_dir=None, no_cache=True) == 0


def test_no_two_files_import_each_other_even_for_types():
    from graphlib import TopologicalSorter

    from grimp import build_graph

    graph = build_graph("autotune")
    # the public interface names every package for type checkers
    modules = graph.modules - {"autotune"}
    imports = {module: graph.find_modules_directly_imported_by(module) & modules - {module} for module in modules}
    assert TopologicalSorter(imports).prepare() is None


def test_only_the_command_line_prints_or_exits():
    others = [path for path in MODULES if PACKAGE / "cli" not in path.parents]
    # a trial's process ends with os._exit: nothing that its work left behind may run
    ends = {"print", "sys.exit", "exit", "quit", "SystemExit"}
    assert words_by_file(others, lambda module: ends.intersection(names_called(module))) == {}


def test_the_code_does_not_speak_of_where_it_was_made():
    places = re.compile(r"/work/|/tmp/|issue #?\d|part [A-F]\b")
    assert words_by_file(MODULES, lambda module: places.findall(module.read_text("utf-8"))) == {}


SCRIPTS = sorted([*(ROOT / "scripts").rglob("*.py"), *(ROOT / "tests" / "support").rglob("*.py")])


def test_no_name_of_several_words_mixes_capitals_and_small_letters():
    """A constant such as LARGEST_number is left by a replacement gone wrong, and no rule of ruff finds it."""

    def mixed(module):
        words = (name.strip("_") for name in names_bound(module))
        return (name for name in words if "_" in name and name not in {name.upper(), name.lower()})

    assert words_by_file([*MODULES, *SCRIPTS], mixed) == {}


def test_every_file_that_the_architecture_page_names_exists():
    page = (PACKAGE / "README.md").read_text("utf-8")
    named = set(re.findall(r"`((?:\w+/)+\w+\.(?:py|c))\b", page))
    assert named
    roots = (SOURCES, ROOT)
    assert {name for name in named if not any((root / name).is_file() for root in roots)} == set()


def test_every_package_is_on_the_map_and_every_package_on_the_map_exists():
    page = (PACKAGE / "README.md").read_text("utf-8")
    on_the_map = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} | {"errors"}
    assert on_the_map == packages


def imports_from_packages(module):
    """Pairs of a package and a module of it that this module imports from."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("autotune."):
            package, _, name = node.module.removeprefix("autotune.").partition(".")
            names = [name.partition(".")[0]] if name else [alias.name for alias in node.names]
            yield from ((package, each) for each in names if (PACKAGE / package / f"{each}.py").is_file())


def test_the_map_names_every_module_that_other_packages_use():
    page = (PACKAGE / "README.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \|(.*)$", page, re.MULTILINE))
    used = {
        (package, name)
        for module in MODULES
        for package, name in imports_from_packages(module)
        if module.parent != PACKAGE and module.relative_to(PACKAGE).parts[0] != package
    }
    assert used
    unnamed = {pair for pair in used if not re.search(rf"\b{pair[1]}\b", rows[pair[0]])}
    assert {pair for pair in unnamed if pair[0] != "model"} == set()  # of which the map offers every module


VERB_LINES = 25


def test_every_verb_of_the_command_line_is_short():
    """Parse, plan, run, write, render: what takes more has a function of its own."""
    long = {}
    for path in sorted((PACKAGE / "cli").glob("*.py")):
        for node in ast.walk(tree(path)):
            decorators = [ast.unparse(each) for each in getattr(node, "decorator_list", ())]
            if isinstance(node, ast.FunctionDef) and any(".command" in each for each in decorators):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
                long |= {f"{path.name}: {node.name}": lines} if lines > VERB_LINES else {}
    assert long == {}


def test_the_changelog_starts_with_this_version():
    versions = re.findall(r"^## \[([\d.]+)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert versions[0] == autotune.__version__


def test_the_package_ships_its_types_and_its_schema():
    assert files("autotune").joinpath("py.typed").is_file()
    assert files("autotune.profiles").joinpath("profile.schema.json").is_file()


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def package_names(requirements):
    return {re.split(r"[><=;]", requirement)[0] for requirement in requirements}


def test_every_dependency_is_installed_with_the_project():
    assert package_names(PROJECT["dependencies"]) <= package_names(requires("numpy-autotune") or [])


def test_a_program_that_applies_profiles_needs_four_packages_on_linux():
    on_linux = [name for name in PROJECT["dependencies"] if "!= 'linux'" not in name]
    assert package_names(on_linux) == {"numpy", "threadpoolctl", "pyyaml", "click"}


def test_the_sentence_about_a_missing_package_knows_the_extras():
    extras = {name: package_names(packages) for name, packages in PROJECT["optional-dependencies"].items()}
    assert {name: set(packages) for name, packages in EXTRAS.items()} == extras


def test_nothing_installs_the_project_by_its_name_from_an_index():
    """Until a release, any package may have this name there."""
    parts = [ROOT / "README.md", *(ROOT / part for part in ("docs", "examples", "src", "scripts", "profiles"))]
    files = [part for part in parts if part.is_file()] + [
        path for part in parts for path in part.rglob("*") if path.is_file()
    ]
    texts = {path: path.read_text("utf-8", "replace") for path in files if path.suffix != ".so"}
    by_name = re.compile(r"""\b(pip|pipx|uv|conda) [^\n`]*\b(install|add)\b[^\n`]*[\s"'](numpy-)?autotune(?![\w/.-])""")
    assert {path: match[0] for path, text in texts.items() if (match := by_name.search(text))} == {}


def test_no_two_test_files_have_one_name():
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(set(names)) == sorted(names)


def test_no_test_imports_a_test():
    """Parts that several tests share are in tests/support."""
    tests = sorted((ROOT / "tests").rglob("test_*.py"))
    names = {path.stem for path in tests}

    def imported_tests(path):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                modules = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                yield from names.intersection(module.rpartition(".")[2] for module in modules)

    assert words_by_file(tests, imported_tests) == {}


def test_no_test_reaches_a_private_name_of_the_package():
    """A seam that a test needs is a parameter, or a name that the package offers."""
    private = {name for module in MODULES for name in names_bound(module) if re.fullmatch(r"_[a-z]\w*[a-z0-9]", name)}
    private -= {"_core", "_find_libraries_with_dl_iterate_phdr"}  # a module, as NumPy's; and a method of threadpoolctl

    def reached(path):
        for node in ast.walk(tree(path)):
            match node:
                case ast.Attribute(value=ast.Name(id="self" | "cls")):
                    pass
                case ast.Attribute(attr=name):
                    yield from private.intersection([name])
                case ast.ImportFrom(names=names):
                    yield from private.intersection(alias.name for alias in names)
                case ast.Call(func=ast.Attribute(attr="setattr"), args=[_, ast.Constant(value=str(name)), *_]):
                    yield from private.intersection([name])
                case ast.Constant(value=str(program)):  # or the name of an attribute with its module
                    yield from private.intersection(re.findall(r"\w\.(_\w+)", program))

    tests = sorted((ROOT / "tests").rglob("*.py"))
    assert words_by_file(tests, reached) == {}


def test_every_class_name_has_one_meaning():
    places = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(path.name)
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


SHARED_FILE_NAMES = {
    "__init__.py": "a package",
    "store.py": "the backend-independent store, and the verb that users call it by",
    "explain.py": "the public function, and the verb that prints what it returns",
}
"""File names that several packages have, each with the reason."""


def test_a_file_name_tells_its_package():
    names = Counter(path.name for path in PACKAGE.rglob("*.py"))
    assert {name for name, count in names.items() if count > 1} == SHARED_FILE_NAMES.keys()
