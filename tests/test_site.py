"""The built site: what its pages show, where its links lead, and how it is in a browser."""

from __future__ import annotations

import functools
import html.parser
import json
import re
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import Browser, Page

from restate_guide import catalogue
from restate_guide.catalogue import Rule
from restate_guide.lab import evidence
from restate_guide.lab.evidence import Observed
from restate_guide.site.elements import prose
from restate_guide.site.story import stories
from restate_guide.site.words import symptom
from tests.browser import RULE, Site, longest_rule

# In one process: a page is parsed once, and what is open in the browser stays open.
pytestmark = pytest.mark.xdist_group("site")

ROOT = Path(__file__).parent.parent
PAGES = ("", RULE, "rules/determinism/")
"""The front page, a rule, a chapter: one of each kind."""
VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "path", "source", "wbr"}


@dataclass
class Node:
    """An element of a page."""

    tag: str
    attributes: dict[str, str]
    children: list[Node | str] = field(default_factory=list)

    def __iter__(self) -> Iterator[Node]:
        waiting = [self]
        while waiting:
            yield (node := waiting.pop())
            waiting.extend(c for c in reversed(node.children) if isinstance(c, Node))

    @functools.cached_property
    def classes(self) -> frozenset[str]:
        return frozenset(self.attributes.get("class", "").split())

    def all(self, *classes: str) -> list[Node]:
        """The elements within that have all these classes."""
        wanted = set(classes)
        return [node for node in self if wanted <= node.classes]

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    @property
    def words(self) -> str:
        return " ".join(self.text.split())


class Parser(html.parser.HTMLParser):
    """Reads a page into nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.open = [Node("page", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        if tag in [node.tag for node in self.open]:
            while self.open.pop().tag != tag:
                pass

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


@functools.cache
def parsed(path: Path) -> Node:
    parser = Parser()
    parser.feed(path.read_text())
    return parser.open[0]


def rule_pages(site: Site) -> list[tuple[Rule, Node]]:
    """Every rule with its page."""
    found = [(rule, parsed(site.folder / rule.url / "index.html")) for rule in catalogue.rules()]
    assert found
    return found


def plain(sentence: str) -> str:
    """A sentence as it reads once its `code` is marked up."""
    return "".join(p if isinstance(p, str) else getattr(p, "text", "") for p in prose(sentence))


def test_building_says_nothing(site: Site) -> None:
    said = [line for line in site.output.splitlines() if not line.startswith("INFO")]
    assert said == []


def test_every_pair_stands_on_its_page_as_it_is_in_its_files(site: Site) -> None:
    for rule, page in rule_pages(site):
        (pair,) = page.all("pair")
        for variant in ("dont", "do"):
            (side,) = pair.all("side", variant)
            lines = [line for line in side.all("l") if "gap" not in line.attributes["class"]]
            shown = [
                "".join(c if isinstance(c, str) else c.text for c in line.children[1:])
                for line in lines
            ]
            assert "".join(shown) == rule.snippet(variant), rule.id
            marked = {line.attributes["id"] for line in side.all("changed")}
            signs = {line.attributes["id"] for line in lines if line.all("g")[0].text[4] in "−+"}
            assert marked == signs != set(), f"{rule.id}: what differs is told by colour alone"


def test_every_rule_page_shows_what_was_measured(site: Site) -> None:
    for rule, page in rule_pages(site):
        found = evidence.read(rule.folder / "evidence.json")
        (happened,) = page.all("happened")
        for variant, observed in (("dont", found.dont), ("do", found.do)):
            (run,) = happened.all("run", variant)
            shows(rule, run, observed)
        words = page.words
        assert plain(found.stimulus) in words, rule.id
        for fact in (*found.proven_on.values(), *(s.title for s in found.survives), rule.severity):
            assert fact in words, rule.id
        for name, aside in found.asides.items():
            assert plain(aside.sentence) in words, f"{rule.id} lacks [[aside {rule.id} {name}]]"


def shows(rule: Rule, run: Node, observed: Observed) -> None:
    """One variant's verdict, attempts, journals, errors and effects are all there."""
    trace = observed.trace
    assert observed.verdict.sentence.split() == run.all("sentence")[0].words.split(), rule.id
    numbers = [a.number for i in trace.invocations for a in i.attempts]
    told = "".join(node.words for node in run.all("attempt"))
    for number in numbers:
        assert re.search(rf"(Attempts?|and|to) {number}\b|Attempts \d+ to", told), rule.id
    # Attempts that did the same one after another are told once, by the first of them.
    told_of = {
        (story.invocation.id, attempt.numbers[0])
        for story in stories(trace)
        for attempt in story.attempts
    }
    sent = [effect for effect in trace.effects if (effect.invocation, effect.attempt) in told_of]
    changed = [
        moment
        for invocation in trace.invocations
        for attempt in invocation.attempts
        if (invocation.id, attempt.number) in told_of
        for moment in attempt.moments
        if moment.what == "row"
    ]
    effects = len(run.all("effect"))
    assert effects == len(sent) + len(changed), f"{rule.id}: the story lacks an effect"
    rows = [row for row in run if row.tag == "tr"]
    entries = sum(len(invocation.journal) for invocation in trace.invocations)
    kept = len(trace.state) + sum(map(len, trace.rows.values()))
    tables = len([node for node in run if node.tag == "thead"])
    assert len(rows) - tables == entries + len(trace.effects) + kept, rule.id
    for failure in trace.failures():
        assert failure.code in run.text, rule.id


