from __future__ import annotations

import re
from itertools import combinations, pairwise
from pathlib import Path

import pytest

from docs.extensions.flowchart import GAP, lay_out, parse, svg

CHARTS = [
    (path.stem, chart)
    for path in sorted((Path(__file__).parents[2] / "docs" / "systems").glob("*.md"))
    for chart in re.findall(r"```mermaid\n(.*?)```", path.read_text(encoding="utf-8"), flags=re.DOTALL)
]
CHART = """
flowchart TB
    a["first [x ; y]"] --> b[second] -- "said" --> c(("+"))
    a -. "may" .-> c
    subgraph inside["a group"]
        d --> c
    end
"""


def test_a_chart_is_read() -> None:
    chart = parse(CHART)
    named = {name: (node.text, node.shape, node.group) for name, node in chart.nodes.items()}
    assert named == {
        "a": ("first [x ; y]", "box", ""),
        "b": ("second", "box", ""),
        "c": ("+", "circle", ""),
        "d": ("d", "box", "inside"),
        "label 2": ("said", "label", ""),
        "label 4": ("may", "label", ""),
    }
    edges = [(source.text, target.text, dotted) for source, target, dotted in chart.edges]
    assert edges == [
        ("first [x ; y]", "second", False),
        ("second", "said", False),
        ("said", "+", False),
        ("first [x ; y]", "may", True),
        ("may", "+", True),
        ("d", "+", False),
    ]
    assert chart.titles == {"inside": "a group"}


@pytest.mark.parametrize("line", ["a ==> b", "a --> {b}", "style a fill:red", "a[b"])
def test_what_cannot_be_drawn_is_an_error(line: str) -> None:
    with pytest.raises(ValueError, match="no flow chart that can be drawn"):
        parse(f"flowchart TB\n{line}")


def test_edges_lead_down_layer_by_layer() -> None:
    layers = lay_out(parse(CHART))
    texts = [{node.text for node in layer if node.text} for layer in layers]
    assert texts == [
        {"first [x ; y]"},
        {"second", "may"},
        {"said", "d"},
        {"+"},
    ]  # d stands right above what it leads to
    for upper, lower in pairwise(layers):
        for node in upper:
            assert set(node.below) <= set(lower)
            assert all(node in other.above for other in node.below)
            assert all(node.y < other.y for other in node.below)


def test_few_edges_cross() -> None:
    layers = lay_out(parse("flowchart TB\n a --> d\n b --> c\n e --> f"))
    places = [{node.text: node.x for node in layer} for layer in layers]
    assert [places[0][one] < places[0][two] for one, two in combinations("abe", 2)] == [
        places[1][one] < places[1][two] for one, two in combinations("dcf", 2)
    ]


@pytest.mark.parametrize(("name", "chart"), CHARTS, ids=[name for name, _ in CHARTS])
def test_the_nodes_of_our_charts_do_not_overlap(name: str, chart: str) -> None:
    for layer in lay_out(parse(chart)):
        for one, other in pairwise(layer):
            assert other.x - one.x >= (one.size[0] + other.size[0]) / 2 + GAP - 1e-6, (one.text, other.text)


def test_text_is_escaped() -> None:
    drawn = svg('flowchart TB\n a["x < y & z"] --> b', "chart")
    assert "x &lt; y &amp; z" in drawn
    assert drawn.count('<path class="edge"') == 1


def test_each_system_with_a_page_has_a_chart() -> None:
    assert len(CHARTS) == 6
