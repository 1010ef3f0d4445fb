"""Every public name is documented, and the site that shows it has no dead link and asks no other host for anything."""

import inspect
import json
import os
import sys
import zlib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from pages import book, library

from tests.claims import CLAIMS
from tests.processor import run_within
from tests.report import browser

ROOT = Path(__file__).parent.parent.parent
PUBLIC = [*library.top(), *(public for part in library.PARTS for public in library.members(part))]
LEAST = 20  # characters; less says nothing


def undocumented(public):
    """The names, of this one and of its public members, that have no docstring of their own or of a base of ours."""
    value = public.value
    if not (callable(value) or inspect.ismodule(value)):
        return []
    found = [] if len(inspect.getdoc(value) or "") >= LEAST else [public.name]
    if inspect.isclass(value) and value.__doc__ in {base.__doc__ for base in value.__mro__[1:]}:
        found.append(public.name)  # a docstring that was merely handed down
    for name, member in inspect.getmembers(value) if inspect.isclass(value) else ():
        member = getattr(member, "__wrapped__", member)
        if isinstance(member, property):
            member = member.fget
        own = (getattr(member, "__module__", None) or "").startswith("gradvar")
        if not name.startswith("_") and own and callable(member) and not inspect.getdoc(member):
            found.append(f"{public.name}.{name}")
    return found


@pytest.mark.parametrize("public", PUBLIC, ids=lambda public: public.name)
def test_every_public_name_is_documented(public):
    assert not undocumented(public)


def test_a_name_without_a_docstring_is_found():
    class Bare:
        __module__ = "gradvar.bare"

        def method(self):
            pass

    Bare.method.__module__ = "gradvar.bare"
    assert undocumented(library.Public("gradvar.Bare", "", Bare)) == ["gradvar.Bare", "gradvar.Bare.method"]


def test_the_public_names_are_those_of_the_package():
    import gradvar

    named = {public.name.removeprefix("gradvar.") for public in PUBLIC} | set(library.PARTS)
    assert set(gradvar.__all__) - named == {"ScoreBank", "RecordSettings"}
    assert {"measure.ScoreBank", "measure.RecordSettings"} <= named  # they are shown where they are made
    assert len(PUBLIC) > 150


@pytest.mark.slow
def test_every_claim_has_a_family_in_the_book():
    assert {claim.id[0] for claim in CLAIMS} <= set(book.FAMILIES)


class Links(HTMLParser):
    """What a page points to, what it loads, and the places in it that can be pointed to."""

    def __init__(self, page):
        super().__init__()
        self.links, self.loads, self.places = [], [], set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        have = dict(attrs)
        self.places |= {have[name] for name in ("id", "name") if have.get(name)}
        if tag == "a" and have.get("href"):
            self.links.append(have["href"])
        if tag in ("img", "script", "source") or (
            tag == "link" and have.get("rel") in ("stylesheet", "icon")
        ):
            self.loads += [have[name] for name in ("src", "srcset", "href") if have.get(name)]


def faults(folder):
    """``(page, link)`` for every link of a built site that leads nowhere, and for what is loaded from elsewhere."""
    pages = {page: Links(page) for page in folder.rglob("*.html") if page.name != "404.html"}
    found = []
    for page, here in pages.items():
        for link in here.links + here.loads:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                dead = link in here.loads and parts.scheme != "data"
            else:
                target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
                target = target / "index.html" if target.is_dir() else target
                lost = target in pages and unquote(parts.fragment) not in pages[target].places
                dead = not target.exists() or bool(parts.fragment and lost)
            if dead:
                found.append((str(page.relative_to(folder)), link))
    return found


def test_a_dead_link_a_dead_anchor_and_a_foreign_script_are_found(tmp_path):
    (tmp_path / "other.html").write_text('<p id="here">')
    (tmp_path / "page.html").write_text(
        '<a href="other.html#here"></a><a href="#top" id="top"></a><a href="https://example.org"></a>'
        '<a href="none.html"></a><a href="other.html#there"></a><script src="https://example.org/x.js"></script>'
    )
    links = [link for _, link in faults(tmp_path)]
    assert links == ["none.html", "other.html#there", "https://example.org/x.js"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    run_within(
        600,
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"GRADVAR_DOCS_CLAIMS": "A6 A7", "NO_MKDOCS_2_WARNING": "1"},
        check=True,
        capture_output=False,
    )
    return folder


@pytest.mark.slow
def test_the_reference_has_every_public_name(site):
    inventory = zlib.decompress((site / "objects.inv").read_bytes().split(b"\n", 4)[4]).decode()
    listed = {line.split(" ")[0] for line in inventory.splitlines()}
    constants = {"gradvar.testing.names.LAWS", "gradvar.audit.formats.FORMATS"}
    assert not {public.home for public in PUBLIC} - listed - constants
    text = (site / "reference" / "policies.html").read_text()
    assert "Transformer.sample" in text  # a method that it has from a base