def test_a_rule_names_others_with_its_symptom_and_the_nearest_first(site: Site) -> None:
    chapters, rules = list(catalogue.CHAPTERS), catalogue.rules()
    for rule, page in rule_pages(site):
        (colophon,) = page.all("colophon")
        rows = [row for row in colophon if row.tag == "div" and "Same symptom" in row.words]
        named = [node.words for row in rows for node in row.all("rule-link")]
        alike = {
            other.id: abs(chapters.index(other.chapter) - chapters.index(rule.chapter))
            for other in rules
            if other.symptom == rule.symptom and other.id not in (rule.id, *rule.related)
        }
        ids = [words.split()[0] for words in named]
        assert len(ids) == min(len(alike), 6), rule.id
        assert [alike[each] for each in ids] == sorted(alike.values())[: len(ids)], rule.id
        rest = [node for row in rows for node in row if f"/{rule.symptom}/" in href(node)]
        assert len(rest) == (len(alike) > 6), f"{rule.id}: the way to the rest"


def href(node: Node) -> str:
    return node.attributes.get("href", "")


def test_both_files_of_a_pair_can_be_opened_and_saved(site: Site) -> None:
    for rule, page in rule_pages(site):
        for variant in ("dont", "do"):
            (side,) = page.all("side", variant)
            (opened,), (saved,) = side.all("file"), side.all("download")
            name = saved.attributes["download"]
            assert name == f"{rule.id.lower()}_{variant}.py"
            for link in (opened, saved):
                file = site.folder / rule.url / href(link)
                assert file.read_text() == rule.snippet(variant), rule.id


def test_links_lead_to_pages_files_and_lines_that_are_there(site: Site) -> None:
    broken = []
    for folder in (site.folder, site.offline):
        for path in folder.rglob("*.html"):
            for link in links(parsed(path)):
                parts = urlsplit(link)
                if parts.scheme or path.name == "404.html":
                    continue
                target = path.parent / unquote(parts.path) if parts.path else path
                if target.is_dir():
                    target /= "index.html"
                if not target.is_file():
                    broken.append(f"{path.relative_to(folder)}: {link}")
                elif (
                    parts.fragment
                    and target.suffix == ".html"
                    and not has_id(target, parts.fragment)
                ):
                    broken.append(f"{path.relative_to(folder)}: {link} (no such anchor)")
    assert broken == []


