"""What `make tables` renders: the shipped pages byte by byte, and every figure.

Sizes in print, nothing cut or covered, colours that all readers see.
"""

import importlib
import re
import shutil
import sys
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.text import Text
from PIL import Image

from sustainable.core.files import read_json
from sustainable.core.hashing import file_sha256
from sustainable.reporting import style
from sustainable.reporting.forecasting.audited_figures import RUNTIME_COLOURS, pareto_front
from sustainable.reporting.latex import blemishes_of, typeset
from sustainable.reporting.style import COLUMN, GREY, PAGE, PALETTE, SMALL, save_figures, styled
from sustainable.verification.tiers import shipped

SIMULATED = {  # Machado, Oliveira and Fernandes, doi:10.1109/TVCG.2009.113, severity 1, on linear RGB
    "protanomaly": [
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranomaly": [
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881],
    ],
    "tritanomaly": [
        [1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900],
    ],
}  # fmt: skip
XYZ_OF_RGB = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
DISTINCT = 10.0
"""Distance in CIELAB at which two colours side by side are easily told apart; 2.3 is just noticeable."""


def linear(colour):
    """Undo the gamma of sRGB."""
    rgb = np.array(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """CIELAB of linear RGB, white being (1, 1, 1)."""
    scaled = XYZ_OF_RGB @ np.clip(rgb, 0, 1) / XYZ_OF_RGB.sum(axis=1)
    root = np.where(scaled > (6 / 29) ** 3, np.cbrt(scaled), scaled / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


def distance(one, other, matrix):
    return float(np.linalg.norm(lab(matrix @ linear(one)) - lab(matrix @ linear(other))))


def test_the_simulator_knows_white_grey_and_the_colours_that_are_confused():
    assert lab(linear("white")) == pytest.approx([100, 0, 0], abs=1e-6)
    assert lab(linear("#777777"))[0] == pytest.approx(50.0, abs=0.2)
    for matrix in map(np.array, SIMULATED.values()):
        assert matrix.sum(axis=1) == pytest.approx([1, 1, 1], abs=1e-5)  # grey stays grey
    assert distance("#FF0000", "#8C7A00", np.eye(3)) > 60
    assert distance("#FF0000", "#8C7A00", np.array(SIMULATED["deuteranomaly"])) < 25


@pytest.mark.parametrize("name", ["normal", *SIMULATED])
def test_colours_differ_for_colour_blind_readers(name):
    matrix = np.array(SIMULATED[name]) if name in SIMULATED else np.eye(3)
    near = {
        pair: round(found, 1)
        for pair in combinations(PALETTE, 2)
        if (found := distance(*pair, matrix)) < DISTINCT
    }
    assert near == {}


def test_runtimes_differ_in_grey_or_by_their_mark():
    assert len(set(RUNTIME_COLOURS.values())) == len(RUNTIME_COLOURS)
    assert len(set(style.MARKS)) == len(style.MARKS) >= len(PALETTE)


@pytest.fixture(scope="module")
def figures(rendered):
    return rendered.figures


@pytest.fixture(scope="module")
def rendered(project, shared_reports, tmp_path_factory):
    """The folder into which `make tables` renders, and every figure of it by name."""
    folder, drawn = tmp_path_factory.mktemp("tables"), {}

    def keep(figures, folder, stamp):
        resolutions = {name: figure.dpi for name, figure in figures.items()}
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(style.plt, "close", lambda figure: None)
            names = save_figures(figures, folder, stamp)
        for name, figure in figures.items():
            figure.set_dpi(resolutions[name])  # a picture has another one
            figure.set_layout_engine("constrained")
            figure.draw_without_rendering()  # places legends and ticks
        drawn.update(figures)
        return names

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(plt.rcParams, "figure.max_open_warning", 0)  # all stay open for the tests
        for module in ("forecasting.figures", "forecasting.source_figures", "forecasting.audited_figures",
                       "policies.figures", "headline"):  # fmt: skip
            patch.setattr(f"sustainable.reporting.{module}.save_figures", keep)
        patch.setattr("report.report_on", shipped.report_on)  # computed once for all tests
        patch.setattr("report.compile_paper", lambda *_: "")  # the test of its pages does that
        patch.setattr(sys, "argv", command_of_tables(project, folder))
        patch.chdir(project)
        importlib.import_module("report").main()
    yield SimpleNamespace(figures=drawn, folder=folder)
    plt.close("all")


def command_of_tables(project, folder):
    """The script and its arguments that the Makefile gives `make tables`, with another folder."""
    recipe = re.search(r"@python (stages/report\.py (?:.*\\\n)*.*)", (project / "Makefile").read_text())
    return recipe.group(1).replace("\\\n", " ").replace("shipped", str(folder)).split()


def test_the_shipped_claims_follow_from_the_shipped_rows(project, rendered):
    reference = project / "data/reference"
    assert (rendered.folder / "claims.json").read_bytes() == (reference / "claims.json").read_bytes()
    for name in ("benchmark.json", "headline.json"):
        assert (rendered.folder / name).read_bytes() == (reference / "metrics" / name).read_bytes()
    assert "not evidence" not in (rendered.folder / "report.html").read_text()


def test_equal_rows_give_equal_pages_and_figures_byte_by_byte(project, rendered):
    artifacts = read_json(project / "data/reference/manifest.json")["artifacts"]
    pages = {path: entry for path, entry in artifacts.items() if path.startswith("paper/")}
    figures = [path for path in pages if path.startswith("paper/figures/")]
    assert {Path(path).suffix for path in figures} == {".pdf", ".png"}
    for path in [*figures, *(path for path in pages if path.endswith((".tex", ".html")))]:
        own = rendered.folder / path.removeprefix("paper/")
        assert file_sha256(own) == pages[path]["sha256"], path


def shown_texts(figure):
    """Visible texts that are not empty, with their extents in pixels."""
    renderer = figure.canvas.get_renderer()
    hidden = [text for axis in figure.axes if not axis.get_visible() for text in axis.findobj(Text)]
    hidden += [text for axis in figure.axes for text in beyond_the_ends(axis)]
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    return [(text, Text.get_window_extent(text, renderer)) for text in texts if text not in hidden]


def beyond_the_ends(axis):
    """Labels of ticks that lie beyond the ends of an axis: Matplotlib keeps them, but does not draw them."""
    for side in (axis.xaxis, axis.yaxis):
        low, high = sorted(side.get_view_interval())
        for tick in [*side.get_major_ticks(), *side.get_minor_ticks()]:
            if not low <= tick.get_loc() <= high or not side.get_visible():
                yield from (tick.label1, tick.label2)


def test_every_figure_has_the_width_of_a_column_or_of_the_page(figures):
    widths = {name: figure.get_figwidth() for name, figure in figures.items()}
    assert {name: w for name, w in widths.items() if w not in (COLUMN, PAGE)} == {}


def test_no_text_is_small_and_none_is_cut(figures):
    small, cut = [], []
    for name, figure in figures.items():
        for text, box in shown_texts(figure):
            if text.get_fontsize() < SMALL:
                small.append((name, text.get_text()))
            width, height = figure.bbox.width, figure.bbox.height
            if box.x0 < -1 or box.y0 < -1 or box.x1 > width + 1 or box.y1 > height + 1:
                cut.append((name, text.get_text()))
    assert (small, cut) == ([], [])


def test_no_two_texts_overlap(figures):
    overlapping = [
        (name, one.get_text(), other.get_text())
        for name, figure in figures.items()
        for (one, box), (other, beside) in combinations(shown_texts(figure), 2)
        if not (one.get_rotation() % 90 or other.get_rotation() % 90)
        and min(box.x1, beside.x1) - max(box.x0, beside.x0) > 1
        and min(box.y1, beside.y1) - max(box.y0, beside.y0) > 2
    ]
    assert overlapping == []


def test_no_legend_lies_on_data_and_no_panel_is_empty(figures):
    covered, empty = [], []
    for name, figure in figures.items():
        renderer = figure.canvas.get_renderer()
        panels = [axis for axis in figure.axes if axis.get_visible() and axis.axison]
        legends = [*figure.legends, *(axis.get_legend() for axis in figure.axes if axis.get_legend())]
        for axis in panels:
            frame = axis.get_window_extent(renderer)
            if not axis.has_data():
                empty.append(name)
            for legend in legends:
                box = legend.get_window_extent(renderer)
                across = min(box.x1, frame.x1) - max(box.x0, frame.x0)
                along = min(box.y1, frame.y1) - max(box.y0, frame.y0)
                if across > 1 and along > 1:
                    covered.append(name)
    assert (covered, empty) == ([], [])


def test_figures_use_the_colours_of_the_style_sheet_only(figures):
    known = {to_hex(colour) for colour in (*PALETTE, GREY, "white", "black")}
    strange = {
        (name, to_hex(line.get_color()))
        for name, figure in figures.items()
        for axis in figure.axes
        for line in axis.get_lines()
        if to_hex(line.get_color()) not in known
    }
    assert strange == set()


@pytest.fixture
def small_figure():
    with styled():
        figure, axis = plt.subplots(figsize=(COLUMN, 1.0))
        axis.plot([0, 1], label="a")
    return figure


def test_files_hold_outlines_of_fonts_and_enough_pixels(tmp_path, small_figure):
    save_figures({"f": small_figure}, tmp_path, "")
    content = (tmp_path / "f.pdf").read_bytes()
    assert b"/Type3" not in content
    assert b"/Subtype /Type0" in content or b"/Subtype /TrueType" in content
    with Image.open(tmp_path / "f.png") as picture:
        assert picture.width == pytest.approx(160 * COLUMN, abs=1)


def test_labels_of_lines_keep_their_distance():
    with styled():
        _, axis = plt.subplots(figsize=(COLUMN, 1.0))
        axis.set_ylim(0, 1)
        style.label_lines(axis, [(0.5, "b", "black"), (0.49, "a", "black"), (0.9, "c", "black")], gap=0.1)
    places = {text.get_text(): text.get_position()[1] for text in axis.texts}
    assert places == pytest.approx({"a": 0.49, "b": 0.59, "c": 0.9})


def test_the_front_holds_what_no_other_beats():
    rows = pd.DataFrame({"cost": [1, 2, 2, 3, 4], "gain": [0.5, 0.4, 0.7, 0.7, 0.9], "name": list("abcde")})
    assert pareto_front(rows, "cost", "gain")["name"].tolist() == ["a", "c", "e"]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX on this host")
def test_the_paper_has_at_most_ten_pages_before_its_appendix_and_a_clean_log(project, rendered, tmp_path):
    assert typeset(rendered.folder, project / "paper/references.bib", tmp_path) is None
    assert blemishes_of((tmp_path / "paper.log").read_text(errors="replace")) == []
    appendix = re.search(r"newlabel\{sec:artifact\}\{\{A\}\{(\d+)\}", (tmp_path / "paper.aux").read_text())
    assert int(appendix[1]) <= 11
    assert ".600pk" not in (tmp_path / "paper.log").read_text(errors="replace")  # a font of pixels


def test_wide_boxes_and_lost_references_are_blemishes():
    log = (
        "Overfull \\hbox (4.9pt too wide) in paragraph at lines 1--2\n"
        "Overfull \\hbox (5.1pt too wide) in paragraph at lines 3--4\n"
        "Overfull \\vbox (61.0pt too high) has occurred\n"
        "LaTeX Warning: Reference `tab:x' on page 1 undefined on input line 3.\n"
        "Package natbib Warning: Citation `y' on page 1 undefined on input line 9.\n"
        "LaTeX Warning: Label `tab:z' multiply defined.\n"
    )
    assert [line[:16] for line in blemishes_of(log)] == [
        "Overfull \\hbox (", "Overfull \\vbox (", "LaTeX Warning: R", "Package natbib W", "LaTeX Warning: L",
    ]  # fmt: skip
