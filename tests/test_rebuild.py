"""Rebuilds while the site is served: quick, and never of yesterday."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.structure import toc

from restate_guide import catalogue
from tests.test_extension import recorded, write_rule

ROOT = Path(__file__).parent.parent


class Site:
    """Two rules and two pages that name them, as a site that is built again and again."""

    def __init__(self, root: Path) -> None:
        self.docs, self.snippets, self.out = root / "docs", root / "snippets", root / "site"
        write_rule(root, "RDD101", "Charge `once`", recorded("RDD101"))
        write_rule(root, "RDD102", "Give a key", recorded("RDD102"))
        self.docs.joinpath("index.md").write_text("# All\n\n[[rules determinism]]\n")
        self.docs.joinpath("one.md").write_text("# One\n\nSee [[RDD101]].\n")
        self.settings: dict[str, Any] = {
            "site_name": "Rules",
            "docs_dir": str(self.docs),
            "site_dir": str(self.out),
            "theme": {"name": "material"},
            "hooks": [str(ROOT / "restate_guide/site/rebuild.py")],
            "plugins": ["search", "mkdocstrings"],
            "markdown_extensions": [{"restate_guide.site.extension": {"root": str(root)}}, "toc"],
        }

    def build(self, **settings: Any) -> dict[str, str]:
        """All that a build wrote as text, by file."""
        config = load_config(
            str(ROOT / "mkdocs.yml"), **copy.deepcopy({**self.settings, **settings})
        )
        build(config, serve_url="http://127.0.0.1:1/")
        found = [*self.out.rglob("*.html"), self.out / "search/search_index.json"]
        return {str(path.relative_to(self.out)): path.read_text() for path in found}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(catalogue, "ROOT", tmp_path)
    return Site(tmp_path)


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """One element for each page whose Markdown was rendered, and not kept."""
    found: list[object] = []
    get_toc = toc.get_toc

    def counting(tokens: Any) -> toc.TableOfContents:
        found.append(tokens)
        return get_toc(tokens)

    monkeypatch.setattr("mkdocs.structure.pages.get_toc", counting)
    return found


def test_what_is_unchanged_is_kept_and_comes_out_the_same(
    site: Site, rendered: list[object]
) -> None:
    first = site.build()
    assert len(rendered) == 4
    assert site.build() == first
    assert len(rendered) == 4


def test_a_change_of_text_makes_its_page_anew(site: Site, rendered: list[object]) -> None:
    site.build()
    site.docs.joinpath("one.md").write_text("# One\n\nA new sentence.\n")
    after = site.build()
    assert "A new sentence." in after["one/index.html"]
    assert "A new sentence." in after["search/search_index.json"]
    assert len(rendered) == 4 + 1


def test_a_change_of_a_snippet_makes_anew_what_shows_it(site: Site, rendered: list[object]) -> None:
    site.build()
    do = site.snippets / "determinism/rdd101/do.py"
    do.write_text(do.read_text() + "\nEXTRA = 1\n")
    after = site.build()
    assert "EXTRA" in after["rules/determinism/rdd101/index.html"]
    assert len(rendered) == 4 + 1, "the rule; a page that links to it shows its title only"


def test_a_change_of_a_title_reaches_all_that_name_it(site: Site) -> None:
    site.build()
    page = site.docs / "rules/determinism/rdd101.md"
    page.write_text(page.read_text().replace("Charge `once`", "Charge twice"))
    after = site.build()
    for name in ("index.html", "one/index.html", "rules/determinism/rdd101/index.html"):
        assert "Charge twice" in after[name], name


def test_a_change_of_what_a_page_includes_makes_it_anew(site: Site) -> None:
    recipe = site.snippets / "recipes/wait.py"
    recipe.parent.mkdir()
    recipe.write_text("EXTRA = 1\n")
    page = site.docs / "one.md"
    page.write_text(f'# One\n\n```python\n--8<-- "{recipe}"\n```\n')
    site.settings["markdown_extensions"] += [{"pymdownx.snippets": {"base_path": ["/"]}}]
    site.build()
    recipe.write_text("EXTRA = 22\n")
    assert "22" in site.build()["one/index.html"]


def test_a_change_of_a_recorded_run_reaches_the_lists(site: Site) -> None:
    before = site.build()["index.html"]
    evidence = site.snippets / "determinism/rdd101/evidence.json"
    seen = json.loads(evidence.read_text())["dont"]["verdict"]["short"]
    evidence.write_text(evidence.read_text().replace(seen, "seen on the moon"))
    assert seen in before
    assert "seen on the moon" in site.build()["index.html"]


def test_search_holds_what_it_holds_without_the_hook(site: Site) -> None:
    quick, plain = site.build(), site.build(hooks=[])
    index = "search/search_index.json"
    told, found = json.loads(plain[index]), json.loads(quick[index])
    for entry in told["docs"]:  # in a result, code is text like other text
        entry["text"] = entry["text"].replace("<code>", "").replace("</code>", "")
    for entry in found["docs"]:
        entry.pop("tags", None)  # lines of the log
    assert found == told
    assert "<!--" not in quick["rules/determinism/rdd101/index.html"].partition("<article")[2]
