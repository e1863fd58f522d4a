"""HTML as lines of text. Tags are found one after another, never twice: twice as much is twice the work.

Python's own parser takes quadratic time on some broken input, and anybody can send us mail."""

import re
from html import unescape

TAG = re.compile(
    r"<(?P<end>/?)(?P<name>[A-Za-z][A-Za-z0-9]{0,20})(?P<attributes>[^<>]{0,4000})>|<!--|<[!?][^<>]{0,2000}>"
)
MARKS = re.compile(r"""\b(?:class|id)\s*=\s*(?:"([^"]{0,300})"|'([^']{0,300})'|([^\s"'>]{1,100}))""", re.IGNORECASE)
BLOCKS = ("p", "div", "br", "tr", "li", "table", "hr", "h1", "h2", "h3", "blockquote")
LEFT_OUT = ("blockquote", "style", "script", "head", "title")
QUOTED = ("gmail_quote", "gmail_attr", "moz-cite-prefix", "yahoo_quoted", "protonmail_quote", "gmail_signature",
          "moz-signature", "protonmail_signature", "ms-outlook-mobile-signature", "signature")  # fmt: skip
"""Classes and ids of what is quoted or added, by the mail programs that mark it."""
ENDS = ("divrplyfwdmsg", "appendonsend", "olk_src_body_section")
"""From here on it is what they answer to."""
OUTLOOK_QUOTE = "border-top:solid #e1e1e1"


def text_of(html: str) -> str:
    """The text that somebody wrote, without what their program marks as quoted or as a signature."""
    parts: list[str] = []
    skipped, depth, at = "", 0, 0

    def add(text: str) -> None:
        if not skipped:
            parts.append(re.sub(r"\s+", " ", unescape(text)))

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
        if skipped:
            depth += (name == skipped) * (-1 if tag["end"] else 1)
            skipped = skipped if depth > 0 else ""
            continue
        if name in BLOCKS:
            parts.append("\n")
        if tag["end"] or not name:
            continue
        marks = " ".join(one or two or three for one, two, three in MARKS.findall(tag["attributes"])).lower()
        plain = tag["attributes"].lower().replace("; ", ";").replace(": ", ":")
        if any(mark in marks for mark in ENDS) or name == "hr" or OUTLOOK_QUOTE in plain:
            break
        if name in LEFT_OUT or any(mark in marks for mark in QUOTED):
            skipped, depth = name, 1
    else:
        add(html[at:])
    return "".join(parts)
