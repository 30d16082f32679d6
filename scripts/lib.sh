# shellcheck shell=bash
# What the scripts share: root, Debian packages, virtual environments. Sourced, never run.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

say() { printf 'ipeql: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

# help "$@" <<EOF: print what stands on standard input and end, where --help or -h is asked for.
help() {
    local argument
    for argument; do
        case $argument in --help | -h) cat; exit 0 ;; esac
    done
}

# need_root "$@": go on as root, through sudo where there is one; "$@" are the script's arguments.
need_root() {
    if [ "$EUID" -eq 0 ]; then
        # What root makes in somebody's repository becomes theirs.
        [ -O "$ROOT" ] || trap 'find "$ROOT" -user 0 -exec chown -h --reference="$ROOT" {} +' EXIT
        return
    fi
    { command -v sudo >/dev/null && sudo true; } ||
        die "network namespaces need root: run $0 as root, or install sudo and be allowed to use it"
    exec sudo env PATH="$PATH" ${PYENV_ROOT:+PYENV_ROOT="$PYENV_ROOT"} ${CI:+CI="$CI"} \
        ${NO_COLOR:+NO_COLOR="$NO_COLOR"} bash "$0" "$@"
}

# need_packages PACKAGE...: install those of these Debian packages that are missing.
need_packages() {
    local package missing=()
    command -v apt-get >/dev/null ||
        { say "no apt here: expecting what Debian has in $*"; return; }
    for package; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    say "installing ${missing[*]}"
    { apt-get update -qq &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            "${missing[@]}"; } >&2 || die "could not install ${missing[*]}"
}

# need_venv EXTRAS [DIRECTORY [PYTHON]]: have IPEQL with EXTRAS in the virtual environment DIRECTORY
# (.venv beside scripts/); installs only when pyproject.toml has changed since.
need_venv() {
    local extras=$1 venv=${2:-$ROOT/.venv} python=${3:-python3} stamp wanted
    stamp=$venv/.ipeql-${extras//,/-}
    wanted=$(sha256sum <"$ROOT/pyproject.toml")
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "$python is older than Python 3.11"
    # A virtual environment knows its own path: one that was moved or copied is made anew.
    if ! grep -qsF "$venv" "$venv/bin/activate" || ! "$venv/bin/python" -c '' 2>/dev/null; then
        say "making ${venv#"$ROOT/"}"
        "$python" -m venv --clear "$venv"
    fi
    if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
        say "installing IPEQL [$extras] into ${venv#"$ROOT/"}"
        "$venv/bin/python" -m pip install -qq --disable-pip-version-check \
            --root-user-action=ignore -e "${ROOT}[$extras]" >&2 ||
            die "could not install IPEQL [$extras]"
        printf '%s\n' "$wanted" >"$stamp"
    fi
}

# prefix_from "$@": print DIR of `--prefix DIR', the only option of install and uninstall.
prefix_from() {
    case $#,${1:-},${2:-} in
        0,,) echo /opt/ipeql ;;
        2,--prefix,/?*) echo "${2%/}" ;;
        *) die "usage: $0 [--prefix DIR], an absolute path" ;;
    esac
}

is_active() { [ -d /run/systemd/system ] && systemctl is-active --quiet "$1"; }

# tell_system: let everyone who reads what was installed or removed read it again.
tell_system() {
    journalctl --update-catalog
    [ -d /run/systemd/system ] || return 0
    systemctl daemon-reload
    ! is_active dbus.service || systemctl reload dbus.service
    ! is_active NetworkManager.service || systemctl reload NetworkManager.service
    ! is_active systemd-networkd.service || networkctl reload
}
