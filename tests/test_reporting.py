import re
from functools import partial
from types import SimpleNamespace

import jinja2
import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from judging import PARAMETERS, analysis_of, judged
from sustainable.core.errors import UserError
from sustainable.reporting import latex
from sustainable.reporting.forecasting.discovery import summarise_discovery
from sustainable.reporting.forecasting.figures import draw_published
from sustainable.reporting.forecasting.published_claims import (
    PUBLISHED_CLAIMS,
    judge_accuracy,
    judge_discovery,
    judge_published_proxies,
)
from sustainable.reporting.forecasting.results import (
    ROW_COLUMNS,
    accuracy_difference,
    net_energy_mwh,
    pay_back,
    summarise_rows,
)
from sustainable.reporting.forecasting.source import published_numbers
from sustainable.reporting.formats import (
    difference_text,
    fixed,
    interval_text,
    share_text,
    small_ratio_text,
    spread_text,
)
from sustainable.reporting.measured_rows import stamp_of
from sustainable.reporting.parameters import ReportParameters
from sustainable.reporting.tables import (
    NOT_AVAILABLE,
    UNCHANGED,
    Code,
    Column,
    ReportTable,
    Row,
    Spanning,
    Struck,
    VerdictText,
    claims_table,
)
from sustainable.reporting.templates import (
    Latex,
    cell_html,
    cell_latex,
    escape_latex,
    render_html,
    render_latex,
)
from sustainable.statistics import CONFIRMED, INCONCLUSIVE, NOT_TESTABLE, REFUTED, Estimate, Summary

MODELS = {  # configuration: hash, cost of a window relative to the baseline
    "baseline": ("aaaa", 1.0),
    "manual_pruning": ("aaaa", 1.0),
    "manual_quantization": ("bbbb", 0.5),
    "agent_optimized": ("bbbb", 0.5),
    "published_choice": ("bbbb", 0.5),
    "baseline_twin": ("aaaa", 1.0),
}
ACTIONS = pd.DataFrame(
    {
        "action": range(16),
        "name": [f"n{a}" for a in range(16)],
        "reward": [0.0] * 8 + [2.5] * 8,
        "pruning": [a % 8 / 10 for a in range(16)],
        "quantization": [a >= 8 for a in range(16)],
        "parameters": 100,
        "weights_sha256": ["aaaa"] * 8 + ["bbbb"] * 8,
        "proxy_parameters": [100] * 8 + [0] * 8,
        "proxy_flops": [50] * 8 + [0] * 8,
    }
)
BEST = {
    "actions_sharing_best_reward": list(range(8, 16)),
    "best_seen": {"action": 9, "first_sampled_at_step": 2},
    "policy": {"action": 11},
    "actions": 16,
    "best_reward": 2.5,
}


