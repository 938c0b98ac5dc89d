"""Static pages: one HTML file with everything inside, that opens without a server and without a network."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from matplotlib.figure import Figure

from experiments.plots.style import figure_svg

__all__ = ["Drawn", "Section", "definitions", "details", "figure_html", "page", "table_html"]

_STYLE = """
:root { color-scheme: light; --ink: #1b1f24; --quiet: #59636e; --line: #d8dee4; --soft: #f6f8fa; --accent: #0072b2; }
* { box-sizing: border-box; }
body { margin: 0; font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  color: var(--ink); background: #fff; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 28px 64px; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; padding-top: .4rem;
  border-top: 1px solid var(--line); } h3 { font-size: 1rem; margin: 1.2rem 0 .4rem; }
p.lead { color: var(--quiet); margin: 0 0 1rem; } p.note { color: var(--quiet); font-size: .88rem; margin: .5rem 0; }
nav { font-size: .9rem; margin: .8rem 0 0; } nav a { margin-right: 1.1rem; color: var(--accent); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; margin: .4rem 0 .8rem; }
th, td { padding: .32rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { background: var(--soft); font-weight: 600; vertical-align: bottom; white-space: normal; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: inherit; }
thead th:first-child { background: var(--soft); }
tbody tr { background: #fff; } tbody tr:hover { background: var(--soft); }
td.lower { color: #00558a; font-weight: 600; } td.higher { color: #a84500; font-weight: 600; }
td .range { color: var(--quiet); display: block; font-size: .94em; }
figure { margin: 1rem 0 1.6rem; } figure img { max-width: 100%; height: auto; display: block; }
figcaption { color: var(--quiet); font-size: .88rem; margin-top: .3rem; max-width: 75ch; }
details { margin: .6rem 0; border: 1px solid var(--line); border-radius: 6px; padding: .4rem .8rem; }
summary { cursor: pointer; font-weight: 600; } pre { font: 12.5px/1.45 ui-monospace, Menlo, Consolas, monospace;
  overflow-x: auto; background: var(--soft); padding: .8rem; border-radius: 6px; }
dl { display: grid; grid-template-columns: max-content auto; gap: .2rem 1.2rem; margin: .4rem 0; font-size: .92rem; }
dt { color: var(--quiet); } dd { margin: 0; overflow-wrap: anywhere; }
@media print { main { max-width: none; padding: 0; } details { break-inside: avoid; } figure { break-inside: avoid; } }
"""


@dataclass(frozen=True)
class Drawn:
    """A figure of a page.

    Attributes
    ----------
    name
        Of its files.
    title, caption
        Above and below it.
    figure
        The picture.
    """

    name: str
    title: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class Section:
    """A part of a page: its headline and its HTML."""

    title: str
    body: str


def page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """A whole page; texts are escaped, bodies of sections are HTML already."""
    shown = [section for section in sections if section.body]
    links = "".join(f'<a href="#s{k}">{html.escape(section.title)}</a>' for k, section in enumerate(shown))
    parts = [f'<section><h2 id="s{k}">{html.escape(s.title)}</h2>{s.body}</section>' for k, s in enumerate(shown)]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body><main>\n"
        f'<h1>{html.escape(title)}</h1>\n<p class="lead">{html.escape(lead)}</p>\n<nav>{links}</nav>\n'
        + "\n".join(parts)
        + "\n</main></body>\n</html>\n"
    )


def table_html(
    columns: Sequence[tuple[str, Sequence[str]]], *, classes: Mapping[tuple[int, int], str] | None = None
) -> str:
    """A table from its columns; ``classes`` marks cells by (row, column)."""
    classes = classes or {}
    head = "".join(f"<th>{html.escape(name)}</th>" for name, _ in columns)
    rows = []
    for r, cells in enumerate(zip(*(cells for _, cells in columns), strict=True)):
        line = "".join(f"<td{_class(classes.get((r, c)))}>{_cell(text)}</td>" for c, text in enumerate(cells))
        rows.append(f"<tr>{line}</tr>")
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _class(name: str | None) -> str:
    return f' class="{name}"' if name else ""


def _cell(text: str) -> str:
    """A number, and its interval more quietly."""
    number, bracket, rest = text.partition(" [")
    escaped = html.escape(number)
    return f'{escaped} <span class="range">[{html.escape(rest)}</span>' if bracket else escaped


def figure_html(drawn: Drawn) -> str:
    """A figure inside the page, as a picture that scales."""
    data = base64.b64encode(figure_svg(drawn.figure, drawn.name)).decode("ascii")
    return (
        f"<h3>{html.escape(drawn.title)}</h3>"
        f'<figure><img alt="{html.escape(drawn.title)}" src="data:image/svg+xml;base64,{data}">'
        f"<figcaption>{html.escape(drawn.caption)}</figcaption></figure>"
    )


def details(summary: str, data: Any) -> str:
    """Plain data as YAML, folded away."""
    text = data if isinstance(data, str) else yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110)
    return f"<details><summary>{html.escape(summary)}</summary><pre>{html.escape(text)}</pre></details>"


def definitions(pairs: Mapping[str, object]) -> str:
    """Names and what they are."""
    return (
        "<dl>" + "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(str(v))}</dd>" for k, v in pairs.items()) + "</dl>"
    )
