"""Settings as people paste them: a Python dict or call, command-line flags, `key = value` lines, a guide's own list.

Only plain values are read and nothing is run. What no setting can be read from is named, by its lines.
"""

from __future__ import annotations

import ast
import re
import shlex
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sidestep_tui.core import text
from sidestep_tui.core.errors import SettingsError
from sidestep_tui.schema.fields import fields_by_path
from sidestep_tui.schema.import_files import LARGEST_LIST, parse_yaml
from sidestep_tui.schema.import_keys import ALTERATION_KEYS, CROP_KEYS, PATTERN_KEYS, TARGET_KEYS, meaning_of

_LABELS: Final = {
    "grad_accumulation": "gradient_accumulation",
    "grad_checkpointing": "gradient_checkpointing",
    "scheduler": "scheduler_type",
    "attention": "attention_type",
    "max_crop_length": "max_latent_length",
    "best_after": "save_best_after",
    "lora_rank_r": "lora_rank",
}
"""Headings of guides that are no key of any trainer."""
_FENCE = re.compile(r"^```[ \t]*(\w*)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_FLAG = re.compile(r"(?:^|\s)--[A-Za-z][\w.-]*")
_LABELLED = re.compile(r"([A-Za-z][\w .()$\\/{}-]{0,60}?)\s*(?::|=)(?!=)\s*(.*)", re.DOTALL)
_INSIDE = re.compile(r"\b([a-z]\w*)\s*[=:]\s*([+-]?\d[\w.+-]*|[Tt]rue|[Ff]alse|\"[^\"]*\"|'[^']*')")
_CUE = re.compile(r"\b(?:set to|must be|default(?: value)?(?: of| is)?:?)\s+([`\"']?)([\w.+-]*\w)\1", re.IGNORECASE)
_SCHEDULE = re.compile(r"\b(cosine|linear|constant|polynomial)(?: \w+)? sched", re.IGNORECASE)
_WARMUP = re.compile(r"\b(\d[\d_]*) warm-?up steps", re.IGNORECASE)
_LEAVE_ON = re.compile(r"\b(?:leave|keep) (?:this|it) on\b", re.IGNORECASE)
_TOGETHER: Final = (*TARGET_KEYS, *PATTERN_KEYS, *CROP_KEYS, *ALTERATION_KEYS, "use_dora", "layers_to_transform")
_TABLE_HEADS: Final = ("parameter", "setting", "option", "key", "name")
_MOST_WORDS: Final = 3


@dataclass(slots=True)
class Block:
    """What was read: values by key, keys that are there twice, and what could not be read with the reason."""

    format: str
    values: dict[str, Any] = field(default_factory=dict)
    doubles: list[str] = field(default_factory=list)
    unread: list[tuple[str, str]] = field(default_factory=list)

    def add(self, key: str, value: Any) -> None:
        """Keep a value; of two the last one counts."""
        if key in self.values and self.values[key] != value and key not in self.doubles:
            self.doubles.append(key)
        self.values[key] = value


def read_block(content: str, shown: str) -> Block:
    """The settings in a pasted text; the first way of reading it that finds any counts."""
    if len(content) > LARGEST_LIST:
        limit = text.file_size(LARGEST_LIST)
        raise SettingsError(
            f"{shown} is too long for a list of settings.", f"The limit is {limit}.", "Paste less of it."
        )
    fenced = [match[2] for match in _FENCE.finditer(content)]
    for piece in [*fenced, content]:
        for reader in (_flags, _python, _nested, _lines):
            block = reader(piece)
            if block is not None and _says_something(block.values):
                if piece is not content:
                    block.unread.append(("around the code", "only the block of code was read"))
                return block
    return Block("text")


def is_known(key: str) -> bool:
    """Whether a key means anything here."""
    leaf = key.rpartition(".")[2]
    return leaf in _TOGETHER or key in fields_by_path() or meaning_of(key, leaf) is not None


def _says_something(values: Mapping[str, Any]) -> bool:
    inside = (value for value in values.values() if isinstance(value, dict))
    return any(map(is_known, values)) or any(map(_says_something, inside))


def plain(word: str) -> Any:
    """A value from text: a number, true or false, a list, or the text without its quotes."""
    stripped = word.strip().rstrip(",;")
    if stripped.lower() in ("true", "false"):
        return stripped.lower() == "true"
    if stripped.lower() == "null":
        return None
    try:
        value = ast.literal_eval(_parsed(stripped, "eval"))
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        inside = re.fullmatch(r"[\[(](.*)[\])]", stripped, re.DOTALL)
        return (
            [item.strip(" \n`\"'") for item in inside[1].split(",") if item.strip()]
            if inside
            else stripped.strip("`\"'")
        )
    if isinstance(value, tuple):
        return list(value)
    return value if isinstance(value, (str, int, float, list, dict)) or value is None else stripped


def _parsed(source: str, mode: str) -> ast.AST:
    """The tree of a foreign text. What Python would warn of in a program of one's own is no news here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source, mode=mode)


# A command line


def _flags(content: str) -> Block | None:
    if not _FLAG.search(content):
        return None
    try:
        words = shlex.split(content.replace("\\\r\n", " ").replace("\\\n", " "), comments=True)
    except ValueError:
        return None
    block = Block("command line")
    name, values = "", list[str]()
    for word in [*words, "--"]:
        if not re.match(r"--?[A-Za-z]|--$", word):
            values.append(word)
            continue
        if name:
            _add_flag(block, name, values)
        name, sign, value = word.lstrip("-").partition("=")
        values = [value] if sign else []
    return block


def _add_flag(block: Block, name: str, values: list[str]) -> None:
    key = name if name in fields_by_path() else name.replace("-", "_")
    if key in ("s", "set") and len(values) == 1 and "=" in values[0]:
        path, _, value = values[0].partition("=")
        block.add(path.strip(), plain(value))
    elif not values and key.startswith("no_") and is_known(key.removeprefix("no_")):
        block.add(key.removeprefix("no_"), False)
    elif not values:
        block.add(key, True)
    else:
        found = [plain(value) for value in values]
        block.add(key, found[0] if len(found) == 1 else found)


# Python


def _python(content: str) -> Block | None:
    try:
        tree = _parsed(content.strip(), "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    block = Block("Python")
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[target], value=value):
                _collect(block, _name(target), value)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                _collect(block, _name(target), value)
            case ast.Expr(value=ast.Dict() | ast.Call() as value):
                _collect(block, "", value)
    return block


def _collect(block: Block, name: str, node: ast.expr, *, section: str = "") -> None:
    """The values in one expression: those of a dict or of a call's keywords by their own names, below its section."""
    if isinstance(node, ast.Dict) and name.rpartition(".")[2] not in PATTERN_KEYS:
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, (str, int)):
                inside = f"{section}{key.value}"
                _collect(block, inside, value, section=f"{inside}.")
        return
    if isinstance(node, ast.Call):
        if not node.keywords and name:
            block.unread.append((name, "an expression, not a plain value"))
        for keyword in node.keywords:
            inside = f"{section}{keyword.arg or ''}"
            _collect(block, inside, keyword.value, section=f"{inside}.")
        return
    if not name:
        return
    try:
        block.add(name, _value_of(node))
    except ValueError:
        block.unread.append((name, "an expression, not a plain value"))


