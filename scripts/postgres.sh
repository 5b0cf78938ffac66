# Where PostgreSQL's server programs are; sourced by the other scripts. The same places, in the
# same order, as src/server/find.rs looks into.
# shellcheck shell=sh

# Where fetched programs go. For root it is the cache of the machine: the server runs as another
# user, who cannot look into root's home.
postgres_cache() {
    if [ "$(id -u)" -eq 0 ]; then
        echo /var/cache/pupctl/postgresql
    else
        echo "${XDG_CACHE_HOME:-$HOME/.cache}/pupctl/postgresql"
    fi
}

is_postgres_bin() {
    [ -x "$1/initdb" ] && [ -x "$1/pg_ctl" ] && [ -x "$1/postgres" ]
}

# The major version of the programs in a folder.
postgres_major() {
    "$1/postgres" --version | sed -n 's/^.*(PostgreSQL) \([0-9]*\).*$/\1/p'
}

# Every folder with server programs, one a line.
postgres_bins() {
    {
        if [ -n "${PUPCTL_PG_BIN:-}" ]; then echo "$PUPCTL_PG_BIN"; fi
        if command -v pg_config >/dev/null; then pg_config --bindir; fi
        for bin in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin \
            /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin \
            /home/linuxbrew/.linuxbrew/opt/postgresql*/bin; do
            echo "$bin"
        done
        echo "$PATH" | tr : '\n'
        echo /usr/bin
        for bin in "$(postgres_cache)"/*/bin /var/cache/pupctl/postgresql/*/bin; do
            echo "$bin"
        done
    } | while read -r bin; do
        if is_postgres_bin "$bin"; then echo "$bin"; fi
    done
}

# The folder with the programs of one major version; fails where there is none.
postgres_bin_of() {
    postgres_bins | {
        while read -r bin; do
            if [ "$(postgres_major "$bin")" = "$1" ]; then
                echo "$bin"
                exit 0
            fi
        done
        exit 1
    }
}

# Whether there is any version that pupctl works with.
has_postgres() {
    postgres_bins | {
        while read -r bin; do
            if [ "$(postgres_major "$bin")" -ge 14 ]; then exit 0; fi
        done
        exit 1
    }
}
