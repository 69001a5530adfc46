# SPDX-License-Identifier: GPL-2.0 OR MIT
# shellcheck shell=bash
#
# Sourced by lib.sh: Debian's own kernel, KERNEL=stock. FLAVOUR= and VERSION= choose one of those
# that the registry has for 7.3; without VERSION= it is the newest.

FLAVOUR=${FLAVOUR:-arm64}
VERSION=${VERSION:-}

# apt of this machine with lists of its own, for arm64 and the release of the root file system, whose
# compilers made that kernel. Nothing of the machine's configuration but its proxy is used.
apt_arm64() {
	local dir=$CACHE/apt-arm64

	APT_CONFIG=$dir/apt.conf "apt-$1" "${@:2}"
}

apt_configure() {
	local dir=$CACHE/apt-arm64 HTTP_PROXY=''

	mkdir -p "$dir"/{etc,state/lists/partial,cache/archives/partial,parts}
	: >"$dir/status"
	eval "$(apt-config shell HTTP_PROXY Acquire::http::Proxy)"
	echo "deb [signed-by=$(rootfs_path)/usr/share/keyrings/debian-archive-keyring.gpg] $MIRROR trixie-backports main" >"$dir/etc/sources.list"
	cat >"$dir/apt.conf" <<S
Dir::Etc "$dir/etc";
Dir::Etc::main "$dir/none";
Dir::Etc::parts "$dir/parts";
Dir::Etc::sourcelist "$dir/etc/sources.list";
Dir::Etc::sourceparts "$dir/parts";
Dir::Etc::preferencesparts "$dir/parts";
Dir::State "$dir/state";
Dir::State::status "$dir/status";
Dir::Cache "$dir/cache";
APT::Architecture "arm64";
APT::Architectures "arm64";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
${HTTP_PROXY:+Acquire::http::Proxy "$HTTP_PROXY";}
S
}

# The lists are asked for once a day. Without the registry those that are there do.
apt_update() {
	local dir=$CACHE/apt-arm64 lock

	exec {lock}>"$CACHE/lock/apt-arm64"
	flock "$lock"
	apt_configure
	if [ -z "$(find "$dir/updated" -mtime -1 2>/dev/null)" ]; then
		if apt_arm64 get -q update >"$CACHE/log/apt-arm64.log" 2>&1 && ! grep -q '^[WE]: Failed' "$CACHE/log/apt-arm64.log"; then
			touch "$dir/updated"
		elif [ -e "$dir/updated" ]; then
			say "The registry does not answer: going on with what it had $(date -r "$dir/updated" '+on %F')."
		else
			tail -n 5 "$CACHE/log/apt-arm64.log" >&2
			die "the registry $MIRROR does not answer, so it is not known which kernels Debian has."
		fi
	fi
	exec {lock}>&-
}

# Lines "NAME VERSION" of the kernels with the headers for modules, the newest first: the name is what
# `uname -r` says, the version the packages'.
stock_versions() {
	local name

	for name in $(apt_arm64 cache pkgnames linux-headers-7.3. |
		sed -n "s/^linux-headers-\(7\.3\.[0-9.]*+deb[0-9]*-$FLAVOUR\)\$/\1/p" | sort -rV); do
		echo "$name $(apt_arm64 cache show --no-all-versions "linux-headers-$name" | sed -n 's/^Version: //p')"
	done
}

# Sets STOCK_NAME and STOCK_VERSION, here and for all that is started from here.
choose_stock() {
	local all name version

	[ -z "${STOCK_NAME:-}" ] || return 0
	case $FLAVOUR in
	arm64 | arm64-16k | rt-arm64) ;;
	*) die "FLAVOUR=$FLAVOUR: neither arm64, arm64-16k nor rt-arm64" ;;
	esac
	apt_update
	all=$(stock_versions)
	while read -r name version; do
		case $VERSION in
		"" | "$version" | "$name" | "${name%-"$FLAVOUR"}" | "${name%%+*}") break ;;
		esac
		name=
	done <<<"$all"
	[ -n "$name" ] || die "there is no kernel ${VERSION:-7.3} of flavour $FLAVOUR in trixie-backports; it has: $(xargs <<<"${all:-none}")"
	export STOCK_NAME=$name STOCK_VERSION=$version
}

# The source that Debian made it from, with Debian's patches. The root file system may have it.
stock_source_path() {
	if grep -qxF "linux-source-7.3 $STOCK_VERSION" "$(rootfs_path)/versions"; then
		LINUX='' source_path no
	else
		echo "$CACHE/linux-debian-$STOCK_VERSION"
	fi
}

stock_path() {
	echo "$CACHE/stock-$STOCK_NAME-$({
		echo "$STOCK_VERSION"
		cat "$(rootfs_path)/versions" "$ENV_DIR/make-stock"
	} | hash_of)"
}

need_stock() {
	local source

	choose_stock
	source=$(stock_source_path)
	if [[ $source != */linux-debian-* ]]; then
		need "kernel source" "$source" env LINUX= "$ENV_DIR/make-source" "$source"
	else
		need "kernel source of $STOCK_VERSION" "$source" "$ENV_DIR/make-stock" source
	fi
	need "Debian's kernel $STOCK_NAME" "$(stock_path)" "$ENV_DIR/make-stock" kernel
}

# --- What packages need ---

packaging_packages() { echo e2fsprogs lintian mmdebstrap; }

packaging_path() {
	echo "$CACHE/packaging-$({ packaging_packages; cat "$ENV_DIR/make-packaging"; } | hash_of)"
}

need_packaging() { need "Debian's tools for packages" "$(packaging_path)" "$ENV_DIR/make-packaging" "$(packaging_path)"; }

# A Debian for the guest, in which the package is installed.
debian_path() {
	echo "$CACHE/debian-$STOCK_NAME-$({ echo "$STOCK_VERSION"; cat "$REPO/tests/package/make-root"; } | hash_of).tar"
}

need_debian() { need "Debian for the guest" "$(debian_path)" "$REPO/tests/package/make-root" "$(debian_path)"; }

# As `enter`, in the root file system with those tools.
enter_packaging() { ENTER_ROOT=$(packaging_path) "$ENV_DIR/enter" "$@"; }
