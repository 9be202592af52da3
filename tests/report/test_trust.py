"""The section on certainty draws risk over coverage and, with a calibration, what it does."""

import pytest

from partreid.evaluation.trust import Trust, measure_trust
from partreid.report.content import Plot, Table
from partreid.report.trust import trust_section
from tests.evaluation.made_up import result
from tests.evaluation.test_trust import CHECK

RESULT = result("parts")


def test_the_section_draws_risk_and_where_there_is_a_calibration_reliability():
    plain = measure_trust(RESULT, None)
    sure = Trust(plain.answers, CHECK, 0.001, own_data=True)
    section = trust_section({"a": plain, "b": sure}, {"a": 0, "b": 1})
    plots = [i for b in section.blocks for i in b.items if isinstance(i, Plot)]
    assert [p.title for p in plots] == ["Holistic queries", "Occluded queries", "Match probability"]
    assert (
        plots[0].series[0].y[-1] == pytest.approx(1 - RESULT.query_sets[0].ranking.cmc[1])
        and plots[0].series[0].x[-1] == 1
    )
    (line,) = plots[2].series
    assert (line.name, line.x, line.y, line.slot) == ("b", (0.05, 0.55), (0.10, 0.50), 1) and plots[
        2
    ].even
    assert [m.label for m in line.marks] == ["70 pairs", "50 pairs"]
    table = [i for b in section.blocks for i in b.items if isinstance(i, Table)][-1]
    assert [c.value for c in table.rows[0][2]] == pytest.approx([0.001, 0.0008, 0.4, CHECK.ece])
    assert "not fitted on" in table.rows[0][1]
    assert not any("probability" in b.title for b in trust_section({"a": plain}, {"a": 0}).blocks)
