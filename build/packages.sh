# Sourced by br, test and bench/*: Debian packages that they need. The caller has `root` and `say`.

# True when PostgreSQL's programs are here.
has_postgresql() { compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null; }

# First what to say when they cannot be installed here, then the packages.
install_packages() {
  local else_say=$1 log=$root/artifacts/apt.log
  shift
  if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    say "$else_say"
    say "  sudo apt-get update && sudo apt-get install -y $*"
    exit 2
  fi
  say "installing $* …"
  mkdir -p "$root/artifacts"
  if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; } >"$log" 2>&1 </dev/null; then
    tail -n 15 "$log" >&2
    say "apt-get failed; everything it said is in $log"
    exit 1
  fi
  local package
  for package in "$@"; do end_service_of "$package" >/dev/null 2>&1 || true; done
}

# Where something starts services, some packages start one of their own, which nobody asked for: ended cleanly, and left as it is.
end_service_of() {
  case $1 in
    postgresql)
      pg_lsclusters -h | while read -r version name _ status _; do
        [[ $status == online* ]] && pg_ctlcluster "$version" "$name" stop -m fast || true
      done ;;
    bind9) service named stop ;;
    etcd-server) service etcd stop ;;
    knot|haproxy|patroni) service "$1" stop ;;
  esac
}
