"""What somebody wrote in a reply: without what they quoted, above or below, and without their signature.

Everything works line by line on lines of bounded length, so that twice as much text is twice as much work."""

import re

MOST_LINES, LONGEST_LINE = 2_000, 1_000
ATTRIBUTION_LINES = 4
"""An attribution is wrapped over so many lines at most."""

LONGEST_ATTRIBUTION = 600
OPENING = re.compile(r"(?:-{2,}\s*)?(?:on|em|a|at|às|no dia|þann|þ\.|den|á)\b", re.IGNORECASE)
VERB = re.compile(
    r"\b(?:wrote|writes|quoting|escreveu|escreve|citando|skrifaði|skrifar)\b|^\* dealwright \[", re.IGNORECASE
)
OUR_NAME = "dealwright"
RULE = re.compile(
    r"^(?:_{20,}|-{2,}\s*(?:original (?:message|appointment)|mensagem original|forwarded message|mensagem encaminhada"
    r"|(?:upprunaleg|upphafleg)\w* (?:skilabo|póst|skeyti|tölvupóst)\S*|áframsent\w*.{0,20})\s*-*"
    r"|>>> .{1,200} >>>|begin forwarded message:|início da mensagem.{0,20}:)$",
    re.IGNORECASE,
)
HEADER = re.compile(
    r"^\*?(?P<name>from|sent(?: þann)?|date|to|cc|subject|de|enviad[ao]s?(?: em)?|data|para|assunto|frá|sendandi"
    r"|dagsetning|dags\.?|til|viðtakandi|efni|afrit)\s?\*?:\*?\s?(?P<value>.*)$",
    re.IGNORECASE,
)
SENDER_HEADERS = ("from", "de", "frá", "sendandi")
SUBJECT_HEADERS = ("subject", "assunto", "efni")
MOST_HEADERS, FEWEST_HEADERS = 6, 3
MAILBOX = re.compile(r"<[^<>\s]+@[^<>\s]+>|\[mailto:")

APP = (
    r"(?:outlook|gmail|proton ?mail|proton|yahoo(?: ?mail)?|spark|superhuman|airmail|canary|tuta(?:nota)?|fair ?email"
    r"|blue ?mail|my ?mail|aqua ?mail|newton(?: mail)?|edison(?: mail)?|zoho(?: mail)?|thunderbird|k-9(?: mail)?"
    r"|mailspring|windows mail|e-mail seguro \w+|samsung \w+|huawei \w+|iphone\S*|ipad\S*|android|ios|galaxy"
    r"|blackberry|mobile|my \w+"
    r"|(?:mail|e-?mail|correio|póst\w*) (?:for|on|para|no|do|fyrir|í) \w+)"
)
SYSTEM = r"(?:ios|ipados|android|iphone|ipad|mac(?:os)?|windows|mobile|web)"
DEVICES = (
    # Sent from my iPhone · Enviado a partir do meu telemóvel · Sent úr símanum mínum
    r"sent (?:from|on|with|via|using) my\b.*",
    r"enviad[ao] (?:a partir |através )?(?:do|da|de|pel[oa]) (?:meu|minha)\b.*",
    r"sent (?:úr|af|frá|með) .{1,40}\bmín\w+\b.*",
    # Sent with Proton Mail secure email · Enviado do Outlook · Sent með Proton Mail
    rf"sent (?:securely )?(?:from|with|via|using) {APP}\b.*",
    rf"enviad[ao] (?:a partir |através )?(?:do|da|de|com|via|pel[oa])(?: [oa])? {APP}\b.*",
    rf"sent (?:úr|af|frá|með|í gegnum) {APP}\b.*",
    # Get Outlook for iOS <https://…>
    rf"get {APP} (?:for|on) {SYSTEM}\b\s*(?:[<(\[]?https?:\S*)?",
    rf"(?:obter|obtenha|baixe|baixar)(?: o)? {APP} (?:para|no) {SYSTEM}\b\s*(?:[<(\[]?https?:\S*)?",
    rf"(?:sækja|sæktu|fáðu|náðu í) {APP} (?:fyrir|í) {SYSTEM}\b\s*(?:[<(\[]?https?:\S*)?",
    rf"(?:secured|encrypted) (?:by|with) {APP}\b.*",
    r"virus-free\.? \S*(?:avast|avg)\S*",
    r"yahoo mail: search, organize, conquer",
    # The second sentence of a signature, in a line of its own
    r"please (?:excuse|pardon|forgive) (?:my |any )?(?:brevity|typos).*",
    r"(?:por favor,? )?desculpe (?:pela |a )?(?:minha )?brevidade.*",
    r"afsakaðu (?:hve|hvað|hversu) stuttorð.*",
)
DEVICE = re.compile("|".join(f"(?:{device})" for device in DEVICES), re.IGNORECASE)
ADDRESS = re.compile(r"^<?https?://\S+>?$", re.IGNORECASE)
LONGEST_SIGNATURE = 160


