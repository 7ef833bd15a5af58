# shellcheck shell=bash
#
# lib.sh - what the run scripts of the benchmarks share: a copy of the sources, a private server,
# and that both are gone in the end.  Sourced, with `set -euo pipefail` already in force.

. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"

# The head of the script that runs.
usage()
{
	sed -n '3,/^$/s/^# \{0,1\}//p' "$0" | sed '/^$/,$d'
}

takes_only_quick()
{
	case ${1:-} in
		'' | --quick) ;;
		*) usage; exit 2 ;;
	esac
}

throw_away()
{
	[ -z "${home:-}" ] || [ -z "${STAGE_BIN:-}" ] || stop_server "$home/data" immediate
	[ -z "${home:-}" ] || rm -rf "$home"
	[ -z "${sockets:-}" ] || drop_socket_folder "$sockets"
	close_workspace
}

# open_bench NAME: the sources, in a folder that no other run of that benchmark uses.
open_bench()
{
	bench=$1
	find_pg
	forget_pg_environment
	find_server_user
	open_workspace "bench-$bench-$PG_MAJOR"
	exec 9>"$WORK/lock"
	flock --nonblock 9 || die "another run is using $WORK"
	trap throw_away EXIT
	trap 'exit 130' INT TERM
	copy_sources
}

# Programs and modules of build/bench.
build_programs()
{
	as_server make -s -C "$WORK/src" PG_CONFIG="$PG_CONFIG" "${@/#/build/bench/}"
}

# A cluster with a key.  bench.py starts it.
set_up_server()
{
	stage_pg
	home="$WORK/server"
	sockets=$(socket_folder "$home/sockets")
	rm -rf "$home"
	as_server mkdir -p "$home"
	make_local_key "$home/keys" main
	init_server "$home/data" "$home/keys"
	as_server mkdir -p -m 0700 "$sockets"
}

# measure OPTION...
measure()
{
	as_server env PYTHONPATH="$WORK/src/bench/sql:$WORK/src/test/t/lib" python3 -B "$WORK/src/bench/$bench/bench.py" \
		--bin "${STAGE_BIN:-}" --home "${home:-}" --sockets "${sockets:-}" "$@"
}
