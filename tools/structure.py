"""Measure the structure of the code: modules, imports, single importers, lengths and branches of functions.

`python tools/structure.py [FOLDER …]` prints one column for each checkout (default: this one), so that two versions are
compared by the same rules: `git worktree add ../before COMMIT; python tools/structure.py ../before .`
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
PACKAGE = "rodin_watchd"
_BRANCHES = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.comprehension, ast.match_case)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def measured(checkout: Path) -> dict[str, str]:
    """Return the figures of a checkout, by their names."""
    texts = {
        _dotted(path.relative_to(checkout)): path.read_text() for path in sorted((checkout / PACKAGE).rglob("*.py"))
    }
    trees = {name: ast.parse(text) for name, text in texts.items()}
    imports = imports_of(trees)
    importers = {name: sum(name in others for others in imports.values()) for name in trees}
    functions = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, _FUNCTIONS)]
    lengths = sorted((node.end_lineno or node.lineno) - node.lineno + 1 for node in functions)
    branches = sorted(map(_complexity, functions))
    lines = [len(text.splitlines()) for text in texts.values()]
    return {
        "modules": f"{len(trees)}",
        "lines": f"{sum(lines):,}",
        "lines a module (mean)": f"{statistics.mean(lines):.0f}",
        "imports of our own a module (mean)": f"{statistics.mean(map(len, imports.values())):.1f}",
        "modules with exactly one importer": f"{sum(count == 1 for count in importers.values())}",
        "functions": f"{len(functions):,}",
        "lines a function (median, 95 %, longest)": _spread(lengths),
        "complexity of a function (median, 95 %, highest)": _spread(branches),
    }


def modules_of(checkout: Path) -> dict[str, ast.Module]:
    """Return each module of a checkout by its dotted name."""
    paths = sorted((checkout / PACKAGE).rglob("*.py"))
    return {_dotted(path.relative_to(checkout)): ast.parse(path.read_text()) for path in paths}


def imports_of(trees: Mapping[str, ast.Module]) -> dict[str, set[str]]:
    """Return which of these modules each of them imports."""
    return {name: _imports(tree, trees) - {name} for name, tree in trees.items()}


def _dotted(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(tree: ast.Module, known: Mapping[str, ast.Module]) -> set[str]:
    """Return which of our modules a module imports, wherever the statement stands."""
    return {name for node in ast.walk(tree) for name in _names(node, known) if name in known}


def _names(node: ast.AST, known: Mapping[str, ast.Module]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        names = (f"{node.module}.{alias.name}" for alias in node.names)
        yield from (name if name in known else node.module for name in names)


def _complexity(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the number of ways through a function (McCabe), nested functions included."""
    more = sum(len(node.values) - 1 for node in ast.walk(function) if isinstance(node, ast.BoolOp))
    return 1 + more + sum(isinstance(node, _BRANCHES) for node in ast.walk(function))


def _spread(figures: Sequence[int]) -> str:
    return f"{statistics.median(figures):.0f}, {figures[len(figures) * 95 // 100]}, {figures[-1]}"


def main(folders: Sequence[str]) -> None:
    """Print the table."""
    checkouts = [Path(folder) for folder in folders] or [HERE]
    columns = [measured(checkout) for checkout in checkouts]
    print("| figure |" + "".join(f" {checkout.resolve().name} |" for checkout in checkouts))
    print("|---|" + "---|" * len(checkouts))
    for name in columns[0]:
        print(f"| {name} |" + "".join(f" {column[name]} |" for column in columns))


if __name__ == "__main__":
    main(sys.argv[1:])
