"""A policy as YAML: what people read, keep in a repository and exchange. Export of an import is the same text."""

import re
from decimal import Decimal
from typing import Any

import yaml
from pydantic import ValidationError

from domain.approvals.policy import Policy
from domain.errors import Invalid
from domain.problems import invalid_fields
from domain.values import plain_number

MAX_BYTES = 1_000_000


class _Loader(yaml.SafeLoader):
    """Plain YAML only: no tags that build objects, no aliases (a few lines of those can unfold to gigabytes)."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases are not allowed", event.start_mark)
        return super().compose_node(parent, index)


def _decimal(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Decimal:
    text = str(loader.construct_scalar(node)).replace("_", "")
    try:
        number = Decimal(text)
    except ArithmeticError:
        number = Decimal("NaN")
    if not number.is_finite() or abs(number.adjusted()) > 30 or len(text) > 60:
        raise yaml.constructor.ConstructorError(None, None, "is no number of a size we take", node.start_mark)
    return number


_Loader.add_constructor("tag:yaml.org,2002:float", _decimal)
GUESSED = ("bool", "int", "float")
"""What YAML 1.1 guesses too much of: NO as false, 00123 as 83, 12:30 as 750, 1_000 as a thousand."""
DECIMAL = r"[-+]?(?:0|[1-9][0-9]*)\.[0-9]*(?:[eE][-+][0-9]+)?|[-+]?\.[0-9]+"
PLAIN = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "float": (DECIMAL + r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+0123456789."),
    "int": (r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
}
"""What is a truth or a number without quotes, and how it begins; everything else is the text that stands there."""
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag.rpartition(":")[2] not in GUESSED]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, (_pattern, _first) in PLAIN.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _number(dumper: yaml.SafeDumper, number: Decimal) -> yaml.ScalarNode:
    text = plain_number(number)
    return dumper.represent_scalar("tag:yaml.org,2002:float" if "." in text else "tag:yaml.org,2002:int", text)


_Dumper.add_representer(Decimal, _number)


def read_policy(text: str) -> Policy:
    """The policy a YAML text describes. Raises Invalid naming the line, or each field, that is wrong."""
    if len(text.encode(errors="replace")) > MAX_BYTES:
        raise Invalid.field("policy", "is longer than {most} bytes", most=f"{MAX_BYTES:,}")
    try:
        data = yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "policy"
        raise Invalid.field(place, "is not YAML: {why}", why=getattr(error, "problem", None) or "?") from None
    if not isinstance(data, dict):
        raise Invalid.field("policy", "must be a mapping with kind, variables, chains and rules")
    try:
        return Policy.model_validate(_indexed(data))
    except ValidationError as error:
        raise invalid_fields("the policy cannot be read", error) from None


def _indexed(data: dict[str, Any]) -> dict[str, Any]:
    """Empty sections are left out, and conditions without an index are counted from 1."""
    data = {key: value for key, value in data.items() if value is not None}
    rules = data.get("rules")
    for rule in rules if isinstance(rules, list) else []:
        conditions = rule.get("conditions") if isinstance(rule, dict) else None
        for n, condition in enumerate(conditions if isinstance(conditions, list) else [], 1):
            if isinstance(condition, dict):
                condition.setdefault("index", n)
    return data


def write_policy(policy: Policy) -> str:
    """The one YAML text of a policy: fields in their declared order, defaults left out."""
    data = policy.model_dump(exclude_defaults=True)
    return yaml.dump(_listed(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_listed(item) for item in value]
    return str(value) if isinstance(value, str) else value
