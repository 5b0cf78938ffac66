#!/usr/bin/env bash
# In the place of cargo: `cargo run --example NAME` runs the example that is built with the tests.
set -euo pipefail
arguments=" $* "
if [[ ! $arguments =~ ^\ run\ (--release\ )?--example\ ([a-z_]+)\ (--\ )?(.*)$ ]]; then
    echo "only cargo run --example NAME is run here" >&2
    exit 2
fi
name=${BASH_REMATCH[2]}
read -ra rest <<<"${BASH_REMATCH[4]}"
[ -x "$EXAMPLES/$name" ] || { echo "$name is not built: cargo build --examples" >&2; exit 2; }
exec "$EXAMPLES/$name" "${rest[@]}"