def links(page: Node) -> list[str]:
    return [
        node.attributes[name]
        for node in page
        for name in ("href", "src")
        if name in node.attributes
    ]


@functools.cache
def ids(path: Path) -> list[str]:
    return [node.attributes["id"] for node in parsed(path) if "id" in node.attributes]


def has_id(path: Path, fragment: str) -> bool:
    return unquote(fragment) in ids(path)


def test_ids_are_unique_on_a_page(site: Site) -> None:
    for path in site.folder.rglob("*.html"):
        assert len(ids(path)) == len(set(ids(path))), path.relative_to(site.folder)


def test_every_page_has_a_title_and_a_description_of_its_own(site: Site) -> None:
    pages = [parsed(path) for path in site.folder.rglob("index.html")]
    titles = [next(node.text for node in page if node.tag == "title") for page in pages]
    described = [
        node.attributes["content"]
        for page in pages
        for node in page
        if node.attributes.get("name") == "description"
    ]
    assert len(set(titles)) == len(set(described)) == len(pages)
    assert all(len(words) > 40 for words in described)
    for rule, page in rule_pages(site):
        title = next(node.text for node in page if node.tag == "title")
        words = rule.title.replace("`", "").replace("'", "’")
        assert title.startswith(f"{rule.id}: {words} – ")


def test_pages_name_no_path_of_this_machine(site: Site) -> None:
    for path in site.folder.rglob("*"):
        if path.suffix in {".html", ".json", ".js", ".css", ".xml"}:
            assert str(ROOT) not in path.read_text(), path


def test_every_include_is_replaced_by_its_file(site: Site) -> None:
    """A formatter that doesn't know `--8<--` spoils it, and the page then shows the line."""
    for page in json.loads((site.folder / "search/search_index.json").read_text())["docs"]:
        assert "--8" not in page["text"], page["location"]


@pytest.mark.parametrize(
    ("page", "listing"),
    [
        ("rules/data/result-not-serializable/", "curl -X PATCH"),
        ("rules/data/result-not-serializable/", "SELECT DISTINCT"),
        ("recipes/saga/", "Saga(ctx: Context, options"),
    ],
)
def test_search_leaves_listings_out(site: Site, page: str, listing: str) -> None:
    """They are long, and the text says what they are for."""
    assert listing in (site.folder / page / "index.md").read_text()
    assert listing not in (site.folder / "search/search_index.json").read_text()


# In a browser


@pytest.fixture
def wide(chromium: Browser) -> Iterator[Page]:
    """A window in which a pair has room side by side."""
    with chromium.new_context(viewport={"width": 1440, "height": 900}) as context:
        yield context.new_page()


@pytest.fixture(scope="session")
def library(chromium: Browser, origin: str) -> Iterator[Page]:
    """A page to search from: loading the index takes longer than searching it."""
    with chromium.new_context(viewport={"width": 1440, "height": 900}) as context:
        page = context.new_page()
        page.goto(origin + "rules/")
        yield page


@pytest.fixture
def phone(chromium: Browser) -> Iterator[Page]:
    with chromium.new_context(viewport={"width": 390, "height": 844}) as context:
        yield context.new_page()


def left_and_top(page: Page, selector: str) -> tuple[float, float]:
    box = page.locator(selector).first.bounding_box()
    assert box is not None, f"{selector} is not to be seen"
    return box["x"], box["y"]


@pytest.mark.browser
def test_a_rule_shows_pair_trace_and_box(wide: Page, origin: str) -> None:
    wide.goto(origin + RULE)
    for selector in (
        ".pair .listing",
        ".happened .steps",
        ".mark.too-often",
        ".admonition.corrects",
    ):
        assert wide.locator(selector).first.is_visible(), selector
    dont, do = left_and_top(wide, ".side.dont"), left_and_top(wide, ".side.do")
    assert dont[0] < do[0]
    assert dont[1] == do[1]
    wide.locator(".admonition.corrects summary").first.click()
    assert wide.locator(".admonition.corrects .steps").first.is_visible()


