# SPDX-License-Identifier: GPL-2.0 OR MIT
# shellcheck shell=bash
#
# Sourced by the scripts here: where things are, what they depend on, and how a
# step that makes one of them is run and shown.
#
# An artefact is a file or folder in the cache whose name ends in a hash of all
# that it is made from. It is made under a temporary name and renamed when it is
# complete, under a lock of its own: what is there is complete.

set -euo pipefail

ENV_DIR=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
REPO=$(realpath "$ENV_DIR/../../..")
CACHE=${PANTHOR_CACHE:-$HOME/.cache/panthor-rs}
MIRROR=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
JOBS=${JOBS:-$(nproc)}
GUEST_TARGET=aarch64-unknown-linux-gnu
HOST_TARGET=x86_64-unknown-linux-gnu

mkdir -p "$CACHE"/{lock,log,run}
CACHE=$(realpath "$CACHE")

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# The hash of the files and strings that an artefact is made from.
hash_of() { sha256sum | cut -c1-12; }

# Work trees have build folders of their own, so that several can be built at once.
WORK=$CACHE/work/$(basename "$REPO")-$(printf %s "$REPO" | hash_of)

. "$ENV_DIR/debian.sh"

# --- Paths of the artefacts ---

packages() { sed '/^#/d' "$ENV_DIR/packages"; }

rootfs_path() {
	echo "$CACHE/rootfs-$({ packages; cat "$ENV_DIR/make-rootfs"; } | hash_of)"
}

# The kernel source before patches. LINUX= names a tree or a tarball; both are
# taken as they are now.
linux_id() {
	local linux=${LINUX:-}

	if [ -z "$linux" ]; then
		grep '^linux-source' "$(rootfs_path)/versions"
	elif [ -d "$linux" ]; then
		find "$linux" -name .git -prune -o -type f -printf '%P %s %T@\n' | LC_ALL=C sort
	elif [ -f "$linux" ]; then
		stat -c '%n %s %Y' "$(realpath "$linux")"
	else
		die "LINUX=$linux is neither a folder nor a file"
	fi | hash_of
}

# $1: yes (with patches/) or no
source_path() {
	local id

	id=$(linux_id)
	if [ "$1" = yes ]; then
		# Of a patch the changes count, not its description.
		echo "$CACHE/linux-$id-$(sed -s '/^diff --git /,$!d' "$REPO"/patches/*.patch | hash_of)"
	else
		echo "$CACHE/linux-$id-plain"
	fi
}

# Compiler of a kernel, and of what is built for it, as variables for kbuild.
# $1: as for kernel_path
cross() {
	case $1 in
	gcc-*) echo ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu- ;;
	stock) echo ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu- "KERNELRELEASE=$STOCK_NAME" ;;
	*) echo ARCH=arm64 LLVM=-19 ;;
	esac
}

# The names of the rows of config/matrix, and the options of one.
matrix() { sed -n 's/^\([a-z]*-[0-9]\).*/\1/p' "$ENV_DIR/config/matrix"; }
matrix_row() {
	awk -v name="$1" '
	$2 == "name" { for (i = 4; i <= NF; i++) option[i - 1] = $i }
	$1 == name { for (i = 3; i <= NF; i++) print "CONFIG_" option[i] "=" $i }' "$ENV_DIR/config/matrix"
}

# $1: fast, debug, kasan or 16k, stock, or a row of config/matrix; $2: yes or no, of which only the
# first four know the former
kernel_path() {
	local name=$1 patches=$2 source

	if [ "$name" = stock ]; then
		stock_path
		return
	elif [ -n "$(matrix_row "$name")" ]; then
		echo "$CACHE/prepared-$name-$({
			basename "$(source_path no)"
			cat "$(rootfs_path)/versions"
			grep -h '^CONFIG' "$ENV_DIR/config/base.config"
			matrix_row "$name"
		} | hash_of)"
		return
	fi
	[ -f "$ENV_DIR/config/$name.config" ] || die "KERNEL=$name: there is no config/$name.config"
	[ "$patches" = yes ] || [ "$patches" = no ] || die "PATCHES=$patches: neither yes nor no"
	source=$(source_path "$patches")
	echo "$CACHE/kernel-$name-$patches-$({
		basename "$source"
		cat "$(rootfs_path)/versions"
		grep -h '^CONFIG' "$ENV_DIR/config/base.config" "$ENV_DIR/config/$name.config"
	} | hash_of)"
}

# The source of a kernel.
kernel_source_path() {
	if [ "$1" = stock ]; then stock_source_path; else source_path "$2"; fi
}

