"""Plain documents become profiles only if every field is what it must be; the published JSON Schema
agrees."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from support.profile_builders import make_entry, profile, with_evidence

import autotune.profiles.profile_document
from autotune.errors import ProfileError
from autotune.model.entry import Status
from autotune.model.operation import Operation
from autotune.profiles.lookup import Level
from autotune.profiles.profile_document import decode_profile, encode_profile
from autotune.profiles.yaml_subset import parse
from autotune.profiles.yaml_writer import text_of

PUBLISHED = json.loads(Path(autotune.profiles.profile_document.__file__).with_name("profile.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(PUBLISHED)

GOOD = profile(
    make_entry("command.simulate", choice={"blas_threads": 1}),
    make_entry("log", choice={"workers": 8, "chunk": 65536}, n=10_000_000),
    make_entry("qr", choice={"blas_threads": 1}, safe=(1, 2), m=128, n=128),
    make_entry("qr", safe=(2,), m=2048, n=2048),
    make_entry("share", choice={"workers": 2, "method": "memfd"}, n=1000),
    make_entry("simulate", status=Status.NOISY, n=7),
    make_entry(
        "solve",
        choice={"blas_threads": 1},
        others=[({"blas_threads": 1}, 1 / 0.5), ({"blas_threads": 4}, 1 / 0.6)],
        n=9,
    ),
    with_evidence(make_entry("temporaries", choice={"allocator": "retain"}, n=1000), retained_bytes=2**27),
    with_evidence(make_entry("var", n=1000), hosts=3, signer="site", contested=True, created="2026", resolution=0.01),
)


WAITING = replace(GOOD, blas_wait=20, loops_after_blas={"functions": 1_000_000})


@pytest.mark.parametrize("made", [GOOD, WAITING], ids=["without a wait policy", "with a wait policy"])
def test_a_profile_comes_back_from_its_document(made):
    document = encode_profile(made)
    assert decode_profile(document) == made
    VALIDATOR.validate(document)
    read = decode_profile(parse(text_of(made).encode()))
    assert (read.blas_wait, read.loops_after_blas) == (made.blas_wait, made.loops_after_blas)


def test_the_published_schema_is_one_and_accepts_what_we_write():
    jsonschema.Draft202012Validator.check_schema(PUBLISHED)
    VALIDATOR.validate(encode_profile(GOOD))


def test_the_published_schemas_are_those_of_the_code():
    from write_schemas import schemas, text_of

    for path, schema in schemas().items():
        assert path.read_text("utf-8") == text_of(schema), "run scripts/write_schemas.py"


def test_every_field_of_the_published_schema_is_described():
    kinds = {name: kind for name, kind in PUBLISHED["$defs"].items() if "properties" in kind}
    fields = {f"{name}.{inner}": value for name, kind in kinds.items() for inner, value in kind["properties"].items()}
    assert {name for name, value in fields.items() if "description" not in value} == set()


def test_a_newer_schema_asks_for_a_newer_autotune():
    with pytest.raises(ProfileError, match="newer autotune"):
        decode_profile({**encode_profile(GOOD), "schema": 3})


def test_unknown_fields_are_ignored():
    """A later minor version may add some."""
    document = copy.deepcopy(encode_profile(GOOD))
    document["new"] = {"a": 1}
    document["key"]["hardware"]["new"] = 1
    document["operations"]["qr"]["float64"][0]["new"] = [1]
    assert decode_profile(document) == GOOD
    VALIDATOR.validate(document)


def test_null_is_the_same_as_nothing():
    document = copy.deepcopy(encode_profile(GOOD))
    document["key"]["hardware"]["l3_bytes"] = None
    document["operations"]["qr"]["float64"][1]["choice"] = None
    assert decode_profile(document).key.hardware.l3_bytes is None
    VALIDATOR.validate(document)


ENTRY = ("operations", "log", "float64", 0)
EVIDENCE = (*ENTRY, "evidence")
BAD = [
    ((), [], "the profile: expected a mapping"),
    (("schema",), "1", "schema: expected a whole number"),
    (("schema",), True, "schema: expected a whole number"),
    (("schema",), None, "schema: it is missing"),
    (("schema",), 0, "schema"),
    (("key",), None, "key: it is missing"),
    (("key", "hardware"), "x", "key.hardware: expected a mapping"),
    (("key", "hardware", "model"), "143", "key.hardware.model: expected a whole number"),
    (("key", "hardware", "model"), True, "found True"),
    (("key", "hardware", "packages"), 0, "from 1 to"),
    (("key", "software", "numpy"), 2.4, "key.software.numpy: expected text .numbers such as versions in quotes"),
    (("key", "software", "ilp64"), "yes", "true or false"),
    (("key", "usable_cpus"), 0, "usable_cpus: expected a whole number from 1"),
    (("key", "usable_cpus"), 2.5, "found 2.5"),
    (("key", "limit"), "moon", "expected one of none, affinity"),
    (("key", "limit"), ["none"], "expected one of"),
    (("provenance",), [], "provenance: expected a mapping"),
    (("provenance", "seed"), 1.5, "provenance.seed"),
    (("provenance", "resolution"), -0.1, "at least 0"),
    (("provenance", "scrubbed"), "OMP_NUM_THREADS", "provenance.scrubbed: expected a list"),
    (("provenance", "scrubbed"), [1], r"scrubbed\[0\]: expected text"),
    (("blas_wait",), 3, "blas_wait: expected a whole number from 4 to 30"),
    (("blas_wait",), 31, "blas_wait: expected a whole number from 4 to 30"),
    (("blas_wait",), "long", "blas_wait: expected a whole number"),
    (("loops_after_blas",), [1], "loops_after_blas: expected a mapping"),
    (("loops_after_blas",), {"functions": 0}, "loops_after_blas.functions: expected a whole number from 1"),
    (("operations",), None, "operations: it is missing"),
    (("operations", "../etc"), {}, "expected a name like"),
    (("operations", "Svd"), {}, "expected a name like"),
    (("operations", "x" * 65), {}, "expected a name like"),
    (("operations", "log", "float16"), [], "one of float64, float32, complex128, complex64"),
    (("operations", "log", "float64"), {}, "expected a list"),
    (("operations", "log", "float64", 0), 3, r"log.float64\[0\]: expected a mapping"),
    ((*ENTRY, "sizes"), None, "sizes: it is missing"),
    ((*ENTRY, "sizes", "n"), 0, "sizes.n: expected a whole number from 1"),
    ((*ENTRY, "sizes", "n"), 2**48 + 1, "sizes.n"),
    ((*ENTRY, "sizes", "N"), 1, "expected a name like"),
    ((*ENTRY, "status"), "great", "expected one of tuned"),
    ((*ENTRY, "reason"), None, "reason: it is missing"),
    ((*ENTRY, "choice"), None, "expected a configuration with status tuned, found nothing"),
    ((*ENTRY, "choice"), {}, "at least one of its fields"),
    ((*ENTRY, "choice", "blas_threads"), 4097, "choice.blas_threads: expected a whole number from 1 to 4096"),
    ((*ENTRY, "choice", "workers"), True, "choice.workers"),
    (
        (*ENTRY, "choice", "LD_PRELOAD"),
        "x.so",
        "choice.LD_PRELOAD: there is no such field; the fields are blas_threads",
    ),
    ((*ENTRY, "choice", "method"), "telepathy", "telepathy"),
    ((*ENTRY, "choice", "allocator"), 3, "choice.allocator: expected one of default"),
    (("operations", "qr", "float64", 1, "choice"), {"workers": 2}, "expected nothing with status default-kept"),
    ((*EVIDENCE, "speedup"), 0, "speedup: expected a number above 0"),
    ((*EVIDENCE, "speedup"), "0.5", "evidence.speedup: expected a number"),
    ((*EVIDENCE, "interval"), [0.5], "a list of 2 items"),
    ((*EVIDENCE, "interval"), 0.5, "a list of 2 items"),
    ((*EVIDENCE, "full_capacity_share"), 1.5, "at most 1"),
    ((*ENTRY, "evidence"), 3, "evidence: expected a mapping"),
    ((*EVIDENCE, "default_seconds"), -1.0, "evidence.default_seconds"),
    ((*EVIDENCE, "pairs"), -1, "evidence.pairs"),
    ((*EVIDENCE, "default_threads"), 0, "evidence.default_threads"),
    ((*EVIDENCE, "retained_bytes"), -1, "evidence.retained_bytes"),
    ((*EVIDENCE, "safe_threads"), [0], r"safe_threads\[0\]"),
    ((*ENTRY, "alternatives"), {}, "alternatives: expected a list"),
    ((*ENTRY, "alternatives"), [{"speedup": 2.0}], r"alternatives\[0\].choice: it is missing"),
    ((*ENTRY, "alternatives"), [{"choice": {"workers": 2}}], r"alternatives\[0\].speedup: it is missing"),
    ((*ENTRY, "alternatives"), [{"choice": {"path": "x"}, "speedup": 1.0}], "choice.path: there is no such field"),
    ((*ENTRY, "alternatives"), [{"choice": {}, "speedup": 1.0}], "at least one of its fields"),
]


def changed(document, path, value):
    if not path:
        return value
    document = copy.deepcopy(document)
    node = document
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    return document


@pytest.mark.parametrize(("path", "value", "message"), BAD, ids=range(len(BAD)))
def test_a_wrong_field_is_named_with_what_is_expected_and_the_published_schema_agrees(path, value, message):
    document = changed(encode_profile(GOOD), path, value)
    with pytest.raises(ProfileError, match=message):
        decode_profile(document)
    assert not VALIDATOR.is_valid(document)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_must_be_finite(number):
    with pytest.raises(ProfileError, match="expected a number"):
        decode_profile(changed(encode_profile(GOOD), (*EVIDENCE, "speedup"), number))


@pytest.mark.parametrize("sizes", [{}, {"m": 5}, {"n": 5, "k": 5}])
def test_an_entry_has_the_sizes_of_its_operation(sizes):
    """The plans of loops and the report compute with them: without them no program would be tuned at all."""
    with pytest.raises(ProfileError, match=r"log.float64\[0\].sizes: expected the sizes n"):
        decode_profile(changed(encode_profile(GOOD), (*ENTRY[:2], "float64", 0, "sizes"), sizes))


def test_a_configuration_without_a_value_is_none():
    """It would be written as one without fields, which is refused."""
    alternatives = [{"choice": {"workers": None}, "speedup": 1.0}]
    with pytest.raises(ProfileError, match="at least one of its fields"):
        decode_profile(changed(encode_profile(GOOD), (*ENTRY, "alternatives"), alternatives))


def test_a_size_cannot_stand_twice():
    entries = encode_profile(GOOD)["operations"]["log"]["float64"] * 2
    with pytest.raises(ProfileError, match="stands twice"):
        decode_profile(changed(encode_profile(GOOD), ("operations", "log", "float64"), entries))


def test_the_lower_end_of_an_interval_comes_first():
    with pytest.raises(ProfileError, match="lower one first"):
        decode_profile(changed(encode_profile(GOOD), (*EVIDENCE, "interval"), [0.6, 0.5]))


def test_the_example_of_the_documentation_is_a_profile():
    text = (Path(__file__).parents[2] / "docs" / "profile-format.md").read_text()
    example = parse(text.split("```yaml\n")[1].split("```")[0].encode())
    assert decode_profile(example).entries[0].operation == Operation(name="qr", sizes=(("m", 128), ("n", 128)))
    VALIDATOR.validate(example)


def test_every_level_is_documented():
    text = (Path(__file__).parents[2] / "docs" / "profile-format.md").read_text()
    assert [level for level in Level if f"| `{level}` |" not in text] == []