def own_text(text: str) -> str:
    """What somebody wrote. Empty where everything is quoted."""
    lines = [
        line[:LONGEST_LINE].rstrip() for line in text.replace("\r\n", "\n").replace("\xa0", " ").split("\n", MOST_LINES)
    ]
    lines = _without_quote_above(lines[:MOST_LINES])
    own: list[str] = []
    for n, line in enumerate(lines):
        if _begins_quote(lines, n) or line.strip() == "--":
            break
        own.append(line)
    return "\n".join(_without_device(own)).strip()


def _without_device(lines: list[str]) -> list[str]:
    """The lines without those that a mail program adds at the end, with the address below them."""
    end = kept = len(lines)
    while end:
        line = lines[end - 1].strip()
        if line and not ADDRESS.match(line):
            if not _is_device(line):
                break
            kept = end - 1
        end -= 1
    return lines[:kept]


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
    return _is_quoted(lines, n) or bool(RULE.match(line)) or bool(_attribution(lines, n)) or _is_header_block(lines, n)


def _is_quoted(lines: list[str], n: int) -> bool:
    """Whether quoted lines begin here. One line alone is none: `> 20 %` is a reason."""
    if not lines[n].lstrip().startswith(">"):
        return False
    after = next((line for line in lines[n + 1 :] if line.strip()), "")
    return after.lstrip().startswith(">")


def _attribution(lines: list[str], n: int) -> int:
    """How many lines from here on say who wrote what follows, and when; 0 where they do not.

    It names us, or a day or an hour, and an address or is followed by a quote: a reason may say "wrote" as well."""
    if n >= len(lines):
        return 0
    joined = ""
    for length in range(1, (ATTRIBUTION_LINES if _may_wrap(lines[n].strip()) else 1) + 1):
        line = lines[n + length - 1].strip() if n + length <= len(lines) else ""
        joined = f"{joined} {line}".strip()
        if not line or len(joined) > LONGEST_ATTRIBUTION:
            return 0
        if joined.endswith((":", "--")) and VERB.search(joined):
            below = next((line for line in lines[n + length : n + length + 3] if line.strip()), "")
            ours = OUR_NAME in joined.lower()
            dated = any(map(str.isdigit, joined)) and ("@" in joined or below.lstrip().startswith(">"))
            return length if ours or dated else 0
    return 0


def _may_wrap(line: str) -> bool:
    """`On 2 March …`, or an address at once: `Dealwright <reply@…> wrote:`. Other forms stand in one line."""
    return bool(OPENING.match(line)) or "<" in line[:80]


def _is_header_block(lines: list[str], n: int) -> bool:
    """Whether the headers of the mail that is answered begin here: several, each once, its sender among them.

    The sender has an address or our name, or there is a subject: `From: 40 %` and `To: 20 %` are a reason."""
    block: dict[str, str] = {}
    for line in lines[n : n + MOST_HEADERS]:
        header = HEADER.match(line.strip())
        if header is None or header["name"].lower() in block:
            break
        block[header["name"].lower()] = header["value"].lower()
    sender = next((block[name] for name in SENDER_HEADERS if name in block), None)
    if sender is None or len(block) < (2 if MAILBOX.search(sender) else FEWEST_HEADERS):
        return False
    return "@" in sender or OUR_NAME in sender or any(name in block for name in SUBJECT_HEADERS)


def _is_device(line: str) -> bool:
    """`Sent from my iPhone`, `Get Outlook for iOS`, and what other mail programs add by themselves."""
    text = line.strip()
    return len(text) <= LONGEST_SIGNATURE and DEVICE.fullmatch(text) is not None
