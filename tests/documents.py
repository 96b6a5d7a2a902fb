"""What the documentation shows: its fenced blocks in order, its headings and its links.

A comment in front of a block, which readers do not see, says what the tests do with it:

    <!-- not run: REASON -->     its command lines are only given to the programs' own parsers
    <!-- written to FILE -->     the block is put into that file
    <!-- prints -->              what the block before must have printed: … stands for anything, and a number with a
                                 decimal point for any such number
    <!-- until stopped -->       a service: once it has said something, SIGTERM must end it with status 0
    <!-- fails: STATUS -->       the last of its commands ends with this status, and not with 0
    <!-- before: COMMAND -->     is run, for what the following blocks need
    <!-- where NAME is VALUE --> from here on in this page, NAME in commands stands for VALUE, as the text says
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

CHECKOUT = Path(__file__).resolve().parents[1]
README, DOCS = CHECKOUT / "README.md", CHECKOUT / "docs"
# README and the tutorials first, as a newcomer meets them: what they leave in the bucket, other pages look at.
TUTORIALS = sorted(DOCS.glob("tutorials/*.md"))
PAGES = [README, *TUTORIALS, *sorted(set(DOCS.rglob("*.md")) - set(TUTORIALS))]

_COMMENT = re.compile(
    r"<!--\s*(not run|written to|prints|until stopped|fails|where|before)\b:?\s*(.*?)\s*-->", re.DOTALL
)
_MARKDOWN = MarkdownIt("gfm-like", {"linkify": False})


@dataclass(frozen=True)
class Block:
    """A fenced block. `directive` is one of those above, or empty; `argument` is what the comment says after it."""

    page: Path
    line: int
    language: str
    text: str
    directive: str = ""
    argument: str = ""

    def __str__(self) -> str:
        return f"{self.page.relative_to(CHECKOUT)}:{self.line}"


def _tokens(page: Path) -> list[Token]:
    return _MARKDOWN.parse(page.read_text(encoding="utf-8"))


def blocks(page: Path) -> list[Block]:
    """A page's blocks, in order, with the names put in that the page says stand for something."""
    found, stand_ins = [], {}
    directive = argument = ""
    for token in _tokens(page):
        if token.type == "html_block":
            for directive, argument in _COMMENT.findall(token.content):
                if directive == "before":
                    assert token.map is not None
                    found.append(Block(page, token.map[0] + 1, "sh", argument, directive))
                elif directive == "where":
                    name, _, value = argument.partition(" is ")
                    stand_ins[name] = value
                else:
                    continue
                directive = argument = ""
        elif token.type == "fence":
            assert token.map is not None
            text = token.content
            for name, value in stand_ins.items():
                text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", value, text)
            language = (token.info.split() or [""])[0]
            found.append(Block(page, token.map[0] + 1, language, text, directive, argument))
            directive = argument = ""
        elif token.nesting >= 0 and token.type in ("paragraph_open", "heading_open"):
            assert not directive, f"{page}: <!-- {directive} … --> stands before no block"
    return found


def _inline(page: Path) -> Iterator[Token]:
    for token in _tokens(page):
        yield from token.children or ()


def links(page: Path) -> list[str]:
    """Where a page's links and pictures point."""
    addresses = [str(token.attrs.get("href") or token.attrs.get("src") or "") for token in _inline(page)]
    return [address for address in addresses if address]


def code_spans(page: Path) -> list[str]:
    """What stands between backquotes in a page's text."""
    return [token.content for token in _inline(page) if token.type == "code_inline"]


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to a page's headings."""
    found: dict[str, int] = {}
    tokens = _tokens(page)
    for token, following in pairwise(tokens):
        if token.type == "heading_open":
            text = "".join(child.content for child in following.children or ())
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            found[slug] = found.get(slug, -1) + 1
    return {slug if not number else f"{slug}-{number}" for slug, count in found.items() for number in range(count + 1)}
