"""What is killed hard on a Ray cluster at any instant costs nothing that had ended."""

import pytest
from raylets import why_not
from trust import kills_ray
from trust.cases import cases

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
    pytest.mark.timeout(300),
]


@pytest.mark.parametrize("check", cases(kills_ray.CHECKS, long=("kill-ray-head",)))
def test_a_search_on_a_cluster_that_loses_its_parts_goes_on_and_has_lost_nothing(check, tmp_path):
    check.try_few(tmp_path)