@pytest.mark.browser
def test_on_a_phone_nothing_makes_the_page_go_sideways(phone: Page, origin: str) -> None:
    for url in (*PAGES, longest_rule().url, "symptoms/", "corrects/", "how-it-is-proven/"):
        phone.goto(origin + url, wait_until="domcontentloaded")
        width = phone.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, f"{url or 'front page'} is {width} pixels wide"
    phone.goto(origin + RULE)
    assert left_and_top(phone, ".side.dont")[1] < left_and_top(phone, ".side.do")[1]
    code = phone.locator(".side.dont .listing").first
    assert code.evaluate("box => box.scrollWidth > box.clientWidth"), "code scrolls in its box"


@pytest.mark.browser
def test_both_sides_of_a_pair_begin_at_the_same_height(chromium: Browser, origin: str) -> None:
    """However long it is what the don't came to."""
    longest = max(
        catalogue.rules(),
        key=lambda r: len(evidence.read(r.folder / "evidence.json").dont.verdict.short),
    )
    with chromium.new_context(viewport={"width": 1280, "height": 900}) as context:
        page = context.new_page()
        page.goto(origin + longest.url)
        dont, do = page.locator(".pair > .side .listing").evaluate_all(
            "listings => listings.map(listing => listing.getBoundingClientRect().top)"
        )
    assert dont == do


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_asked_of_another_origin(chromium: Browser, origin: str, scheme: str) -> None:
    asked: list[str] = []
    dark = scheme == "dark"
    with chromium.new_context(color_scheme="dark" if dark else "light") as context:
        context.on("request", lambda request: asked.append(request.url))
        page = context.new_page()
        for url in PAGES:
            page.goto(origin + url)
        assert finds(page, "journal", lambda heading: "ournal" in heading)
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert len(asked) > 10
    assert [url for url in asked if not url.startswith(origin)] == []
    assert (brightness(paper) < 0.5) == dark


def brightness(colour: str) -> float:
    return sum(map(float, re.findall(r"[\d.]+", colour)[:3])) / 3 / 255


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_read_without_javascript(chromium: Browser, origin: str, scheme: str) -> None:
    dark = scheme == "dark"
    with chromium.new_context(
        java_script_enabled=False, color_scheme="dark" if dark else "light"
    ) as context:
        page = context.new_page()
        page.goto(origin + RULE)
        for selector in (".pair .listing", ".verdict", ".happened .steps", ".facts", ".admonition"):
            assert page.locator(selector).first.is_visible(), selector
        page.locator("summary", has_text="The journal").first.click()
        assert page.locator(".happened table").first.is_visible()
        assert not page.locator(".md-search__input").is_visible(), "search needs JavaScript"
        # No script can be asked for the colours, so a picture tells them.
        picture = page.screenshot(clip={"x": 2, "y": 200, "width": 1, "height": 1})
        assert (picture_brightness(picture) < 0.5) == dark
        page.goto(origin)
        assert page.locator(".moment .listing").count() == 2
        page.goto(origin + "rules/determinism/")
        assert page.locator("table.rules tbody tr").count() >= 1
        assert page.locator("svg.across").is_visible()


def picture_brightness(png: bytes) -> float:
    """How bright a PNG of a single pixel is."""
    data = b"".join(
        png[at + 8 : at + 8 + int.from_bytes(png[at : at + 4], "big")]
        for at in range(8, len(png))
        if png[at + 4 : at + 8] == b"IDAT"
    )
    return sum(zlib.decompress(data)[1:4]) / 3 / 255