def _value_of(node: ast.expr) -> Any:
    """A plain value; names stand for themselves (`torch.bfloat16`, `bf16-true`, `[to_q, to_k]`)."""
    match node:
        case ast.Dict(keys=keys, values=values) if all(isinstance(key, ast.Constant) for key in keys):
            return {
                str(ast.literal_eval(key)): _value_of(value) for key, value in zip(keys, values, strict=True) if key
            }
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
            return [_value_of(item) for item in items]
        case ast.BinOp(left=ast.Name() as left, op=ast.Sub(), right=ast.Name() as right):
            return f"{left.id}-{right.id}"
    try:
        return ast.literal_eval(node)
    except (TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError from error


def _name(target: ast.expr) -> str:
    match target:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(slice=ast.Constant(value=str(name))):
            return name
    return ""


# Sections


def _nested(content: str) -> Block | None:
    """YAML with sections or lists, pasted without its file."""
    try:
        values, doubles = parse_yaml(content, "The text")
    except SettingsError:
        return None
    sections = any(isinstance(value, (dict, list)) for value in values.values())
    if not sections or not all(re.fullmatch(r"[\w.-]+", str(key)) for key in values):
        return None
    return Block("YAML", dict(values), doubles)


# Lines


def _lines(content: str) -> Block:
    block = Block("list of settings")
    unread: list[int] = []
    for number, line in _logical_lines(content):
        before = len(block.values)
        if not _read_line(block, line) and len(block.values) == before:
            unread.append(number)
    if unread:
        numbers = text.listing([str(number) for number in unread], most=12)
        block.unread.append((f"{'line' if len(unread) == 1 else 'lines'} {numbers}", "no setting is named there"))
    return block


def _logical_lines(content: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers, without headings and rulers; the rest of a wrapped sentence belongs to its first."""
    number, gathered = 0, ""
    for index, line in enumerate(content.splitlines(), start=1):
        bare = line.strip()
        begins = not bare or re.match(r"[-*•>|#=]|\d+[.)]\s|\[", bare) or _label_of(bare)[0]
        if begins and gathered:
            yield number, gathered
            gathered = ""
        if (
            not bare
            or re.fullmatch(r"[-=*_#|: ]+", bare)
            or re.match(r"#+ ", bare)
            or re.fullmatch(r"\[[\w.]+\]", bare)
        ):
            continue
        number, gathered = (number, f"{gathered} {bare}") if gathered else (index, bare)
    if gathered:
        yield number, gathered


def _read_line(block: Block, line: str) -> bool:
    """Whether anything was read, or there is nothing to say about it."""
    cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
    key, value = _label_of(f"{cells[0]}: {cells[1]}" if len(cells) == 2 else "" if cells else line)
    if (cells and cells[0].strip("*` ").lower() in _TABLE_HEADS) or (key and not value.strip()):
        return True
    if not key:
        return False
    for reader in (_schedule_in, _assignments_in):
        for name, found in reader(value):
            if name != key:
                block.add(name, found)
    if not is_known(key):
        # A bare word with a bare value is a key of somebody's; a heading in words is part of a text.
        if re.fullmatch(r"[\w.-]+", line[: len(key)]) and not re.search(r"\s", value.strip()) and value.strip():
            block.add(key, plain(value))
            return True
        return False
    found = _value_in(value)
    if found is None:
        return False
    block.add(key, found)
    return True


def _label_of(line: str) -> tuple[str, str]:
    """The key that a line begins with and what follows; empty where it begins with none."""
    bare = re.sub(r"^(?:[-*•>]+\s+|\d+[.)]\s+)", "", line.strip()).replace("**", "").removeprefix("export ")
    match = _LABELLED.match(bare.replace("`", "", 2) if bare.startswith("`") else bare)
    if match is None:
        return "", ""
    label = re.sub(r"\(.*?\)|\$.*?\$", "", match[1]).strip().strip("\"'").lower()
    key = re.sub(r"[^\w.]+", "_", label).strip("_")
    key = _LABELS.get(key, key)
    words = len(re.split(r"[_ ]", label))
    return (key, match[2]) if key and (is_known(key) or words <= _MOST_WORDS) else ("", "")


def _value_in(words: str) -> Any:
    """The value that a sentence states; None where it states none."""
    listed = re.match(r"\s*([\[(][^\])]*[\])])", words)
    if listed and "," in listed[1]:
        return plain(listed[1])
    cue = _CUE.search(words)
    if cue:
        return plain(cue[2])
    # What stands in brackets, and after the first sentence, explains.
    if _LEAVE_ON.search(words):
        return True
    stated = re.sub(r"\s*\(.*", "", words.split(" #")[0], flags=re.DOTALL)
    stated = re.split(r"\.\s|[,;]\s", stated)[0].strip().rstrip(".")
    first = stated.split(" ")[0] if stated else ""
    if isinstance(plain(first), (int, float, bool)):
        return plain(first)
    if not stated or len(stated.split()) > _MOST_WORDS:
        return None
    return plain(stated)


def _schedule_in(words: str) -> Iterator[tuple[str, Any]]:
    """`with a cosine scheduler and 100 warmup steps`, as guides say beside the learning rate."""
    for key, pattern in (("scheduler_type", _SCHEDULE), ("warmup_steps", _WARMUP)):
        match = pattern.search(words)
        if match:
            yield key, plain(match[1].lower())


def _assignments_in(words: str) -> Iterator[tuple[str, Any]]:
    """`num_workers=4, train_batch_size: 2` in the middle of a sentence."""
    for match in _INSIDE.finditer(words):
        if is_known(match[1]):
            yield match[1], plain(match[2])
