"""The page in a browser: its script runs without an error or a request, filters filter, and the decision aid
says what `recommend` says. Skipped where Debian's chromium is missing, as it is in CI."""

import json
import re
import shutil
import subprocess
from html import unescape

import numpy as np
import pytest

from sustainable.reporting.forecasting.recommendation import recommend
from sustainable.reporting.pages import html_page

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
QUERIES = 100
FIRST = """<script>
window.problems = [];
addEventListener("error", (event) => problems.push(String(event.message)));
addEventListener("unhandledrejection", (event) => problems.push(String(event.reason)));
for (const kind of ["error", "warn"]) console[kind] = (...words) => problems.push(words.join(" "));
</script>
"""
LAST = """<script>
const queries = %s, $ = (id) => document.getElementById(id);
const change = (id, value) => {
  $(id).value = value;
  for (const kind of ["input", "change"]) $(id).dispatchEvent(new Event(kind, { bubbles: true }));
};
const answers = queries.map(([task, floor, rate, size]) => {
  change("aid-task", task); change("aid-size", size); change("aid-floor", floor); change("aid-rate", rate);
  const { name, runnerUp, days, saving } = $("aid-result").dataset;
  return { name, runnerUp, days, saving, problem: $("aid-problem").textContent };
});
const marks = (id) => document.querySelectorAll(`#${id} svg path`).length;
const later = (done) => setTimeout(done, 400);
later(() => {
  const before = [marks("space-chart"), marks("regret-chart")];
  for (const id of ["space-runtimes", "regret-searchers"])
    document.querySelector(`#${id} input:checked`).click();
  document.querySelector("#claims details").open = true;
  later(() => {
    const after = [marks("space-chart"), marks("regret-chart")];
    const requests = performance.getEntriesByType("resource").map((one) => one.name)
      .filter((name) => !name.startsWith("data:"));
    const copied = document.querySelectorAll("#claims details[open] [data-copy] table").length;
    const result = document.createElement("pre");
    result.id = "result";
    result.textContent = JSON.stringify({ answers, before, after, requests, copied, problems });
    document.body.append(result);
  });
});
</script>
"""


@pytest.fixture(scope="module")
def said(project, shipped_report, tmp_path_factory):
    """The queries and what the page made of them, in a copy that watches itself."""
    folder, rng = tmp_path_factory.mktemp("browser"), np.random.default_rng(5)
    (folder / "headline.png").write_bytes(b"")
    values = shipped_report.values
    queries = [
        (name, float(rng.uniform(0, 0.9)), float(10 ** rng.uniform(-2, 3)), int(rng.choice(own.batch_sizes)))
        for name, own in values["choices"].items()
        for _ in range(QUERIES // len(values["choices"]))
    ]
    text = html_page(project / "paper/templates", folder, values, [])
    text = text.replace("<head>", f"<head>{FIRST}", 1).replace(
        "</body>", f"{LAST % json.dumps(queries)}</body>"
    )
    page = folder / "report.html"
    page.write_text(text, encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--dump-dom"]
    home = f"--user-data-dir={folder / 'profile'}"
    command = [str(CHROMIUM), *options, home, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    found = re.search(r'<pre id="result">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    return queries, json.loads(unescape(found[1]))


def test_nothing_is_requested_and_nothing_fails(said):
    assert said[1]["problems"] == []
    assert said[1]["requests"] == []


def test_filters_filter_and_claims_open(said):
    for before, after in zip(said[1]["before"], said[1]["after"], strict=True):
        assert 0 < after < before
    assert said[1]["copied"] > 0


def test_the_decision_aid_agrees_with_recommend(said, shipped_report):
    queries, result = said
    answered = 0
    for (task, floor, rate, size), found in zip(queries, result["answers"], strict=True):
        choices = shipped_report.values["choices"][task]
        if floor > max(one.validation_accuracy for one in choices.candidates):
            assert "No candidate reaches" in found["problem"]
            assert "name" not in found
            continue
        answer, answered = recommend(choices, floor, rate, size), answered + 1
        assert found["problem"] == ""
        assert found["name"] == answer.choice.candidate.name
        runner_up = answer.runner_up and answer.runner_up.candidate.name
        assert found["runnerUp"] == (runner_up or "")
        days = answer.days(answer.choice.break_even.inferences)
        assert found["days"] == "" if days is None else float(found["days"]) == pytest.approx(days)
    assert answered >= 50
