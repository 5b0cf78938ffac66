# shellcheck shell=bash disable=SC1090,SC2317
# One command of a page, with the variables and the folder that those before it left.
if [ -f "$DOCS_STATE" ]; then
    . "$DOCS_STATE"
fi
script=$DOCS_SCRIPT command=$DOCS_COMMAND yes=$DOCS_YES exec=$DOCS_EXEC state=$DOCS_STATE
unset DOCS_SCRIPT DOCS_COMMAND DOCS_YES DOCS_EXEC
if [ -n "$yes" ]; then
    # Whoever sits at a terminal answers the questions.
    pupctl() {
        case " $* " in
        *" --yes "*) command pupctl "$@" ;;
        *) command pupctl "$@" "$yes" ;;
        esac
    }
fi
if [ -n "$exec" ]; then
    eval "exec $command"
elif [ -n "$script" ]; then
    # A shell of its own, so that its functions and `set -e` end with it.
    bash --noprofile --norc -c "$script"
else
    eval "$command"
fi
code=$?
{
    export -p
    printf 'cd %q\n' "$PWD"
} >"$state"
exit "$code"
