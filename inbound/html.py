"""HTML as lines of text. Tags are found one after another, never twice: twice as much is twice the work.

Python's own parser takes quadratic time on some broken input, and anybody can send us mail."""

import re
from html import unescape

TAG = re.compile(
    r"""<(?P<end>/?)(?P<name>[A-Za-z][A-Za-z0-9]{0,20})(?P<attributes>(?:"[^"<]*+"|'[^'<]*+'|[^<>])*+)>"""
    r"|<!--|<[!?][^<>]{0,2000}>"
)
MARKS = re.compile(r"""\b(?:class|id)\s*=\s*(?:"([^"]{0,300})"|'([^']{0,300})'|([^\s"'>]{1,100}))""", re.IGNORECASE)
BLOCKS = (
    "p",
    "div",
    "br",
    "tr",
    "li",
    "ul",
    "ol",
    "table",
    "hr",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "blockquote",
    "pre",
    "section",
    "article",
    "header",
    "footer",
    "dt",
    "dd",
)
LEFT_OUT = ("blockquote", "style", "script", "head", "title")
QUOTED = (
    "gmail_quote",
    "gmail_quote_container",
    "gmail_attr",
    "gmail_signature",
    "moz-cite-prefix",
    "moz-signature",
    "protonmail_quote",
    "protonmail_signature_block",
    "tutanota_quote",
    "ms-outlook-mobile-signature",
    "composer_signature",
    "signature",
)
"""Classes and ids of what is quoted or added, by the mail programs that mark it."""
YAHOO_QUOTE = "yahoo_quoted"
"""The end of an id: Yahoo puts letters of its own before it."""
ENDS = ("divrplyfwdmsg", "appendonsend", "olk_src_body_section", "mail-editor-reference-message-container")
"""From here on it is what they answer to."""
OUTLOOK_QUOTE = "border-top:solid #e1e1e1"


def text_of(html: str) -> str:
    """The text that somebody wrote, without what their program marks as quoted or as a signature."""
    parts: list[str] = []
    skipped, depth, at, preformatted = "", 0, 0, False

    def add(text: str) -> None:
        if not skipped:
            parts.append(unescape(text) if preformatted else re.sub(r"\s+", " ", unescape(text)))

    for tag in TAG.finditer(html):
        if tag.start() < at:
            continue  # inside a comment
        add(html[at : tag.start()])
        at = tag.end()
        if tag[0] == "<!--":
            end = html.find("-->", at)
            at = end + 3 if end >= 0 else len(html)
            continue
        name = (tag["name"] or "").lower()
        if skipped and not (name == "body" and skipped in ("head", "title")):
            depth += (name == skipped) * (-1 if tag["end"] else 1)
            skipped = skipped if depth > 0 else ""
            continue
        skipped = ""
        preformatted = not tag["end"] if name == "pre" else preformatted
        if name in BLOCKS:
            parts.append("\n")
        if tag["end"] or not name:
            continue
        marks = _marks(tag["attributes"])
        plain = tag["attributes"].lower().replace("; ", ";").replace(": ", ":")
        if not marks.isdisjoint(ENDS) or name == "hr" or OUTLOOK_QUOTE in plain:
            break
        if name in LEFT_OUT or not marks.isdisjoint(QUOTED) or any(mark.endswith(YAHOO_QUOTE) for mark in marks):
            skipped, depth = name, 1
    else:
        add(html[at:])
    return "".join(parts)


def _marks(attributes: str) -> set[str]:
    """The classes and the id of a tag."""
    found = (one or two or three for one, two, three in MARKS.findall(attributes))
    return {mark for marks in found for mark in marks.lower().split()}
