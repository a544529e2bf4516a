"""Draws the flow charts of our pages, a small part of Mermaid's language, as SVG: from top to bottom, in layers.

Where the repository is shown, Mermaid draws the same text. Its script has 3 MB and would have to be loaded from
elsewhere; what our charts need of it is a layered layout (Sugiyama et al., 1981):

1. The layer of a node is the length of the longest path to it.
2. Edges over several layers get a waypoint on each layer between. The label of an edge is a node without a frame.
3. Nodes of a layer are ordered by the mean position of their neighbours, again and again; the order with the fewest
   crossings is kept.
4. Their positions are as close to those of their neighbours as distances allow: isotonic regression.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from itertools import combinations, pairwise

NODE = re.compile(r'\s*(\w+)(?:\(\("?(?P<circle>[^"()]+)"?\)\)|\["(?P<quoted>[^"]+)"\]|\[(?P<bare>[^"\]]+)\])?\s*')
ARROW = re.compile(r'\s*(?:-->|--\s*"?(?P<solid>[^"]+?)"?\s*-->|-\.\s*"?(?P<dotted>[^"]+?)"?\s*\.->)\s*')
LINE, WIDEST, GAP, RISE = 17, 24, 22, 30  # height of a line, its characters, distances between nodes and layers


@dataclass(eq=False)
class Node:
    """A box, a circle, a label, or a waypoint of an edge (without text)."""

    text: str = ""
    shape: str = "box"
    group: str = ""
    layer: int = 0
    x: float = 0
    y: float = 0
    above: list[Node] = field(default_factory=list)
    below: list[Node] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        """The text, cut into lines at blanks."""
        lines: list[str] = []
        for word in self.text.split():
            if lines and len(lines[-1]) + len(word) < WIDEST:
                lines[-1] += f" {word}"
            else:
                lines.append(word)
        return lines

    @property
    def size(self) -> tuple[float, float]:
        """Width and height; letters are as wide as in common sans-serif fonts of 14 pixels."""
        if not self.text:
            return 2, 0
        if self.shape == "circle":
            return 28, 28
        frame = 22 if self.shape == "box" else 6
        return max(map(len, self.lines)) * 7.4 + frame, len(self.lines) * LINE + frame * 0.7


@dataclass
class Chart:
    """A parsed chart.

    Attributes:
        nodes: Nodes that the text names, and labels.
        edges: Source, target, and whether the line is dotted; an edge with a label is two.
        titles: Titles of the groups.
    """

    nodes: dict[str, Node]
    edges: list[tuple[Node, Node, bool]]
    titles: dict[str, str]


def parse(text: str) -> Chart:
    """Reads ``flowchart``, nodes ``a["text"]`` and ``a(("+"))``, chains of arrows with labels, and ``subgraph``.

    Raises:
        ValueError: A line has something else.
    """
    chart = Chart({}, [], {})
    group = ""
    for line in map(str.strip, text.strip().splitlines()[1:]):
        if begun := re.fullmatch(r'subgraph (\w+)(?:\["(.+)"\])?', line):
            group = begun[1]
            chart.titles[group] = begun[2] or group
        elif line == "end":
            group = ""
        elif line:
            _read_chain(line, group, chart)
    return chart


def _read_chain(line: str, group: str, chart: Chart) -> None:
    before: Node | None = None
    place, dotted = 0, False
    while place < len(line):
        found = NODE.match(line, place)
        if found is None:
            raise ValueError(f"no flow chart that can be drawn: {line!r} at {line[place:]!r}")
        node = chart.nodes.setdefault(found[1], Node(found[1], group=group))
        if shown := found["circle"] or found["quoted"] or found["bare"]:
            node.text, node.shape = shown, "circle" if found["circle"] else "box"
        if before:
            chart.edges.append((before, node, dotted))
        before, place = node, found.end()
        arrow = ARROW.match(line, place)
        if arrow is None:
            if place < len(line):
                raise ValueError(f"no flow chart that can be drawn: {line!r} at {line[place:]!r}")
            return
        place, dotted = arrow.end(), arrow["dotted"] is not None
        if said := arrow["solid"] or arrow["dotted"]:
            label = Node(said, "label", group)
            chart.nodes[f"label {len(chart.nodes)}"] = label
            chart.edges.append((before, label, dotted))
            before = label


def lay_out(chart: Chart) -> list[list[Node]]:
    """Gives every node its place, and returns the layers, waypoints included."""
    for _ in chart.nodes:
        for source, target, _ in chart.edges:
            target.layer = max(target.layer, source.layer + 1)
    for node in chart.nodes.values():  # what nothing leads to stands right above what it leads to
        after = [target.layer for source, target, _ in chart.edges if source is node]
        if after and not any(target is node for _, target, _ in chart.edges):
            node.layer = min(after) - 1
    layers: list[list[Node]] = [[] for _ in range(1 + max(node.layer for node in chart.nodes.values()))]
    for node in chart.nodes.values():
        layers[node.layer].append(node)
    for source, target, _ in chart.edges:
        path = [source, *(Node(layer=layer, group="") for layer in range(source.layer + 1, target.layer)), target]
        for waypoint in path[1:-1]:
            layers[waypoint.layer].append(waypoint)
        for one, other in pairwise(path):
            one.below.append(other)
            other.above.append(one)
    _order(layers)
    _place(layers)
    return layers


def _order(layers: list[list[Node]]) -> None:
    best, fewest = [list(layer) for layer in layers], _crossings(layers)
    for turn in range(24):
        down = turn % 2 == 0
        for layer, fixed in pairwise(layers if down else layers[::-1]):
            place = {node: index for index, node in enumerate(layer)}
            now = {node: index for index, node in enumerate(fixed)}
            wish = {}
            for node in fixed:
                ends = [place[other] for other in (node.above if down else node.below)]
                wish[node] = sum(ends) / len(ends) if ends else float(now[node])
            groups = {node.group for node in fixed if node.group}
            means = {g: [wish[n] for n in fixed if n.group == g] for g in groups}
            near = {n: sum(means[n.group]) / len(means[n.group]) if n.group else wish[n] for n in fixed}
            fixed.sort(key=lambda n: (near[n], wish[n], now[n]))
        if _crossings(layers) < fewest:
            best, fewest = [list(layer) for layer in layers], _crossings(layers)
    layers[:] = best


def _crossings(layers: list[list[Node]]) -> int:
    count = 0
    for upper, lower in pairwise(layers):
        place = {node: index for index, node in enumerate(lower)}
        edges = [(index, place[other]) for index, node in enumerate(upper) for other in node.below]
        count += sum((a - c) * (b - d) < 0 for (a, b), (c, d) in combinations(edges, 2))
    return count


def _place(layers: list[list[Node]]) -> None:
    top = 0.0
    for layer in layers:
        height = max(node.size[1] for node in layer)
        for node in layer:
            node.y = top + height / 2
        top += height + RISE
        _spread(layer, [0.0] * len(layer))
    for turn in range(40):
        for layer in layers if turn % 2 == 0 else layers[::-1]:
            near = [[other.x for other in node.above + node.below] for node in layer]
            _spread(layer, [sum(xs) / len(xs) if xs else node.x for xs, node in zip(near, layer, strict=True)])


def _spread(layer: list[Node], wishes: list[float]) -> None:
    """Places nodes as near to the wishes as their order and distances allow (pool adjacent violators)."""
    offsets = [0.0]
    for one, other in pairwise(layer):
        apart = GAP * 2 if one.group != other.group else GAP
        offsets.append(offsets[-1] + (one.size[0] + other.size[0]) / 2 + apart)
    blocks: list[tuple[float, int]] = []
    for wish, offset in zip(wishes, offsets, strict=True):
        value, count = wish - offset, 1
        while blocks and blocks[-1][0] >= value:
            mean, size = blocks.pop()
            value, count = (mean * size + value * count) / (size + count), size + count
        blocks.append((value, count))
    values = [value for value, count in blocks for _ in range(count)]
    for node, value, offset in zip(layer, values, offsets, strict=True):
        node.x = value + offset


def svg(text: str, name: str) -> str:
    """Draws a chart.

    Args:
        text: The chart, in Mermaid's language.
        name: What it is called within its page; readers who hear the page are told its nodes.
    """
    chart = parse(text)
    dotted = {(source, target) for source, target, dots in chart.edges if dots}
    layers = lay_out(chart)
    nodes = [node for layer in layers for node in layer]
    parts = [_group(title, [n for n in nodes if n.group == group]) for group, title in chart.titles.items()]
    for node in nodes:
        if not node.text:
            continue
        for start in node.below:
            path = [node, start]
            while not path[-1].text:
                path.append(path[-1].below[0])
            kind = "edge dotted" if (node, path[-1]) in dotted else "edge"
            head = "" if path[-1].shape == "label" else f' marker-end="url(#{name}-head)"'
            parts.append(f'<path class="{kind}" d="{_curve(path)}"{head}/>')
    parts += [_shape(node) for node in nodes if node.text]
    left, right = (min(n.x - n.size[0] / 2 for n in nodes) - 14, max(n.x + n.size[0] / 2 for n in nodes) + 14)
    rise = 34 if chart.titles else 14  # the titles of groups stand above them
    height = max(node.y + node.size[1] / 2 for node in nodes) + 14 + rise
    told = html.escape("A flow chart: " + ", ".join(node.text for node in nodes if node.text), quote=True)
    return (
        f'<svg class="drawing" role="img" aria-label="{told}" width="{right - left:.0f}" height="{height:.0f}"'
        f' viewBox="{left:.0f} {-rise} {right - left:.0f} {height:.0f}" xmlns="http://www.w3.org/2000/svg">'
        f'<defs><marker id="{name}-head" class="head" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="8"'
        f' markerHeight="8" orient="auto-start-reverse"><path d="M0 0 8 4 0 8z"/></marker></defs>{"".join(parts)}</svg>'
    )


def _port(node: Node, other: Node, below: bool) -> float:
    """Returns where an edge meets a node: edges to one side are spread over its width."""
    others = sorted(node.below if below else node.above, key=lambda each: each.x)
    if not node.text or len(others) < 2 or node.shape == "circle":
        return node.x
    step = min(18, (node.size[0] - 16) / (len(others) - 1))
    return node.x + (others.index(other) - (len(others) - 1) / 2) * step


def _curve(path: list[Node]) -> str:
    """Returns a smooth line through the waypoints of a path, which begins and ends upright."""
    first, *between, last = path
    points = [
        (_port(first, path[1], True), first.y + first.size[1] / 2),
        *((node.x, node.y) for node in between),
        (_port(last, path[-2], False), last.y - last.size[1] / 2),
    ]
    slopes = [0.0, *((c[0] - a[0]) / (c[1] - a[1]) for a, c in zip(points, points[2:], strict=False)), 0.0]
    parts = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for (a, b), (before, after) in zip(pairwise(points), pairwise(slopes), strict=True):
        third = (b[1] - a[1]) * (0.4 if between else 0.5)
        parts.append(
            f"C{a[0] + before * third:.1f} {a[1] + third:.1f} {b[0] - after * third:.1f} {b[1] - third:.1f}"
            f" {b[0]:.1f} {b[1]:.1f}"
        )
    return "".join(parts)


def _group(title: str, inside: list[Node]) -> str:
    left, right = min(n.x - n.size[0] / 2 for n in inside) - 12, max(n.x + n.size[0] / 2 for n in inside) + 12
    top, bottom = min(n.y - n.size[1] / 2 for n in inside) - 12, max(n.y + n.size[1] / 2 for n in inside) + 12
    size = f'width="{right - left:.1f}" height="{bottom - top:.1f}"'
    return (
        f'<rect class="group" x="{left:.1f}" y="{top:.1f}" {size} rx="8"/>'
        f'<text class="title" x="{left:.1f}" y="{top - 6:.1f}">{html.escape(title)}</text>'
    )


def _shape(node: Node) -> str:
    width, height = node.size
    parts = []
    if node.shape == "circle":
        parts.append(f'<circle class="node" cx="{node.x:.1f}" cy="{node.y:.1f}" r="14"/>')
    elif node.shape == "box":
        place = f'x="{node.x - width / 2:.1f}" y="{node.y - height / 2:.1f}" width="{width:.1f}" height="{height:.1f}"'
        parts.append(f'<rect class="node" {place} rx="6"/>')
    first = node.y - (len(node.lines) - 1) * LINE / 2 + 5
    for number, line in enumerate(node.lines):
        kind = "label" if node.shape == "label" else "text"
        y = first + number * LINE
        parts.append(f'<text class="{kind}" x="{node.x:.1f}" y="{y:.1f}">{html.escape(line)}</text>')
    return "".join(parts)
