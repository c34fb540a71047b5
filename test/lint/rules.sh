# shellcheck shell=bash
# rules.sh: the rules of `make lint`. Source it.
#
# A rule is a function that looks at the tree in the current directory and prints what
# it finds; silence is a pass. What only a server can know (who may do what, which
# object has no description) is a regression test: sql/install.sql.

# shellcheck disable=SC2034  # for the sourcing script
rules=(format tidy shell python halves install-script exports settings no-info)

# Files below here that git would know, one a line.
tree_files() {
  find . \( -name .git -o -name build -o -name node_modules -o -name .venv \) -prune -o -type f -print
}

# The C++ is formatted. Versions of clang-format differ in taste; Debian 12's counts.
rule_format() {
  clang-format --dry-run --style=file src/*/*.[ch]pp test/*/*.[ch]pp bench/*.cpp 2>&1
}

# clang-tidy finds nothing, with the checks of .clang-tidy. The server's headers are
# system headers: nothing is said about them.
rule_tidy() { # [SOURCE]...
  [ $# -gt 0 ] || set -- src/*/*.cpp
  # shellcheck disable=SC2016  # for the inner shell
  printf '%s\n' "$@" | xargs -P "$(nproc)" -I {} sh -c '
    clang-tidy --quiet "$0" -- -std=gnu++20 -Isrc -isystem "$1" 2>/dev/null || echo "$0: see above"
  ' {} "$("$PG_CONFIG" --includedir-server)"
}

# Shell scripts, whatever their names, pass shellcheck.
rule_shell() {
  tree_files | xargs grep -lIE '^#!.*[/ ](ba|da)?sh\b|^# shellcheck shell=' | xargs shellcheck -x -f gcc
}

# Python compiles, with the oldest one in use.
rule_python() {
  tree_files | grep '\.py$' | python3 -c '
import sys
for name in sys.stdin.read().split():
    try:
        compile(open(name, "rb").read(), name, "exec")
    except SyntaxError as error:
        print(f"{name}:{error.lineno}: {error.msg}")'
}

# A source includes postgres.h or C++ libraries, never both.
rule_halves() {
  sh src/halves.sh 2>&1
}

# The SQL of the extension takes over nothing, trusts no search_path, grants nothing to all.
rule_install-script() {
  python3 "${lint:?}/install_script.py" src/schema/*.sql
}

# The library exports what the install script or the postmaster calls by name, and nothing else.
rule_exports() {
  diff --label 'called by name' --label 'exported by skene_gate.so' -U 0 \
    <({
      printf '%s\n' Pg_magic_func _PG_init
      grep -ohE "^[^-]*'MODULE_PATHNAME', *'[a-z_]+'" src/schema/*.sql |
        sed "s/.*'\(.*\)'/\1\npg_finfo_\1/"
      grep -ohE 'bgw_function_name, "[a-z_]+"' src/*/*.cpp | sed 's/.*"\(.*\)"/\1/'
    } | sort -u) \
    <(nm -D --defined-only skene_gate.so | awk '{ print $3 }' | sort -u) | tail -n +3
}

# docs/configuration.md names every setting of the server, and none that is not there.
rule_settings() {
  # shellcheck disable=SC2016  # Markdown
  diff --label 'defined' --label 'docs/configuration.md' -U 0 \
    <(cat src/*/*.cpp | tr '\n' ' ' | grep -oE 'DefineCustom[A-Za-z]+Variable\( *"[a-z_.]+"' |
      sed 's/.*"\(.*\)"/\1/' | sort -u) \
    <(grep -oE '^\| `skene_gate\.[a-z_]+`' docs/configuration.md | grep -oE 'skene_gate\.[a-z_]+' |
      sort -u) | tail -n +3
}

# INFO goes to the client whatever client_min_messages says; NOTICE is what people can turn off.
rule_no-info() {
  grep -nE '\b(elog|ereport)\(INFO\b' src/*/*.[ch]pp
  grep -niE '\braise +info\b' src/schema/*.sql
}
