"""The base of the data types that apply() loads."""

import pickle
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import ClassVar

import pytest

from autotune.model.record import Record


class Area(Record):
    elements: int
    placement: str = ""


def test_fields_are_given_by_place_or_name_and_default():
    area = Area(3, placement="cores")
    assert (area.elements, area.placement, Area(elements=3).placement) == (3, "cores", "")
    assert repr(area) == "Area(elements=3, placement='cores')"


@pytest.mark.parametrize(
    ("values", "named"), [((), {}), ((1, "a", 2), {}), ((1,), {"elements": 2}), ((1,), {"width": 2})]
)
def test_missing_doubled_and_unknown_fields_are_refused(values, named):
    with pytest.raises(TypeError, match="Area takes the fields elements, placement"):
        Area(*values, **named)


def test_records_are_values():
    area = Area(3)
    assert area == Area(3, "")
    assert area != Area(4)
    assert len({area, Area(3), pickle.loads(pickle.dumps(area))}) == 1
    assert area.replace(elements=5) == Area(5)
    with pytest.raises(AttributeError, match="elements cannot be changed"):
        area.elements = 4


class NamedArea(Area, kw_only=True):
    STRICT: ClassVar[bool] = True
    name: str
    counts: Mapping[str, int] = {}


def test_a_record_may_be_derived_and_ask_for_names():
    area = NamedArea(elements=3, name="left")
    assert (area.elements, area.placement, area.name, area.counts) == (3, "", "left", {})
    with pytest.raises(TypeError, match="elements, placement, name, counts"):
        NamedArea(3, name="left")


def test_functions_of_dataclasses_take_a_record():
    area = NamedArea(elements=3, name="left")
    assert replace(Area(3), elements=4) == Area(4)
    assert replace(area, name="right") == area.replace(name="right") != area
    assert asdict(area) == {"elements": 3, "placement": "", "name": "left", "counts": {}}
    assert [field.name for field in fields(Area)] == ["elements", "placement"]
