"""The table of THREATS.md: every attack of this folder, what stops it, and the test that tries it.

``python -m tests.attacks.threats`` writes it into THREATS.md between two marks; a test holds it current.
"""

from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
DOCUMENT = ROOT / "THREATS.md"
BEGIN, END = "<!-- attacks: written by python -m tests.attacks.threats -->", "<!-- end of attacks -->"


def table() -> str:
    """One line per attack."""
    lines = ["| attack | stopped by | test |", "|---|---|---|"]
    for folder in sorted(HERE.rglob("*_fail"), key=lambda path: path.relative_to(HERE).as_posix()):
        title, _, rest = (folder / "README.md").read_text(encoding="utf-8").removeprefix("# ").partition("\n")
        control = rest.rsplit("Stopped by: ", 1)[1].strip().removesuffix(".")
        name, test = folder.relative_to(HERE).as_posix(), (folder.parent / "test_attacks.py").relative_to(ROOT)
        lines.append(f"| [{title}](tests/attacks/{name}) | {control} | `{test.as_posix()}` |")
    return "\n".join(lines)


def written(document: str) -> str:
    """The document with its table as it should be."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    DOCUMENT.write_text(written(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
