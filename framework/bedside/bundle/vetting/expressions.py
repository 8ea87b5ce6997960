"""Judges one ``$`` expression by its syntax tree; evaluates nothing."""

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from bedside.bundle.vetting.allowed import (
    ALLOWED_IMPORTS,
    ALLOWED_MEMBERS,
    ALLOWED_NAMES,
    LOOKS_UP,
    REFUSED_CLASS,
    REFUSED_METHODS,
)
from bedside.bundle.vetting.findings import shown
from bedside.bundle.vetting.site_policy import SitePolicy, allows

_REFERENCE = re.compile(r"@\w*(::\w*)*")  # ReferenceResolver.id_matcher
_RELATIVE = re.compile(r"[@%](#|::)")  # MONAI writes the enclosing keys' text in its place, whatever that is
_NUMPY_ALIAS = ("numpy", "np")
_LOAD_ARGUMENTS = frozenset({"f", "map_location", "weights_only", "mmap"})


class Offence(NamedTuple):
    """A rule that a text breaks, and how."""

    rule: str
    explanation: str


def judge_expression(text: str, policy: SitePolicy) -> Iterator[Offence]:
    """Yield what is wrong with an expression; ``text`` is what follows the ``$``."""
    expression = text.strip()
    if re.match(r"(import|from)\s", expression):
        yield from _judge_import(expression, policy)
        return
    if _RELATIVE.search(expression):
        yield Offence("expression", "a relative reference: MONAI writes the enclosing keys into the expression")
        return
    # The same text that MONAI will evaluate (ReferenceResolver.update_refs_pattern), so that both read it alike.
    replaced = _REFERENCE.sub(lambda found: f"__local_refs['{found[0][1:]}']", expression.replace("#", "::"))
    try:
        tree = ast.parse(replaced, mode="eval")
        yield from _Judge(policy, tree).judge(tree)
    except (SyntaxError, ValueError):
        yield Offence("expression", f"'{shown(text)}' is no Python expression")
    except (RecursionError, MemoryError):
        yield Offence("expression", "an expression nested too deep to be read")


def dotted(node: ast.expr) -> tuple[str, str]:
    """Return a chain of plain attributes as its first name and the rest; empty where it is no such chain."""
    steps: list[str] = []
    while isinstance(node, ast.Attribute):
        steps.append(node.attr)
        node = node.value
    return (node.id, ".".join(reversed(steps))) if isinstance(node, ast.Name) else ("", "")


def _judge_import(text: str, policy: SitePolicy) -> Iterator[Offence]:
    # MONAI runs imports before anything else, even to read a number: `$import scripts` runs scripts/__init__.py.
    try:
        statements = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        statements = []
    if len(statements) != 1 or not isinstance(statements[0], ast.Import) or len(statements[0].names) != 1:
        # `from a import b` of an allowed a could be `from monai.data import dataset`, whose `pickle` is one step away.
        yield Offence("import", f"'{shown(text)}' is more than `import module`")
        return
    alias = statements[0].names[0]
    if allows(policy.imports, alias.name):
        return
    if alias.name not in ALLOWED_IMPORTS:
        yield Offence("import", f"imports {shown(alias.name)}, which is no allowed module")
    elif alias.asname is not None and (alias.name, alias.asname) != _NUMPY_ALIAS:
        yield Offence("import", f"imports {alias.name} under another name")


class _Judge:
    """Walks one expression, with the names that it defines itself."""

    def __init__(self, policy: SitePolicy, tree: ast.AST) -> None:
        self._policy = policy
        own = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        own |= {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        self._own = own
        self._names = ALLOWED_NAMES | own

    def judge(self, tree: ast.AST) -> Iterator[Offence]:
        for name in sorted(self._own):
            if (name.startswith("_") and name != "_") or name in ALLOWED_MEMBERS:
                yield Offence("expression", f"gives the name {name} a meaning of its own")
        # A name that the expression binds itself is not the one that the site has allowed.
        yield from dict.fromkeys(self._node(tree))

    def _node(self, node: ast.AST) -> Iterator[Offence]:
        if isinstance(node, ast.Call) and dotted(node.func) == ("torch", "load"):
            yield from self._torch_load(node)
            return
        if isinstance(node, ast.Name):
            if node.id not in self._names and not allows(self._policy.names, node.id):
                yield Offence("expression", f"uses the name {shown(node.id)}, which is not allowed")
            return
        if isinstance(node, ast.Attribute):
            module, member = dotted(node)
            if module in ALLOWED_MEMBERS or self._allowed_by_site(module, member):
                yield from self._member(module, member)
                return
            if REFUSED_METHODS.fullmatch(node.attr):
                yield Offence("expression", f"reads the attribute {shown(node.attr)}, which is not allowed")
        for child in ast.iter_child_nodes(node):
            yield from self._node(child)

    def _member(self, module: str, member: str) -> Iterator[Offence]:
        # A constant of an allowed member (torch.Tensor.shape) is no member of its own: only whole names count.
        last = member.rpartition(".")[2]
        refused = REFUSED_CLASS.fullmatch(last) or LOOKS_UP.fullmatch(last)
        if self._allowed_by_site(module, member):
            return
        if refused or not ALLOWED_MEMBERS[module].fullmatch(member):
            yield Offence("expression", f"uses {shown(f'{module}.{member}')}, which is not allowed")

    def _allowed_by_site(self, module: str, member: str) -> bool:
        return bool(module) and module not in self._own and allows(self._policy.names, f"{module}.{member}")

    def _torch_load(self, call: ast.Call) -> Iterator[Offence]:
        """Accept torch.load where it cannot unpickle: weights_only, which is the default from torch 2.6 on."""
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        weights_only = given.get("weights_only", ast.Constant(value=True))
        safe = (
            len(call.args) <= 2  # the third is pickle_module
            and not any(isinstance(argument, ast.Starred) for argument in call.args)
            and set(given) <= _LOAD_ARGUMENTS
            and isinstance(weights_only, ast.Constant)
            and weights_only.value is True
        )
        if not safe:
            yield Offence("unsafe_load", "calls torch.load so that a pickle could run code")
        elif "weights_only" in given:
            yield Offence("torch_load", "loads a file by torch.load in an expression, with weights_only=True")
        else:
            yield Offence("torch_load", "loads a file by torch.load in an expression; weights_only is torch's default")
        for argument in (*call.args, *given.values()):
            yield from self._node(argument)