@pytest.mark.slow
def test_every_link_leads_somewhere_and_nothing_is_loaded_from_elsewhere(site):
    assert len(list(site.rglob("*.html"))) > 40
    assert not faults(site)


ENGINEERS_WORDS = {  # and the how-to that the search lists first, as seen in Chromium over HTTP
    "num_generations": "trainer_settings", "loss_type": "trainer_settings", "scale_rewards": "trainer_settings",
    "epsilon_high": "trainer_settings", "length bias": "trainer_settings", "std normalisation": "trainer_settings",
    "KL": "trainer_settings", "zero std": "trainer_settings", "pass@k": "audit_my_dumps",
    "group size": "choose_a_group_size", "reward hacking": "audit_my_dumps", "dynamic sampling": "trainer_settings",
}  # fmt: skip


@pytest.mark.slow
def test_the_search_lists_how_tos_first(site):
    pages = json.loads((site / "search" / "search_index.json").read_text())["docs"]
    boosts = {page["location"]: page.get("boost", 1) for page in pages if "#" not in page["location"]}
    assert boosts["howto/trainer_settings.html"] > boosts["reference/measure.html"]
    words = {page["location"]: page["text"] for page in pages}
    for word in ("num_generations", "frac_reward_zero_std", "rollout.n", "loss_agg_mode", "epsilon_high"):
        named = [boosts[page.split("#")[0]] for page, text in words.items() if word in text]
        assert max(named) == boosts["howto/trainer_settings.html"], word
    # A word of a title weighs a thousand times one of a text, so a how-to with all words in one title comes first.
    titles = {page["title"].lower(): page["location"].split("#")[0] for page in pages if page.get("boost")}
    for query, page in ENGINEERS_WORDS.items():
        answers = {titles[title] for title in titles if all(word in title for word in query.lower().split())}
        assert f"howto/{page}.html" in answers, query


@pytest.mark.slow
def test_notebooks_lead_to_the_page_with_sliders_and_fold_the_code_of_pictures(site):
    led = {
        page.stem: "explore/index.html" in page.read_text() for page in (site / "notebooks").glob("0*.html")
    }
    assert led["01_the_identity"]
    page = (site / "notebooks" / "07_errors_in_the_literature.html").read_text()
    folds = page.split('<details class="code">')[1:]
    assert len(folds) == 10  # its pictures; the code is within the fold, the picture below it
    assert all("plt.show" not in fold.split("</details>")[1] for fold in folds)
    assert all("<img" in fold.split("</details>")[1] for fold in folds)
    assert (site / "explore" / "index.html").exists()


SEEN = (
    "index.html", "explore/index.html", "howto/watch_a_training.html", "tutorial.html", "gallery.html",
    "theorems/index.html", "theorems/A7a.html",
    "notebooks/07_errors_in_the_literature.html", "reference/measure.html", "reference/commands.html",
)  # fmt: skip
# What a reader would trip over, as a list of sentences.
TRIPS = """
(() => {
  const wrong = [], wide = document.documentElement.clientWidth;
  const scrolls = (image) => image.closest(".jp-RenderedImage")?.getBoundingClientRect().width <= wide;
  if (document.documentElement.scrollWidth > wide) wrong.push("the page scrolls sideways");
  if (!document.querySelector("h1").innerText.trim()) wrong.push("no heading");
  for (const image of document.querySelectorAll("article img"))
    if (!image.naturalWidth || (image.getBoundingClientRect().width > wide && !scrolls(image)))
      wrong.push(`no picture: ${image.src.slice(0, 80)}`);
  for (const formula of document.querySelectorAll("math"))
    if (!formula.getClientRects().length && formula.checkVisibility()) wrong.push("a formula is not set");
  return wrong;
})()
"""


@pytest.mark.slow
@pytest.mark.skipif(browser.find() is None, reason="no Chromium or Chrome on this machine")
def test_pages_are_whole_and_quiet_in_a_browser(site, tmp_path):
    with browser.Browser(browser.find()) as running:
        for page in SEEN:
            for width in (360, 1400):
                running.open(site / page, width, touch=width == 360)
                assert running.evaluate(TRIPS) == [], (page, width)
        assert running.problems == []
        broken = tmp_path / "broken.html"
        broken.write_text(
            '<h1>x</h1><article><img src="none.png"></article><div style="width: 3000px">wide</div>'
        )
        running.open(broken, 360)
        assert len(running.evaluate(TRIPS)) == 2
