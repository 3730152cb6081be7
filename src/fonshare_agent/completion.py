"""Completion scripts for bash, zsh and fish, made from the command table.

The scripts hold the words themselves: completing must not start Python on the router.
"""

from collections.abc import Callable

from fonshare_agent.control.rows import Argument, Command, Kind
from fonshare_agent.help_texts import PROGRAM, shown_commands

GLOBAL_FLAGS = "-c --config --json --help --version"


def script(shell: str) -> str:
    """Return the script for *shell*: bash, zsh or fish."""
    return SCRIPTS[shell]()


def _tree() -> dict[str, list[Command]]:
    """First words, each with the commands that begin with it."""
    tree: dict[str, list[Command]] = {}
    for command in shown_commands():
        tree.setdefault(command.name.split()[0], []).append(command)
    return tree


def _subwords(commands: list[Command]) -> list[str]:
    return [command.name.split()[1] for command in commands if " " in command.name]


def _flags(command: Command) -> list[str]:
    return [flag.flag for flag in command.typed_flags]


def _valued_flags() -> list[str]:
    """Flags that eat the next word, which therefore is no command."""
    found = {
        flag.flag
        for command in shown_commands()
        for flag in command.typed_flags
        if flag.kind is not Kind.SWITCH
    }
    return ["-c", "--config", *sorted(found)]


def _choices(command: Command) -> list[str]:
    return [choice for argument in command.arguments for choice in argument.choices]


def _chosen_flags() -> dict[str, str]:
    """Flags whose value is one of a few, with these."""
    return {
        flag.flag: " ".join(flag.choices)
        for command in shown_commands()
        for flag in command.typed_flags
        if flag.choices
    }


def _wants_file(arguments: tuple[Argument, ...]) -> bool:
    return any(argument.is_file for argument in arguments)


def _bash_case(command: Command) -> str:
    words = " ".join([*_flags(command), *_choices(command)])
    acts = [f'words="$words {words}"'] if words else []
    if _wants_file((*command.arguments, *command.typed_flags)):
        acts.append("files=1")
    return f"    '{command.name}') {'; '.join(acts) or ':'};;"


BASH = """# PROGRAM completion for bash, made by `PROGRAM completion bash`
_PROGRAM() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
  local first= second= words= subwords= files= position word
  for ((position = 1; position < COMP_CWORD; position++)); do
    word=${COMP_WORDS[position]}
    case $word in
      VALUED) ((position++));;
      -*) ;;
      *) if [ -z "$first" ]; then first=$word
         elif [ -z "$second" ]; then second=$word; fi;;
    esac
  done
  COMPREPLY=()
  case $previous in
    -c|--config|--passphrase-file|--password-file|--to|--passwords|--ca|--background)
      COMPREPLY=($(compgen -f -- "$current")); return;;
CHOSEN
  esac
  if [ -z "$first" ]; then
    COMPREPLY=($(compgen -W 'FIRSTS GLOBALS' -- "$current"))
    return
  fi
  case $first in
FAMILIES
  esac
  if [ -n "$subwords" ] && [ -z "$second" ]; then words=$subwords; fi
  case "$first${subwords:+${second:+ $second}}" in
COMMANDS
  esac
  COMPREPLY=($(compgen -W "$words GLOBALS" -- "$current"))
  if [ -n "$files" ]; then COMPREPLY+=($(compgen -f -- "$current")); fi
}
complete -o filenames -F _PROGRAM PROGRAM
"""


def _bash() -> str:
    tree = _tree()
    families = "\n".join(
        f"    {first}) subwords='{' '.join(_subwords(commands))}';;"
        for first, commands in tree.items()
        if _subwords(commands)
    )
    chosen = "\n".join(
        f"    {flag}) COMPREPLY=($(compgen -W '{choices}' -- \"$current\")); return;;"
        for flag, choices in _chosen_flags().items()
    )
    return _filled(
        BASH,
        VALUED="|".join(_valued_flags()),
        CHOSEN=chosen,
        FIRSTS=" ".join(tree),
        FAMILIES=families,
        COMMANDS="\n".join(map(_bash_case, shown_commands())),
    )


def _filled(template: str, **parts: str) -> str:
    for name, text in parts.items():
        template = template.replace(name, text)
    return template.replace("GLOBALS", GLOBAL_FLAGS).replace("PROGRAM", PROGRAM)


