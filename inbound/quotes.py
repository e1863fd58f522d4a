"""What somebody wrote in a reply: without what they quoted, above or below, and without their signature.

Everything works line by line on lines of bounded length, so that twice as much text is twice as much work."""

import re

MOST_LINES, LONGEST_LINE = 2_000, 1_000
ATTRIBUTION_LINES = 4
"""An attribution is wrapped over so many lines at most."""

LONGEST_ATTRIBUTION = 600
OPENING = re.compile(r"(?:-{2,}\s*)?(?:on|em|a|at|no dia|þann|þ\.|den|á)\b", re.IGNORECASE)
VERB = re.compile(r"\b(?:wrote|escreveu|skrifaði)\b", re.IGNORECASE)
RULE = re.compile(
    r"^(?:_{10,}|-{2,}\s*(?:original message|mensagem original|upprunaleg\w* (?:skilabo|póst)\S*|forwarded message"
    r"|mensagem encaminhada|áframsent\w*.{0,20})\s*-*|begin forwarded message:|início da mensagem.{0,20}:)$",
    re.IGNORECASE,
)
HEADER = re.compile(
    r"^\*?(?P<name>from|sent|date|to|cc|subject|de|enviad[ao](?: em)?|data|para|assunto|frá|sendandi|dagsetning|til"
    r"|viðtakandi|efni|afrit)\s?\*?:\*?\s?(?P<value>.*)$",
    re.IGNORECASE,
)
SENDER_HEADERS = ("from", "de", "frá", "sendandi")
HEADERS_AFTER = 5
DEVICE = re.compile(
    r"^(?:sent|enviad[ao]|send(?:ur|a)?|get|obter|obtenha|baixe|baixar|sæktu|sækja|náðu í|fáðu|secured by)\b.*"
    r"\b(?:iphone|ipad|ios|android|outlook|mail|e-mail|email|correio|windows|proton|galaxy|samsung|huawei|xiaomi|pixel"
    r"|blackberry|yahoo|gmail|thunderbird|k-9|mobile|celular|telemóvel|dispositivo|síma\w*|snjallsíma\w*|tæki\w*|póst\w*)\b",
    re.IGNORECASE,
)
BREVITY = re.compile(
    r"^(?:please excuse my brevity|(?:por favor,? )?desculpe\b.*\b(?:breve|brevidade)|afsakaðu\b)", re.IGNORECASE
)
LONGEST_SIGNATURE = 160


def own_text(text: str) -> str:
    """What somebody wrote. Empty where everything is quoted."""
    lines = [
        line[:LONGEST_LINE].rstrip() for line in text.replace("\r\n", "\n").replace("\xa0", " ").split("\n", MOST_LINES)
    ]
    lines = _without_quote_above(lines[:MOST_LINES])
    own: list[str] = []
    for n, line in enumerate(lines):
        if _begins_quote(lines, n) or line.strip() in ("--", "—"):
            break
        own.append(line)
    while own and (not own[-1].strip() or _is_device(own[-1])):
        own.pop()
    return "\n".join(own).strip()


def _without_quote_above(lines: list[str]) -> list[str]:
    """What stands below a quote, where the quote comes first."""
    first = next((n for n, line in enumerate(lines) if line.strip()), 0)
    after = first + _attribution(lines, first)
    quoted = next((n for n in range(after, len(lines)) if lines[n].strip()), None)
    if quoted is None or not lines[quoted].lstrip().startswith(">"):
        return lines
    end = next(
        (n for n in range(quoted, len(lines)) if lines[n].strip() and not lines[n].lstrip().startswith(">")), None
    )
    return lines[end:] if end is not None else []


def _begins_quote(lines: list[str], n: int) -> bool:
    line = lines[n].strip()
    return line.startswith(">") or bool(RULE.match(line)) or bool(_attribution(lines, n)) or _is_header_block(lines, n)


def _attribution(lines: list[str], n: int) -> int:
    """How many lines from here on say who wrote what follows, and when; 0 where they do not.

    It names a day or an hour, and an address, us, or is followed by a quote: a reason may say "wrote" as well."""
    if n >= len(lines) or not _may_open(lines[n].strip()):
        return 0
    joined = ""
    for length in range(1, ATTRIBUTION_LINES + 1):
        line = lines[n + length - 1].strip() if n + length <= len(lines) else ""
        joined = f"{joined} {line}".strip()
        if not line or len(joined) > LONGEST_ATTRIBUTION:
            return 0
        if joined.endswith((":", "--")) and VERB.search(joined) and any(map(str.isdigit, joined)):
            below = next((line for line in lines[n + length : n + length + 3] if line.strip()), "")
            known = "@" in joined or "dealwright" in joined.lower() or below.lstrip().startswith(">")
            return length if known else 0
    return 0


def _may_open(line: str) -> bool:
    """`On 2 March …`, or an address at once: `Dealwright <reply@…> wrote:`."""
    return bool(OPENING.match(line)) or "<" in line[:80]


def _is_header_block(lines: list[str], n: int) -> bool:
    """Whether the headers of the mail that is answered begin here: its sender, and more headers right below."""
    first = HEADER.match(lines[n].strip())
    if first is None or first["name"].lower() not in SENDER_HEADERS:
        return False
    below = sum(HEADER.match(line.strip()) is not None for line in lines[n + 1 : n + 1 + HEADERS_AFTER])
    return below >= (1 if "@" in first["value"] else 2)


def _is_device(line: str) -> bool:
    """`Sent from my iPhone`, `Get Outlook for iOS`, and what other mail programs add by themselves."""
    text = line.strip()
    return len(text) <= LONGEST_SIGNATURE and bool(DEVICE.match(text) or BREVITY.match(text))
