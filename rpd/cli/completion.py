"""``rpd completion``: the script that lets a shell complete commands, flags, node ids and runs."""

from __future__ import annotations

from rpd.cli.output import say
from rpd.config import Config
from rpd.errors import ExitCode, UsageError
from rpd.hooks import PluginManager

_BASH = """\
# rpd: completion for bash. In ~/.bashrc:  eval "$(rpd completion bash)"
_rpd_complete() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        COMPREPLY+=("$line")
    done < <("$1" __complete bash "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null)
    # No blank after a word to be continued (--flag=, a file's ::).
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=:] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -o default -o bashdefault -F _rpd_complete rpd
"""
_ZSH = """\
#compdef rpd
# rpd: completion for zsh. In ~/.zshrc, after compinit:  eval "$(rpd completion zsh)"
_rpd() {
    local line
    local -a values shown
    for line in "${(@f)$(${(Q)words[1]} __complete zsh "${(@Q)words[1,CURRENT]}" 2>/dev/null)}"; do
        [[ -n $line ]] || continue
        values+=("${line%%$'\\t'*}")
        shown+=("${line/$'\\t'/  -- }")
    done
    if (( ${#values} )); then
        compadd -l -d shown -a values
    else
        _files
    fi
}
compdef _rpd rpd
"""
_FISH = """\
# rpd: completion for fish. In ~/.config/fish/config.fish:  rpd completion fish | source
function __rpd_complete
    set -l words (commandline -opc)
    $words[1] __complete fish $words (commandline -ct) 2>/dev/null
end
complete -c rpd -a '(__rpd_complete)'
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def main(config: Config, manager: PluginManager) -> int:
    """Print the script for one shell."""
    del manager
    if len(config.args) != 1 or config.args[0] not in SCRIPTS:
        raise UsageError(f"rpd completion takes one shell: {', '.join(SCRIPTS)}")
    say(SCRIPTS[config.args[0]], end="")
    return ExitCode.OK
