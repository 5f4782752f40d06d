"""The base of the data types that apply() loads."""

import pickle

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