def make_rows(evidence="modelled-load", profile="paper", blocks=15, factor=None, flagged=()):
    """Rows of a design in which a forecast costs as `MODELS` (or `factor`) says, with 0.5 % of noise."""
    rng = np.random.default_rng(0)
    rows = []
    for block in range(blocks):
        for key, (sha, cost) in MODELS.items():
            cost = (factor or {}).get(key, cost) * (1 + 0.005 * rng.standard_normal())
            if (block, key) in flagged:
                cost *= 3
            rows.append(
                dict.fromkeys(ROW_COLUMNS, 1)
                | {
                    "configuration": key, "block": block, "profile": profile, "name": key[:2], "loops": 1,
                    "runtime": "torch-eager", "precision": "fp32", "weights_sha256": sha, "windows": 100,
                    "latency_ms": cost, "cpu_time_ms": cost, "cpu_time_s": cost / 10,
                    "wall_time_s": cost / 10,
                    "energy_mwh": cost / 1000, "cpu_j": cost, "ram_j": 2 * cost, "cpu_evidence": evidence,
                    "ram_evidence": "modelled-constant", "meter": "test", "note": "assumed 8 W at full load",
                    "flags": "neighbours" if (block, key) in flagged else None,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def make_hits(**correct):
    """100 test windows, of which each configuration gets the first 70 right (or as many as are named)."""
    counts = dict.fromkeys(MODELS, 70) | {"persistence": 80} | correct
    return pd.DataFrame(
        {"first_day": range(100)} | {name: [i < n for i in range(100)] for name, n in counts.items()}
    )


def summarised(rows, **correct):
    return summarise_rows(rows, make_hits(**correct), PARAMETERS)


@pytest.fixture(scope="module")
def published(project):
    return yaml.safe_load((project / "paper/published.yaml").read_text())["study_a"]


def discovered(actions, tied=range(8, 16), updates=0):
    """Searches that report `actions`."""
    repeated = pd.DataFrame({"action": actions, "step": range(len(actions)), "updates": updates})
    return summarise_discovery(repeated, list(tied), 16, 11)


def verdicts(rows, published):
    results = {"published": summarised(make_rows(blocks=10)), "remeasured": summarised(rows)}
    claims = judged(
        PUBLISHED_CLAIMS,
        published["claims"],
        results=results,
        actions=ACTIONS,
        best_action=BEST,
        source=published_numbers(published),
        discovery=discovered([8] * 50 + [11] * 50),
        parameters=PARAMETERS,
    )
    return {name: claim.verdict for name, claim in claims.items()}, claims


def test_equal_models_are_named_and_ratios_are_right():
    results = summarised(make_rows())
    same = {key: line.same_as for key, line in results.lines.items()}
    assert same == {
        "baseline": None, "manual_pruning": "baseline", "manual_quantization": None,
        "agent_optimized": "manual_quantization", "published_choice": "manual_quantization",
        "baseline_twin": "baseline",
    }  # fmt: skip
    quantized = results.lines["manual_quantization"]
    assert quantized.compared["latency_ms"].ratio.estimate == pytest.approx(0.5, rel=0.01)
    assert quantized.compared["cpu_time_ms"].p_holm <= 0.02
    assert quantized.compared["cpu_time_ms"].p_equivalence > 0.99
    assert results.lines["agent_optimized"].compared["cpu_time_ms"].p_holm is None  # not in the family
    control = results.twin["cpu_time_ms"]
    assert control.ratio.low < 1 < control.ratio.high
    assert control.p_equivalence < 0.001
    assert 0.002 < control.detectable < 0.01  # 0.7 % of noise in a difference, 0.78 of it for 15 blocks
    assert quantized.watts_range == (pytest.approx(0.5, rel=0.01), pytest.approx(0.5, rel=0.01))
    assert results.ram_share == pytest.approx(2 / 3)
    assert (results.blocks, results.flagged, results.assumptions) == (15, 0, "assumed 8 W at full load")
    assert stamp_of([results]) == ""


def test_idle_windows_are_no_configuration():
    rows = make_rows(blocks=12)
    idle = rows[rows["configuration"] == "baseline"].assign(configuration="idle", windows=0, energy_mwh=None)
    results = summarised(pd.concat([rows, idle]))
    assert "idle" not in results.lines
    assert results.energy_missing == 0


def test_energy_net_of_idle_by_hand():
    rows = make_rows("counter", blocks=12)
    rows["energy_mwh"], rows["latency_ms"] = 2.0, 1000.0  # 7.2 J in a second
    idle = rows[rows["configuration"] == "baseline"].assign(
        configuration="idle",
        cpu_j=3.6,
        ram_j=0.0,
        wall_time_s=2.0,
        windows=0,
        energy_mwh=None,
        latency_ms=None,
    )
    net = net_energy_mwh(pd.concat([rows, idle], ignore_index=True))
    assert net[:-12].to_list() == pytest.approx([1.5] * (len(net) - 12))  # the idle host takes 1.8 W
    assert net[-12:].isna().all()
    assert net_energy_mwh(rows).isna().all()


def test_every_page_says_what_is_no_evidence():
    smoke, fake = (summarised(make_rows(**kind)) for kind in ({"profile": "smoke"}, {"evidence": "fake"}))
    assert stamp_of([smoke]) == "smoke run, not evidence"
    assert stamp_of([summarised(make_rows()), smoke, fake]) == "fake energy, smoke run, not evidence"


def test_a_family_that_was_not_measured_is_refused():
    wrong = ReportParameters(**(vars(PARAMETERS) | {"comparisons": ["distillation"]}))
    with pytest.raises(UserError, match=r"report\.comparisons: 'distillation'"):
        summarise_rows(make_rows(), make_hits(), wrong)


def test_the_same_weights_under_another_runtime_are_another_configuration():
    rows = make_rows()
    rows.loc[rows["configuration"] == "agent_optimized", "runtime"] = "onnxruntime"
    results = summarised(rows)
    assert results.lines["agent_optimized"].same_as is None
    assert results.lines["published_choice"].same_as == "manual_quantization"


def test_a_lost_or_doubled_row_is_refused():
    rows = make_rows()
    with pytest.raises(UserError, match=r"block 0, configuration 'manual_pruning' occurs 0 times"):
        summarised(rows.drop(index=1))
    with pytest.raises(UserError, match=r"occurs 2 times"):
        summarised(pd.concat([rows, rows.iloc[[3]]]))
    with pytest.raises(UserError, match="'baseline_twin' is missing"):
        summarised(rows[rows["configuration"] != "baseline_twin"])


def test_modelled_energy_carries_no_energy_claim(published):
    found, claims = verdicts(make_rows(), published)
    assert found == {"A1": CONFIRMED, "A2": NOT_TESTABLE, "A3": REFUTED, "A4": CONFIRMED, "A5": REFUTED}
    assert claims["A3"].parts == {
        "latency, direction": CONFIRMED,
        "latency, size": REFUTED,  # a saving of a half is not one of 4.3 %
        "energy, direction": NOT_TESTABLE,
        "energy, size": NOT_TESTABLE,
    }
    assert "A2 and A3 cannot both hold" in claims["A3"].reason


def test_counted_energy_does(published):
    def judged_with(**factor):
        return verdicts(make_rows("counter", factor=factor), published)[1]

    claims = judged_with()  # int8 costs a half
    assert claims["A2"].parts == {"direction": REFUTED, "size": REFUTED}
    assert claims["A3"].parts["energy, direction"] == claims["A3"].parts["latency, direction"] == CONFIRMED
    assert claims["A3"].parts["energy, size"] == claims["A3"].parts["latency, size"] == REFUTED
    claims = judged_with(manual_quantization=1.2, published_choice=1.2)
    assert claims["A2"].parts == {"direction": CONFIRMED, "size": REFUTED}
    assert set(claims["A3"].parts.values()) == {REFUTED}
    as_published = {"manual_quantization": 1.0164, "published_choice": 0.96}
    claims = judged_with(**as_published)
    assert (claims["A2"].verdict, claims["A3"].verdict) == (INCONCLUSIVE, CONFIRMED)
    assert claims["A2"].parts["direction"] == CONFIRMED  # its size, 1.6 %, needs more blocks
    _, claims = verdicts(make_rows("counter", blocks=60, factor=as_published), published)
    assert (claims["A2"].verdict, claims["A3"].verdict) == (CONFIRMED, CONFIRMED)
    assert judged_with(manual_quantization=1.0)["A2"].parts["direction"] == INCONCLUSIVE
    found, _ = verdicts(make_rows("counter + modelled-load"), published)
    assert found["A2"] == NOT_TESTABLE


def test_too_few_blocks_give_no_verdict(published):
    found, claims = verdicts(make_rows("counter", blocks=11), published)
    assert (found["A2"], found["A3"]) == (INCONCLUSIVE, INCONCLUSIVE)
    assert "11 blocks were measured, 12 are needed" in claims["A2"].reason


def test_a_busy_neighbour_makes_verdicts_inconclusive_or_leaves_them(published):
    few = [(block, "published_choice") for block in range(2)]
    many = [(block, "published_choice") for block in range(7)]
    _, claims = verdicts(make_rows("counter", flagged=few), published)
    assert claims["A3"].parts["energy, direction"] == CONFIRMED
    found, claims = verdicts(make_rows("counter", flagged=many), published)
    assert found["A3"] == INCONCLUSIVE
    assert "fewer than 12 blocks are free of flagged windows" in claims["A3"].reason
    turned = make_rows("counter", blocks=30, factor={"published_choice": 0.97}, flagged=many)
    _, claims = verdicts(turned, published)  # with them it seems to cost more, without them less
    assert claims["A3"].parts["energy, direction"] == INCONCLUSIVE


def test_a_replayed_counter_gives_a_verdict_and_a_stamp(published):
    rows = make_rows("replay-counter")
    assert verdicts(rows, published)[1]["A3"].parts["energy, direction"] == CONFIRMED
    assert stamp_of([summarised(rows)]) == "replay-counter energy, not evidence"


def test_missing_energy_is_counted_and_leaves_the_rest(published):
    rows = make_rows("counter")
    rows.loc[rows["block"] > 0, ["energy_mwh", "cpu_j"]] = np.nan
    results = summarised(rows)
    assert results.energy_missing == 14 * 6
    assert results.lines["baseline"].outcomes["energy_mwh"].n == 1
    assert verdicts(rows, published)[0]["A2"] == INCONCLUSIVE


def test_one_window_less_refutes_equal_accuracy():
    results = summarised(make_rows(), manual_quantization=69)
    judgement = judge_accuracy(analysis_of(results={"published": results}, parameters=PARAMETERS))
    assert judgement.verdict == REFUTED
    assert (
        "70 of 100 windows right. These differ: Manual quantization: 69 (McNemar p 1.000)" in judgement.reason
    )
    assert "1 of 100 windows flip: those that begin at rows 69 of the data" in judgement.reason
    assert judgement.parts == {"no loss above 2 %": INCONCLUSIVE, "identical": REFUTED}
    assert judgement.values["flipped"] == [69]


def test_a_loss_beyond_the_margin_is_refuted():
    """Ten of 100 windows less: the interval of the difference, about -16 to -4 points, lies below -2."""
    results = summarised(make_rows(), manual_quantization=60)
    judgement = judge_accuracy(analysis_of(results={"published": results}, parameters=PARAMETERS))
    assert judgement.parts == {"no loss above 2 %": REFUTED, "identical": REFUTED}


def test_accuracy_is_compared_on_the_same_windows():
    results = summarised(make_rows())
    hits = results.lines["baseline"].hits
    against = accuracy_difference(hits, results.frugal["persistence"], PARAMETERS)
    assert against.estimate == pytest.approx(-0.1)
    assert against.low < -0.1 < against.high
    assert against.p == pytest.approx(2 / 2**10)  # ten windows, all on one side


def test_what_the_search_cost_is_paid_back():
    rows = make_rows()
    cost = {"cpu_time_s": 5.0, "cpu_j": 9.0, "ram_j": 9.0, "gpu_j": None, "meter": "test"}
    costs = [cost | {"cpu_evidence": "modelled-load"}] * 2
    even = pay_back(rows, "manual_quantization", costs, "cpu_time_ms", PARAMETERS)
    assert even.inferences == pytest.approx(20_000, rel=0.01)  # 10 s, half a millisecond a forecast
    assert pay_back(rows, "baseline_twin", costs, "cpu_time_ms", PARAMETERS).inferences is None
    even = pay_back(rows, "manual_quantization", costs, "energy_mwh", PARAMETERS)
    assert even.inferences == pytest.approx(20_000, rel=0.01)  # 36 J are 10 mWh, 0.0005 a forecast
    for other in ({"meter": "rapl"}, {"cpu_evidence": "counter"}, {"cpu_j": None}):
        even = pay_back(rows, "manual_quantization", [costs[0], costs[1] | other], "energy_mwh", PARAMETERS)
        assert even.reason == "costs and rows were not metered alike"


def test_the_proxy_claim_follows_the_table():
    assert judge_published_proxies(analysis_of(actions=ACTIONS)).verdict == CONFIRMED
    for column, row, value in (("proxy_flops", 9, 1), ("proxy_parameters", 3, 70)):
        changed = ACTIONS.copy()
        changed.loc[row, column] = value
        assert judge_published_proxies(analysis_of(actions=changed)).verdict == REFUTED


def test_a_discovery_is_more_than_chance_and_follows_learning(published):
    def judge(found):
        given = {"best_action": BEST, "discovery": found, "source": published_numbers(published)}
        return judge_discovery(analysis_of(parameters=PARAMETERS, **given)).parts

    often, chance = [11] * 30 + [8] * 70, [8, 9, 10, 11, 12, 13, 14, 15] * 12
    assert judge(discovered(often)) == {"more often than chance": CONFIRMED, "after learning": REFUTED}
    assert judge(discovered(often, updates=1))["after learning"] == CONFIRMED
    assert judge(discovered(chance))["more often than chance"] == REFUTED
    assert judge(discovered([11] * 5, tied=[11]))["more often than chance"] == CONFIRMED  # it is alone


def test_few_searches_neither_confirm_nor_refute_a_discovery(published):
    """2 of 16 searches: Wilson's interval, 3.5 to 36 %, holds both the chance of 1 in 8 and twice that."""
    found = discovered([8, 9, 10, 11, 12, 13, 14, 15] * 2)
    share = found.published_share(0.95)
    assert (share.estimate, share.low, share.high) == pytest.approx((0.125, 0.035, 0.360), abs=5e-4)
    given = {"best_action": BEST, "discovery": found, "source": published_numbers(published)}
    judgement = judge_discovery(analysis_of(parameters=PARAMETERS, **given))
    assert judgement.parts["more often than chance"] == INCONCLUSIVE
    assert "2 report action 11: 12 % [3 %, 36 %], by chance among the tied 12.5 %" in judgement.reason


def test_discovery_by_hand():
    found = discovered([8, 9, 10, 11, 12, 13, 14, 15] * 2)
    assert found.wins[11] == found.published_wins == 2
    assert found.wins[0] == 0
    assert (found.uniform_p, found.searches, found.before_updates, found.last_step) == (1.0, 16, 16, 15)
    # at least 2 of 16 where each has a chance of 1 in 8
    assert found.published_p == pytest.approx(1 - (7 / 8) ** 16 - 16 * (1 / 8) * (7 / 8) ** 15)


@given(st.text())
def test_escaped_text_has_no_bare_special_character(text):
    escaped = escape_latex(text)
    for command in (
        r"\textbackslash{}",
        r"\textasciitilde{}",
        r"\textasciicircum{}",
        r"\textless{}",
        r"\textgreater{}",
        r"\textbar{}",
        r"$\pm$",
        r"$\mu$",
    ):
        escaped = escaped.replace(command, "")
    assert not re.search(r"(?<!\\)[{}$&#%_~^\"<>|]", escaped)
    assert escape_latex(Latex(text)) == text


def test_numbers_are_formatted_and_missing_ones_say_so():
    assert fixed(1.23456, 2) == "1.23"
    assert fixed(None, 2) == "n/a"
    assert spread_text(Summary(1.0, 0.5, 3), 1) == "1.0 ± 0.5"
    assert spread_text(Summary(None, None, 0), 1) == "n/a"
    assert escape_latex("1.0 ± 0.5 µs") == r"1.0 $\pm$ 0.5 $\mu$s"


@pytest.mark.parametrize(
    ("format_", "estimate", "low", "high", "text"),
    [
        (interval_text, 0.4021, 0.395, 0.4114, "0.402 [0.395, 0.411]"),
        (partial(interval_text, digits=2), 0.4021, 0.395, 0.4114, "0.40 [0.40, 0.41]"),
        (partial(interval_text, digits=4), 1.00119, 1.0003, 1.0021, "1.0012 [1.0003, 1.0021]"),
        (partial(interval_text, digits=None), 3120.4, 2980.2, 3210.0, "3,120 [2,980, 3,210]"),
        (partial(interval_text, digits=None), 0.51234, 0.5, 0.6, "0.5123 [0.5000, 0.6000]"),
        (small_ratio_text, 0.010212, 0.01, 0.0105, "0.0102 [0.0100, 0.0105]"),
        (difference_text, 0.01, -0.02, 0.041, "+0.010 [-0.020, +0.041]"),
        (share_text, 0.85, 0.64, 0.95, "85 % [64 %, 95 %]"),
    ],
)
def test_one_function_formats_every_interval(format_, estimate, low, high, text):
    assert format_(Estimate(estimate, low, high, 5)) == text
    assert format_(None) == "n/a"


def small_table(**changes):
    columns = (
        Column("Name"),
        Column("mean", format=partial(fixed, digits=2), group="Time", align="r"),
        Column("ratio", format=interval_text, group="Time"),
        Column("only on the page", page="html"),
        Column("Reason", width=0.3),
    )
    rows = [
        Row(["a_b", 1.234, UNCHANGED, "x", "5 % of it"], note="the same as c"),
        Row([("d, ", Code("ff00")), None, NOT_AVAILABLE], rule=True),
        Row(["e", Spanning("no break-even", columns=3), "f"], space=True),
    ]
    return ReportTable("small", "A caption.", columns, rows, **changes)


def latex_of(project, table):
    values = {"table": table.on("latex"), "alignment": Latex(table.on("latex").alignment)}
    return render_latex(project / "paper/templates", "table.tex.j2", values)


def test_a_table_in_latex(project):
    text = latex_of(project, small_table())
    assert text.startswith(
        "\\begin{table*}[htbp]\n\\centering\\footnotesize\n\\caption{A caption.}\\label{tab:small}\n"
    )
    assert r"\begin{tabular}{lrl>{\raggedright\arraybackslash}p{0.3\linewidth}}" in text
    assert r" & \multicolumn{2}{c}{Time} & " in text
    assert r"\cmidrule(lr){2-3}" in text
    assert r"a\_b & 1.23 & 1 & 5 \% of it \\" in text
    assert r"\multicolumn{4}{l}{\quad\itshape the same as c} \\" in text
    assert "\\midrule\nd, \\texttt{ff00} & n/a & n/a &  \\\\" in text
    assert "\\addlinespace\ne & \\multicolumn{2}{l}{no break-even} & f \\\\" in text
    assert "only on the page" not in text


def test_a_stamp_and_a_long_table_in_latex(project):
    text = latex_of(project, small_table(stamp="smoke run, not evidence", long=True))
    assert r"\multicolumn{4}{c}{\textbf{smoke run, not evidence}} \\" in text
    assert "\\begin{longtable}" in text
    assert text.count("\\caption{A caption.}\\label{tab:small}") == 1
    first, others = text.split("\\endfirsthead")
    assert others.split("\\endhead")[0].strip() == first.split("\\\\\n", 1)[1].strip()


def test_a_table_in_html(project, tmp_path):
    for path in (project / "paper/templates").glob("table.html.j2"):
        (tmp_path / path.name).write_text(path.read_text())
    (tmp_path / "page").write_text('{% from "table.html.j2" import show %}{{ show(table) }}')
    text = render_html(tmp_path, "page", {"table": small_table().on("html")})
    assert '<p class="caption">A caption.</p>' in text
    assert '<th colspan="2">Time</th>' in text
    assert "<td>a_b</td><td>1.23</td><td>1</td><td>x</td><td>5 % of it</td>" in text
    assert "<td>d, <code>ff00</code></td>" in text
    assert '<td colspan="3">no break-even</td><td>f</td>' in text


def test_refuted_statements_are_struck_out_if_asked():
    claim = SimpleNamespace(
        id="F1", statement="s", verdict=REFUTED, reason="r", rule="", evidence="", parts={}
    )
    for strike, text in ((True, "<s>s</s>"), (False, "s")):
        table = claims_table("c", "", [claim], ("Claim", "Reason"), strike)
        assert cell_html(table.printed(table.rows[0])[1].text) == text


def test_cells_are_escaped_whatever_their_kind():
    assert cell_html(Struck("<b>")) == "<s>&lt;b&gt;</s>"
    assert cell_html(("<", Code("&"))) == "&lt;<code>&amp;</code>"
    assert cell_html(VerdictText("refuted")) == '<span class="verdict refuted">refuted</span>'
    assert cell_latex(Struck("a_b")) == r"(struck out) \emph{a\_b}"
    assert cell_latex(("50 %", Code("a_b"))) == r"50 \%\texttt{a\_b}"


def test_templates_escape_values_and_refuse_unknown_names(tmp_path):
    (tmp_path / "t").write_text(r"100\,\% of \VAR{name}\BLOCK{if yes} {a}\BLOCK{endif}")
    assert render_latex(tmp_path, "t", {"name": "a_b & 5 %", "yes": True}) == r"100\,\% of a\_b \& 5 \% {a}"
    with pytest.raises(jinja2.UndefinedError, match="'name' is undefined"):
        render_latex(tmp_path, "t", {"yes": False})


def test_figures_are_the_same_bytes_for_the_same_rows(tmp_path):
    """Those of a smoke run, which are stamped. (The shipped ones have hashes.)"""
    rows = make_rows(profile="smoke")
    results = summarised(rows)
    history = {"seed": 42, "epoch": [1, 2], "train_loss": [0.7, 0.6], "validation_loss": [0.7, 0.65]}
    run = SimpleNamespace(
        rows={"published": rows, "remeasured": rows},
        metrics={"baseline": {"seeds": {"42": {"best_epoch": 1}}}},
        history=pd.DataFrame(history),
        actions=ACTIONS,
        best=BEST,
        curve=pd.DataFrame({"step": [1, 2], "mean_reward": [0.0, 1.0]}),
    )
    study = SimpleNamespace(
        results=dict.fromkeys(run.rows, results), labels={key: key for key in results.lines}
    )
    for folder in ("one", "two"):
        draw_published(tmp_path / folder, run, study, stamp_of([results]))
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len(files) == 12
    for name in files:
        content = (tmp_path / "one" / name).read_bytes()
        assert content == (tmp_path / "two" / name).read_bytes()
        assert b"CreationDate" not in content
        assert b"Matplotlib" not in content


def test_without_tex_the_paper_says_so_and_an_old_one_goes(tmp_path, monkeypatch):
    (tmp_path / "paper.pdf").write_text("old")
    monkeypatch.setattr(latex.shutil, "which", lambda name: None)
    assert latex.compile_paper(tmp_path, tmp_path / "references.bib") == latex.NO_TEX
    assert not (tmp_path / "paper.pdf").exists()
