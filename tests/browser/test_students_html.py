"""A submission's HTML runs nothing in the instructor's page: two walls, each enough by itself.

The page is rendered by the image's own nbconvert and nbgrader, as the formgrader does it, and opened in
Chromium. That the page itself works is shown where people use it: tests/browser/test_loop.py.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import link_images
from tests.conftest import require

SOURCE = Path(__file__).parents[2] / "src"
RAN = "document.documentElement.dataset.{}=1"
SVG = "<svg xmlns='http://www.w3.org/2000/svg' onload='{0}'><script>{0}</script></svg>"

#: Ways in, by the name that they leave behind when they run.
MARKDOWN = {
    "script": "<script>{}</script>",
    "image": '<img src="x" onerror="{}">',
    "frame": '<iframe srcdoc="<script>parent.{}</script>"></iframe>',
    "svg": SVG,
    "mathjax": '<script type="text/x-mathjax-config">{}</script>',
    "toggle": "<details open ontoggle={}>x</details>",
    "code": "`<img src=x title='`<img src=x onerror={}>'>",
    "noscript": '<noscript><p title="</noscript><img src=x onerror={}>">',
    "math": "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror={}&gt;'>",
    "dollars": "$\\text{{<img src=x onerror={}>}}$",
    "picture": '![x](x"onerror="{}")',
    "title": '[x](http://x "x"onfocus="{}" autofocus tabindex=1 x=")',
}
OUTPUTS = {
    "html": ("text/html", "<script>{}</script>"),
    "handler": ("text/html", "<img src=x onerror={}>"),
    "javascript": ("application/javascript", "{}"),
    "drawing": ("image/svg+xml", SVG),
    "words": ("text/markdown", '<img src="x" onerror="{}">'),
    "latex": ("text/latex", "$</script><img src=x onerror={}>$"),
    "png": ("image/png", '"onerror="{}'),
}
SIZE = f"1 onerror={RAN.format('o_size')}"
READABLE = """## Answer
$a < b$ & more, [the course](https://example.org/) ![a plot](data:image/png;base64,AAAA)

```python
def f(): pass
```
<p style="color: red; position: fixed; top: 0">red</p>
"""
PANDAS = """<div><style scoped>.dataframe tbody tr th { vertical-align: top; }</style>
<table border="1" class="dataframe"><thead><tr><th>mean</th></tr></thead>
<tbody><tr><td rowspan="2">1.5</td></tr></tbody></table></div>"""
#: nothing of it stops: what nbgrader does by itself; the policy alone; cleaning alone; both.
WALLS = ("", "policy", "cleaning", "policy cleaning")
RENDER = """
import json, sys
from pathlib import Path
import nbformat
from nbconvert.exporters import HTMLExporter
from nbgrader.server_extensions.formgrader import handlers
from traitlets.config import Config
from courseyard.singleuser import studentwork

config = Config()
config.HTMLExporter.template_name = "formgrade"
config.HTMLExporter.extra_template_basedirs = [handlers.template_path]
clean = studentwork.clean
resources = dict(assignment_id="w", notebook_id="n", submission_id="s", index=0, total=1, base_url="",
    student="omar", last_name="", first_name="", notebook_path="n")
for walls in json.loads(sys.argv[1]):
    studentwork.clean = clean if "cleaning" in walls else lambda text: str(text)
    kind = studentwork.StudentWork if walls else HTMLExporter
    exporter = kind(config=config)
    exporter.sanitize_html = "cleaning" in walls
    page, _ = exporter.from_notebook_node(nbformat.read("in.ipynb", 4), resources=dict(resources))
    if walls and "policy" not in walls:
        page = page.replace("Content-Security-Policy", "X-Nothing", 1)
    Path(f"{walls or 'none'}.html").write_text(page)
"""


def notebook() -> dict[str, object]:
    cells: list[dict[str, object]] = [
        {"cell_type": "markdown", "id": f"m{i}", "metadata": {}, "source": text.format(RAN.format(f"m_{name}"))}
        for i, (name, text) in enumerate(MARKDOWN.items())
    ]  # fmt: skip
    cells.append({"cell_type": "markdown", "id": "r", "metadata": {}, "source": READABLE})
    outputs = [
        {kind: text.format(RAN.format(f"o_{name}"))} for name, (kind, text) in OUTPUTS.items()
    ]
    for i, data in enumerate([*outputs, {"text/html": PANDAS}]):
        about = {kind: {"width": SIZE} for kind in data}
        output = {"output_type": "display_data", "data": data, "metadata": about}
        cells.append({
            "cell_type": "code", "id": f"o{i}", "metadata": {}, "source": "1", "execution_count": 1,
            "outputs": [output],
        })  # fmt: skip
    about = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return {"cells": cells, "metadata": about, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rendered")
    (folder / "images").mkdir()
    link_images(folder)
    images = sorted((folder / "images").iterdir())
    if not images:
        require("image")
    (folder / "in.ipynb").write_text(json.dumps(notebook()))
    (folder / "render.py").write_text(RENDER)
    subprocess.run(
        [images[-1] / "bin" / "python", "render.py", json.dumps(WALLS)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        check=True,
    )
    return folder


def opened(browser: Browser, page: Path) -> Page:
    found = browser.new_page()
    found.route("**/*", lambda route: route.abort())
    address = "http://courseyard.localhost/page"
    found.route(address, lambda route: route.fulfill(body=page.read_text(), content_type="text/html"))  # fmt: skip
    found.goto(address)
    found.wait_for_timeout(500)
    return found


def ran(page: Page) -> set[str]:
    return set(page.evaluate("Object.keys(document.documentElement.dataset)"))


def test_what_nbgrader_does_by_itself(browser: Browser, rendered: Path) -> None:
    """The attack: it runs with the instructor's rights."""
    found = ran(opened(browser, rendered / "none.html"))
    expected = {"m_script", "m_image", "m_frame", "m_svg", "m_toggle"}
    assert found >= expected | {"o_html", "o_handler", "o_words", "o_size"}, found


@pytest.mark.parametrize("walls", WALLS[1:])
def test_nothing_of_a_submission_runs(browser: Browser, rendered: Path, walls: str) -> None:
    page = opened(browser, rendered / f"{walls}.html")
    assert ran(page) == set()
    # The page's own scripts run, where their policy stands too.
    assert page.evaluate("[typeof toggle_name, submission_id]") == ["function", "s"]


def test_what_students_write_stays_readable(browser: Browser, rendered: Path) -> None:
    page = opened(browser, rendered / "policy cleaning.html")
    for what in ("h2 >> text=Answer", "th >> text=mean", "td[rowspan='2']", "pre .k >> text=def"):
        assert page.locator(what).count() == 1, what
    assert page.locator("img[alt='a plot']").get_attribute("src") == "data:image/png;base64,AAAA"
    assert page.locator("a >> text=the course").get_attribute("href") == "https://example.org/"
    text = page.locator("body").inner_text()
    assert "$a < b$ & more" in text
    assert ".dataframe" not in text, "what pandas says of its looks is not text"
    assert page.locator("[style]").get_attribute("style") == "color: red;"
