"""Each page as Markdown: whole, plain, and where the page says that it is."""

from __future__ import annotations

import re
from pathlib import Path

from restate_guide import catalogue
from restate_guide.site.twin import markdown
from tests.browser import Site

FENCED = re.compile(r"^(`{3,}).*?^\1$", re.M | re.S)
LINK = re.compile(r'<link rel="alternate" type="text/markdown"[^>]* href="([^"]+)">')


def pages(folder: Path) -> list[Path]:
    """The pages of a build; the one for addresses that aren't there has no place of its own."""
    found = [path for path in folder.rglob("*.html") if path.name != "404.html"]
    assert len(found) > 100
    return found


def test_every_page_leads_to_its_twin(site: Site) -> None:
    for folder in (site.folder, site.offline):
        for path in pages(folder):
            html = path.read_text()
            found = LINK.search(html)
            assert found, f"{path} names no twin"
            assert path.parent / found[1] == path.with_suffix(".md")
            assert path.with_suffix(".md").is_file(), path
            assert html.count(f'href="{found[1]}"') == 2, f"{path} has no link for readers"


def test_twins_are_plain_markdown(site: Site) -> None:
    for path in pages(site.folder):
        text = path.with_suffix(".md").read_text()
        assert text.startswith("# "), f"{path}: front matter, or no heading"
        prose = re.sub(r"`[^`\n]+`", "", FENCED.sub("", text))
        for rest in ("[[", "--8<--", ":::", "<div", "<span", "<p>", "data-search"):
            assert rest not in prose, f"{path}: {rest}"


def test_the_twin_of_a_rule_has_both_snippets_and_all_sections(site: Site) -> None:
    for rule in catalogue.rules():
        text = (site.folder / rule.url / "index.md").read_text()
        assert text.startswith(f"# {rule.id} ")
        assert "[[" not in FENCED.sub("", text), rule.id
        for variant in ("dont", "do"):
            source = rule.snippet(variant).strip("\n")
            assert f"```python\n{source}\n```" in text, f"{rule.id} lacks {variant}.py"
        for heading in ("What happened", *catalogue.SECTIONS):
            assert f"\n## {heading}\n" in text, f"{rule.id} lacks {heading!r}"


def test_includes_and_docstrings_are_resolved(site: Site) -> None:
    text = (site.folder / "recipes" / "saga" / "index.md").read_text()
    assert Path("snippets/recipes/saga.py").read_text().strip() in text


def test_what_is_special_in_markdown_stays_text() -> None:
    assert markdown("<p>a * b_c _d [e] &lt;f&gt; `</p>") == "a \\* b_c \\_d \\[e] \\<f> \\`\n"
    assert markdown("<p><code>a`b</code></p>") == "`` a`b ``\n"
    assert markdown("<pre>```\nx</pre>") == "````\n```\nx\n````\n"
    assert markdown("<table><tr><th>a|b</th></tr></table>") == "| a\\|b |\n|---|\n"


def test_lists_and_boxes_keep_their_shape() -> None:
    items = "<ol><li><p>one</p><p>two</p></li><li>three</li></ol>"
    assert markdown(items) == "1. one\n\n   two\n2. three\n"
    box = '<div class="admonition"><p>one</p><p>two</p></div>'
    assert markdown(box) == "> one\n>\n> two\n"