initrd_path() {
	echo "$CACHE/initrd-$({
		grep '^busybox' "$(rootfs_path)/versions"
		cat "$ENV_DIR/make-initrd" "$ENV_DIR"/guest/*
	} | hash_of).cpio"
}

mesa_packages() { sed '/^#/d' "$REPO/tests/mesa/packages"; }

mesa_path() {
	echo "$CACHE/mesa-$({ mesa_packages; cat "$REPO/tests/mesa/make-root"; } | hash_of)"
}

# --- Steps ---

STEP=0
STEPS=${STEPS:-1}

elapsed() { printf '%02d:%02d' $((SECONDS / 60)) $((SECONDS % 60)); }

# Shows "[2/8 00:54] text", over and over in one line on a terminal.
progress() {
	if [ -t 2 ]; then
		printf '\r\033[K[%d/%d %s] %s' "$STEP" "$STEPS" "$(elapsed)" "$1" >&2
	else
		say "[$STEP/$STEPS $(elapsed)] $1"
	fi
}

# run_step TITLE LOG COMMAND...: COMMAND's output goes to the log; what it did so
# far is shown by the function step_state, where there is one.
run_step() {
	local title=$1 log=$2 pid state n=0 shown='' ret=0
	shift 2

	progress "$title"
	[ -t 2 ] || shown=$title
	set -m
	"$@" >"$log" 2>&1 </dev/null &
	pid=$!
	set +m
	# shellcheck disable=SC2064 # these very values
	trap "kill -TERM -- -$pid 2>/dev/null; wait $pid 2>/dev/null; exit 130" INT TERM HUP
	while kill -0 "$pid" 2>/dev/null; do
		sleep 0.2
		n=$((n + 1))
		if [ -t 2 ]; then
			[ $((n % 5)) = 0 ] || continue
		else
			[ $((n % 150)) = 0 ] || continue
		fi
		state=$title
		[ "$(type -t step_state)" != function ] || state="$title: $(step_state "$log")"
		[ -t 2 ] || [ "$state" != "$shown" ] || continue
		shown=$state
		progress "$state"
	done
	wait "$pid" || ret=$?
	trap - INT TERM HUP
	if [ "$ret" != 0 ]; then
		[ ! -t 2 ] || say
		say "--- the end of $log:"
		tail -n 30 "$log" >&2
		say "--- $title failed (status $ret); its log is $log"
		exit 1
	fi
	progress "$title: done"
	[ ! -t 2 ] || say
}

# need TITLE PATH COMMAND...: makes the artefact PATH with COMMAND unless it is there.
need() {
	local title=$1 path=$2 lock
	shift 2

	STEP=$((STEP + 1))
	[ ! -e "$path" ] || return 0
	exec {lock}>"$CACHE/lock/$(basename "$path")"
	if ! flock -n "$lock"; then
		progress "$title: waiting for another run that makes it"
		flock "$lock"
	fi
	[ -e "$path" ] || run_step "$title" "$CACHE/log/$(basename "$path").log" "$@"
	exec {lock}>&-
	[ -e "$path" ] || die "$title: $path was not made"
}

need_rootfs() { need "Debian root file system" "$(rootfs_path)" "$ENV_DIR/make-rootfs" "$(rootfs_path)"; }

# $1: yes or no
need_source() {
	local plain

	plain=$(source_path no)
	need "kernel source" "$plain" "$ENV_DIR/make-source" "$plain"
	[ "$1" = no ] || need "kernel source, patched" "$(source_path yes)" \
		"$ENV_DIR/make-source" "$(source_path yes)" "$plain"
}

# $1: fast, debug, kasan, 16k or stock; $2: yes or no
need_kernel() {
	[ "$1" != stock ] || { need_stock; return; }
	kernel=$(kernel_path "$1" "$2")
	step_state() {
		echo "$(objects "$kernel.partial") of about $(cat "$CACHE/log/objects-$kernel_name" 2>/dev/null || echo 1900) objects"
	}
	kernel_name=$1
	need "kernel $1, patches: $2" "$kernel" "$ENV_DIR/make-kernel" "$1" "$2"
	unset -f step_state
}

# How far a kernel build is: what was made has a .cmd file.
objects() { find "$1" -name '.*.cmd' 2>/dev/null | wc -l; }

need_initrd() { need "guest initrd" "$(initrd_path)" "$ENV_DIR/make-initrd" "$(initrd_path)"; }

need_mesa() { need "Mesa for the guest" "$(mesa_path)" "$REPO/tests/mesa/make-root" "$(mesa_path)"; }

# built WHAT [ARG]...: builds a part of the work tree, shows its log if that fails.
# With BUILD=no it is taken as it is.
built() {
	local log=$WORK/$1.log ret=0
	mkdir -p "$WORK"
	[ "${BUILD:-yes}" != no ] || set -- -n "$@"
	"$ENV_DIR/work-build" "$@" 2>"$log" || ret=$?
	if [ "$ret" != 0 ]; then
		tail -n 40 "$log" >&2
		die "building $1 failed; the whole log is $log"
	fi
}

# What a thread of the model said when it died, in the folder of a run; fails if none did.
model_panic() { grep -as 'panicked at' -A 1 "$1/model.log"; }
