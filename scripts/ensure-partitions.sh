#!/bin/sh
# Makes the partitions that the store will need, and looks for problems: one line in a crontab for
# those who want no more. Tells nothing on success.
#
#   17 3 * * *  /usr/local/bin/ensure-partitions.sh
#   17 3 * * *  /usr/local/bin/ensure-partitions.sh --schema es --months 6
#
# Options are those of `pupctl partitions ensure`. PUPCTL
# names the program where cron does not find it. Ends with the exit code of what failed: 3 when
# there are problems, 4 when another pupctl worked on the store for more than five minutes.
set -eu

pupctl=${PUPCTL:-pupctl}
if ! command -v "$pupctl" >/dev/null; then
    echo "ensure-partitions: there is no program $pupctl: set PUPCTL to where it lies" >&2
    exit 2
fi
"$pupctl" partitions ensure --quiet --wait=5m "$@"

# The check has none of these.
count=$#
while [ "$count" -gt 0 ]; do
    word=$1
    shift
    count=$((count - 1))
    case $word in
    --months=* | --from=* | --no-analyze) ;;
    --months | --from)
        if [ "$count" -gt 0 ]; then
            shift
            count=$((count - 1))
        fi
        ;;
    *) set -- "$@" "$word" ;;
    esac
done
exec "$pupctl" partitions check --quiet --exit-code "$@"