@pytest.mark.browser
def test_the_quiz_knows_the_line_that_did_it(phone: Page, origin: str) -> None:
    phone.goto(origin + "quiz/")
    question = phone.locator(".question:visible")
    first = int(question.get_attribute("data-first") or "")
    guilty = int((question.get_attribute("data-guilty") or "").split()[0])
    wrong = next(
        at
        for at, line in enumerate(question.locator(".l").all_inner_texts())
        if line.startswith("import")
    )
    question.locator(".l").nth(wrong).click()
    assert phone.locator(".result").inner_text() == "Not this one. Look again."
    question.locator(".l").nth(guilty - first).click()
    assert phone.locator(".result").inner_text() == "Found it."
    assert question.locator(".answer").is_visible()


@pytest.mark.browser
@pytest.mark.parametrize("url", ["table/", "quiz/"])
def test_nothing_jumps_when_a_script_takes_over(phone: Page, origin: str, url: str) -> None:
    phone.add_init_script(
        "window.shift = 0; new PerformanceObserver((list) => { for (const each of list.getEntries())"
        " shift += each.value; }).observe({ type: 'layout-shift', buffered: true });"
    )
    phone.goto(origin + url)
    phone.locator(".facets, .quiz").first.wait_for()
    phone.wait_for_load_state("networkidle")
    assert phone.evaluate("shift") < 0.1


def finds(page: Page, words: str, wanted: Callable[[str], bool]) -> bool:
    """Whether search has such a heading among its first eight; what was found for less gives way to it."""
    field, results = page.locator(".md-search__input"), page.locator(".md-search-result__item")
    results.evaluate_all("earlier => earlier.forEach(result => result.remove())")
    field.click()
    field.fill(words[:-1])
    field.press(words[-1])  # search listens to keys
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if any(wanted(text.split("\n")[0]) for text in results.all_inner_texts()[:8]):
            return True
        page.wait_for_timeout(100)
    return False


@pytest.mark.browser
@pytest.mark.parametrize(
    "words",
    ["RDD102", "idempotency key", "Give every charge an idempotency key"],
)
def test_search_finds_a_rule_by_id_title_and_symptom(library: Page, words: str) -> None:
    assert finds(library, words, lambda heading: heading.startswith("RDD102"))


@pytest.mark.browser
@pytest.mark.parametrize(
    ("pasted", "kind"),
    [
        ("charged twice", "effect-repeated"),
        (
            "Found a mismatch between the code paths taken during the previous execution",
            "journal-mismatch",
        ),
        ("TypeError: Object of type coroutine is not JSON serializable", "retried-until-paused"),
        ("this service type doesn't have state access", "precondition"),
    ],
)
def test_search_finds_what_is_pasted_from_a_log(library: Page, pasted: str, kind: str) -> None:
    rules = {rule.id for rule in catalogue.rules() if rule.symptom == kind}
    title = symptom(kind).title
    assert finds(library, pasted, lambda h: h == title or h.split()[0] in rules)


@pytest.mark.browser
def test_search_finds_an_error_code(library: Page) -> None:
    mismatching = [r.id for r in catalogue.rules() if r.symptom == "journal-mismatch"]
    assert finds(library, "RT0016", lambda heading: heading.split()[0] in mismatching)


@pytest.mark.browser
def test_the_offline_build_opens_from_a_folder(chromium: Browser, site: Site) -> None:
    asked: list[str] = []
    with chromium.new_context() as context:
        context.on("request", lambda request: asked.append(request.url))
        page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto((site.offline / "index.html").as_uri())
        page.get_by_role("link", name="Symptoms").first.click()
        page.locator(f"a[href$='{Path(RULE).name}.html']").first.click()
        page.locator(".pair .listing").first.wait_for()
        assert finds(page, "RDD102", lambda heading: heading.startswith("RDD102"))
        assert errors == []
    # The shim loads its worker into a frame without an address of its own.
    assert [
        url for url in asked if urlsplit(url).scheme not in {"file", "about", "data", "blob"}
    ] == []