def _quoted(text: str) -> str:
    return text.replace("'", "'\\''")


ZSH = """#compdef PROGRAM
# PROGRAM completion for zsh, made by `PROGRAM completion zsh`
_PROGRAM() {
  local -a commands=(
FIRSTS
  )
  local -a plain=()
  local -i position
  for ((position = 2; position < CURRENT; position++)); do
    case $words[position] in
      (VALUED) ((position++));;
      (-*) ;;
      (*) plain+=($words[position]);;
    esac
  done
  case $words[CURRENT-1] in
CHOSEN
  esac
  [[ $PREFIX == -* ]] && compadd -- GLOBALS
  if (( ${#plain} == 0 )); then
    _describe command commands
    return
  fi
  if (( ${#plain} == 1 )); then
    case $plain[1] in
FAMILIES
    esac
  fi
  case "$plain[1,2]" in
COMMANDS
  esac
}
if [ "$funcstack[1]" = _PROGRAM ]; then
  _PROGRAM "$@"
else
  compdef _PROGRAM PROGRAM
fi
"""


def _zsh() -> str:
    tree = _tree()
    firsts = "\n".join(
        f"    '{first}:{_quoted(commands[0].help if len(commands) == 1 else first)}'"
        for first, commands in tree.items()
    )
    chosen = "\n".join(
        f"    ({flag}) compadd -- {choices}; return;;"
        for flag, choices in _chosen_flags().items()
    )
    return _filled(
        ZSH,
        VALUED="|".join(_valued_flags()),
        CHOSEN=chosen,
        FIRSTS=firsts,
        FAMILIES=_zsh_families(tree),
        COMMANDS=_zsh_cases(),
    )


def _zsh_families(tree: dict[str, list[Command]]) -> str:
    return "\n".join(
        f"      {first}) compadd -- {' '.join(_subwords(commands))};;"
        for first, commands in tree.items()
        if _subwords(commands)
    )


def _zsh_cases() -> str:
    # Two-word names come first: `jobs` would match `jobs pause` as well.
    ordered = sorted(shown_commands(), key=lambda row: -len(row.name.split()))
    lines = []
    for command in ordered:
        words = [*_flags(command), *_choices(command)]
        acts = [f"compadd -- {' '.join(words)}"] if words else []
        if _wants_file((*command.arguments, *command.typed_flags)):
            acts.append("_files")
        lines.append(f"    '{command.name}'*) {'; '.join(acts) or ':'};;")
    return "\n".join(lines)


def _fish() -> str:
    lines = [f"# {PROGRAM} completion for fish, made by `{PROGRAM} completion fish`"]
    lines.append(f"complete -c {PROGRAM} -f -n __fish_use_subcommand -l version")
    lines.append(f"complete -c {PROGRAM} -s c -l config -r -F")
    lines.append(f"complete -c {PROGRAM} -l json")
    lines.append(f"complete -c {PROGRAM} -s h -l help")
    for first, commands in _tree().items():
        lines.append(f"complete -c {PROGRAM} -f -n __fish_use_subcommand -a {first}")
        for command in commands:
            lines += _fish_lines(first, command)
    return "\n".join(lines) + "\n"


def _fish_lines(first: str, command: Command) -> list[str]:
    second = command.name.split()[1:]
    seen = " ".join(command.name.split())
    test = f'-n "__fish_seen_subcommand_from {first}"'
    lines = []
    if second:
        lines.append(
            f"complete -c {PROGRAM} -f {test} -a {second[0]} "
            f"-d '{_quoted(command.help)}'"
        )
    inside = " ; and ".join(
        f"__fish_seen_subcommand_from {word}" for word in seen.split()
    )
    for flag in command.typed_flags:
        value = "" if flag.kind is Kind.SWITCH else " -r"
        if flag.choices:
            value += f" -f -a '{' '.join(flag.choices)}'"
        lines.append(
            f'complete -c {PROGRAM} -n "{inside}" -l {flag.flag[2:]}{value} '
            f"-d '{_quoted(flag.help)}'"
        )
    for choice in _choices(command):
        lines.append(f'complete -c {PROGRAM} -f -n "{inside}" -a {choice}')
    return lines


SCRIPTS: dict[str, Callable[[], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
