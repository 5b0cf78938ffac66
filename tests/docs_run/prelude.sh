# shellcheck shell=bash
# SQL on the database of the page.
sql() { psql -Xq -v ON_ERROR_STOP=1 "$PUPCTL_DATABASE_URL" "$@"; }

# lines CONTEXT DAY COUNT [AGGREGATE_TYPE EVENT_TYPE]: a file of events, one for each aggregate.
lines() {
    for number in $(seq "$3"); do
        printf -v id '%04x%04x-%04x-4%03x-8%03x-%04x%04x%04x' $RANDOM $RANDOM $RANDOM \
            $((RANDOM % 4096)) $((RANDOM % 4096)) $RANDOM $RANDOM $RANDOM
        printf '{"bounded_context":"%s","aggregate_type":"%s","aggregate_id":"%s","aggregate_version":1,' \
            "$1" "${4:-Thing}" "$2-$number"
        printf '"event_id":"%s","event_type":"%s","payload":{"cents":250},"created_at":"%sT12:00:00Z"}\n' \
            "$id" "${5:-ThingHappened}" "$2"
    done
}

# events CONTEXT DAY COUNT …: the same in the store, with the partitions that they need.
events() { lines "$@" | pupctl events import - --create-partitions --quiet; }

# killed POINT COMMAND …: pupctl dies at one of its fail points.
killed() {
    point=$1
    shift
    ! FAILPOINTS="$point=return" pupctl "$@"
}
