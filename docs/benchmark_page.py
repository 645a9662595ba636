"""Turns the stored results of ``pdekit bench NAME --json FILE`` into docs/benchmarks/index.md and the README's table.

Run ``python docs/benchmark_page.py`` after storing a result in docs/benchmarks/; a test fails until that is done. It
also draws the results' curves, as docs/images/NAME.png.
"""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "benchmarks"
BEGIN, END = "<!-- benchmarks: written by docs/benchmark_page.py -->\n", "<!-- end of benchmarks -->"
HEADING = """# Benchmarks

Each section is made from a JSON file that the command above its tables wrote: the machine, the versions, the rows, and
the claims, whose holding the harness decides. Times are compared within one run only, both sides alternating and both
using all cores of the machine named.
"""
EMPTY = "\nNo results are stored yet; `pdekit bench --help` lists what can be measured.\n"


def load(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """The stored results, by file name."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def page(results: list[dict[str, Any]]) -> str:
    """The text of docs/benchmarks/index.md."""
    return HEADING + ("".join(section(result) for result in results) or EMPTY)


def section(result: dict[str, Any]) -> str:
    """One benchmark: command, notes, pictures, claims, rows, machine."""
    name = result["benchmark"]
    parts = [f"\n## {name}\n", f"```console\n$ {command(result)} --json {name}.json\n```\n"]
    parts += [f"- {note}" for note in result.get("notes", [])]
    if result.get("notes"):
        parts.append("")
    parts += [f"![{name}](../images/{name}.png)\n" for name in result.get("curves", {})]
    if result.get("claims"):
        parts.append(table(result["claims"], {"id": "claim", "what": "what", "value": "value", "holds": "holds"}))
    if rows := result.get("rows"):
        parts.append(table(rows, {key: key for row in rows for key in row}))
    parts.append(f"{where(result)}.\n")
    return "\n".join(parts)


def readme_block(results: list[dict[str, Any]]) -> str:
    """What stands between the markers of README.md: every claim, or nothing."""
    if not results:
        return ""
    claims = [claim | {"command": f"`{command(result)}`"} for result in results for claim in result["claims"]]
    columns = {"what": "claim", "value": "measured", "holds": "holds", "command": "command"}
    head = "## Measured\n\nEvery row is a claim of a stored run ([all figures](docs/benchmarks/index.md)).\n\n"
    machines = "; ".join(dict.fromkeys(where(result) for result in results))
    return f"{head}{table(claims, columns)}\n{machines}.\n\n"


def command(result: dict[str, Any]) -> str:
    """The command that prints these figures."""
    quick = " --quick" if result.get("quick") else ""
    seeds = f" --seeds {result['seeds']}" if result.get("seeds", 1) != 1 else ""
    return f"pdekit bench {result['benchmark']}{quick}{seeds}"


def where(result: dict[str, Any]) -> str:
    """Machine and versions in one line."""
    machine = result.get("machine", {})
    versions = ", ".join(f"{name} {version}" for name, version in result.get("versions", {}).items())
    python = f"Python {machine.get('python')}"
    return f"{machine.get('cpu', 'unknown processor')}, {machine.get('cores')} cores; {python}, {versions}"


def table(rows: list[dict[str, Any]], columns: dict[str, str]) -> str:
    """A Markdown table; a claim's value is shown with its bound."""
    lines = ["| " + " | ".join(columns.values()) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        cells = [show(row.get(key)) for key in columns]
        if "bound" in row and "value" in columns:
            at = list(columns).index("value")
            cells[at] += f" ({'at most' if row['sense'] == '<=' else 'at least'} {show(row['bound'])})"
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def show(value: Any) -> str:
    """Three significant digits, yes or no, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    return f"{value:.3g}" if isinstance(value, float) else str(value).replace("|", "\\|")


def with_block(readme: str, block: str) -> str:
    """README.md with its block of benchmarks replaced."""
    before, rest = readme.split(BEGIN)
    return before + BEGIN + block + END + rest.split(END)[1]


def draw(result: dict[str, Any]) -> None:
    """The pictures of one benchmark."""
    from pdekit.plot import regret_figure, save

    for name, curves in result.get("curves", {}).items():
        lines = {label: line for label, line in curves.items() if label != "steps"}
        save(regret_figure(curves["steps"], lines, unit="iterations"), ROOT / "docs" / "images" / f"{name}.png")


def main() -> None:
    """Rewrite both files and the pictures."""
    results = load()
    for result in results:
        draw(result)
    (RESULTS / "index.md").write_text(page(results))
    readme = ROOT / "README.md"
    readme.write_text(with_block(readme.read_text(), readme_block(results)))


if __name__ == "__main__":
    main()
