"""Check the parts of the install script for what must not be in them.

Only text is read, so upgrade scripts that no test installs yet are held to the same
rules. What the rules add up to (who may do what) is tested in sql/install.sql.
"""

import re
import sys

# Functions without a pinned search_path, each with its reason. One whose body is parsed
# when it is made (RETURN, BEGIN ATOMIC) needs none.
UNPINNED = {}

PINNED = "set search_path to pg_catalog, pg_temp"

TOKEN = re.compile(
    r"--[^\n]*"  # comment
    r"|/\*.*?\*/"
    r"|'(?:[^']|'')*'"  # string
    r"|\$(\w*)\$.*?\$\1\$"  # body
    r"|;"
    r"|[^-/'$;]+|.",
    re.DOTALL,
)


def statements(text):
    """Yield (line, statement, bodies): without comments, strings and bodies set apart."""
    line, start, words, bodies = 1, None, "", ""
    for match in TOKEN.finditer(text):
        token = match.group()
        if token == ";":
            yield start, " ".join(words.split()), bodies
            start, words, bodies = None, "", ""
        elif token.startswith(("--", "/*")):
            words += " "
        elif token.startswith(("'", "$")) and len(token) > 1:
            words += " '' "
            bodies += token + "\n"
        else:
            if start is None and token.strip():
                start = line + token[: len(token) - len(token.lstrip())].count("\n")
            words += token
        line += token.count("\n")


def complaints(statement, bodies):
    """Yield what is wrong with one statement."""
    lower = statement.lower()
    if re.match(r"create or replace\b", lower):
        yield "CREATE OR REPLACE would take over somebody else's object"
    if re.match(r"(create|alter)\b.*\bif not exists\b", lower):
        yield "IF NOT EXISTS would take over somebody else's object"
    code = re.sub(r"--[^\n]*", "", bodies).lower()
    if re.search(r"\bgrant\b[^;]*\bto\b[^;]*\bpublic\b", lower + ";" + code):
        yield "grants something to PUBLIC"

    function = re.match(r"create (?:or replace )?(?:function|procedure) ([^( ]+)", lower)
    if function and re.search(r"\blanguage (sql|plpgsql)\b", lower):
        parsed = re.search(r"\breturn [^;]|\bbegin atomic\b", lower)
        if not (parsed or PINNED in lower or function.group(1) in UNPINNED):
            yield f"{function.group(1)} does not {PINNED.replace('set', 'SET', 1)}"


def main(names):
    for name in names:
        with open(name, encoding="utf-8") as file:
            for line, statement, bodies in statements(file.read()):
                for complaint in complaints(statement, bodies):
                    print(f"{name}:{line}: {complaint}")


main(sys.argv[1:])
