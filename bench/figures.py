"""What a measurement becomes: rows of a table, saved samples, histograms as text and as SVG."""

import dataclasses
import json
import math
import pathlib

QUANTILES = (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0))
BINS_PER_DECADE = 5
BAR_WIDTH = 40
COLOURS = ("#1b6ca8", "#d1495b", "#2e8b57", "#8a6d3b", "#666666")


@dataclasses.dataclass
class Figure:
    """One row. `reference` is what `ours` is held against (the floor, a peer, the program alone) and `goal` the ratio of the two that is aimed at: at most so
    much, or at least where more is better. Neither where there is nothing to compare with; a figure that could not be taken has only a note."""
    name: str
    ours: float | None = None
    reference: float | None = None
    unit: str = "us"
    reference_name: str = "floor"
    goal: float | None = None
    more_is_better: bool = False
    note: str = ""

    @property
    def ratio(self):
        return self.ours / self.reference if self.ours is not None and self.reference else None

    @property
    def met(self):
        if self.goal is None or self.ratio is None:
            return None
        return self.ratio >= self.goal if self.more_is_better else self.ratio <= self.goal

    def cells(self):
        goal = "" if self.goal is None else f"{'>=' if self.more_is_better else '<='} {self.goal:g}"
        met = {True: "met", False: "NOT MET", None: ""}[self.met]
        reference = "" if self.reference is None else f"{number(self.reference)} {self.unit} ({self.reference_name})"
        ours = "" if self.ours is None else f"{number(self.ours)} {self.unit}"
        return (self.name, ours, reference, "" if self.ratio is None else f"{self.ratio:.2f}", goal, met, self.note)

    def as_json(self):
        return {**dataclasses.asdict(self), "ratio": self.ratio, "met": self.met}


HEADER = ("figure", "ours", "against", "ratio", "goal", "", "remark")


def number(value):
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def quantile(values, share):
    """The smallest value that is not exceeded by `share` of them; None of none."""
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * share) - 1, 0)] if ordered else None


def median(values):
    return quantile(values, 0.5)


def table_lines(header, rows):
    widths = [max(len(str(row[i])) for row in [header, *rows]) for i in range(len(header))]
    for row in [header, ["-" * width for width in widths], *rows]:
        yield "| " + " | ".join(str(cell).ljust(width) for cell, width in zip(row, widths)) + " |"


def summary_lines(series):
    """Median and tail of each of {name: values}."""
    rows = [(name, len(values), *(number(quantile(values, share)) for _, share in QUANTILES)) for name, values in series.items() if values]
    return table_lines(("us", "samples", *(name for name, _ in QUANTILES)), rows)


def bin_of(value):
    return math.floor(math.log10(max(value, 0.1)) * BINS_PER_DECADE)


def bin_start(index):
    return 10 ** (index / BINS_PER_DECADE)


def histogram(values):
    """{bin: how many}, every bin between the first and the last."""
    counts = {}
    for value in values:
        counts[bin_of(value)] = counts.get(bin_of(value), 0) + 1
    return {index: counts.get(index, 0) for index in range(min(counts), max(counts) + 1)} if counts else {}


def histogram_lines(series):
    """The histograms of {name: values} one under the other, by powers of ten in five steps."""
    for name, values in series.items():
        counts = histogram(values)
        if not counts:
            continue
        yield f"{name}, us"
        most = max(counts.values())
        for index, count in counts.items():
            bar = "#" * max(round(count / most * BAR_WIDTH), 1 if count else 0)
            yield f"  {number(bin_start(index)):>8} - {number(bin_start(index + 1)):>8}  {count:>7} {bar}"


def svg(title, series):
    """A drawing: for each series the share of samples in each bin, over a logarithmic axis of microseconds."""
    shares = {name: {index: count / len(values) for index, count in histogram(values).items()} for name, values in series.items() if values}
    if not shares:
        return ""
    first = min(min(bins) for bins in shares.values()) - 1
    last = max(max(bins) for bins in shares.values()) + 2
    highest = max(max(bins.values()) for bins in shares.values())
    left, top, width, height = 50, 40, 700, 300

    def x(index):
        return left + (index - first) / (last - first) * width

    def y(share):
        return top + height - share / highest * height

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="800" height="{top + height + 60 + 18 * len(shares)}" font-family="sans-serif" font-size="12">',
             '<rect width="100%" height="100%" fill="white"/>', f'<text x="{left}" y="22" font-size="15">{title}</text>',
             f'<path d="M{left} {top} V{top + height} H{left + width}" fill="none" stroke="black"/>']
    for index in range(first, last + 1):
        if index % BINS_PER_DECADE == 0:
            parts.append(f'<path d="M{x(index):.1f} {top} V{top + height}" stroke="#ddd"/>'
                         f'<text x="{x(index):.1f}" y="{top + height + 16}" text-anchor="middle">{bin_start(index):g} us</text>')
    parts.append(f'<text x="{left - 6}" y="{top + 4}" text-anchor="end">{highest:.0%}</text>')
    for place, (name, bins) in enumerate(shares.items()):
        colour = COLOURS[place % len(COLOURS)]
        path = f"M{x(first):.1f} {y(0):.1f} " + " ".join(f"V{y(bins.get(index, 0)):.1f} H{x(index + 1):.1f}" for index in range(first, last))
        at = top + height + 40 + 18 * place
        parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
                     f'<path d="M{left} {at - 4} h24" stroke="{colour}" stroke-width="3"/><text x="{left + 32}" y="{at}">{name} (median {number(median(series[name]))} us)</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


class Results:
    """Where samples, histograms and drawings go: a file a benchmark and kind."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)

    def save(self, name, series):
        """{what: samples} of one benchmark, as they are."""
        (self.directory / f"{name}.json").write_text(json.dumps(series) + "\n")

    def save_pauses(self, name, series):
        """The same for times in microseconds: with histogram, drawing and a table of the tails, which is returned."""
        self.save(name, series)
        lines = list(summary_lines(series))
        (self.directory / f"{name}.txt").write_text("\n".join([name, "", *lines, "", *histogram_lines(series)]) + "\n")
        (self.directory / f"{name}.svg").write_text(svg(name, series))
        return lines
