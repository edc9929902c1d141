# Brings an SSH server up in a container whose image starts none, then runs the container's own command, or waits.
#
#   sh -c 'eval "$0"' THIS_PROGRAM [COMMAND [ARGUMENT ...]]
#
# The container is started with it, so it may use nothing but a POSIX sh and what it finds. A server that is there is
# used; else one is installed by the system's package manager; else micromamba, a single static program, is fetched and
# brings one. Each step is told on standard output in a line that begins with "rpd-start:", which whoever waits for the
# server reads in the container's log:
#
#   rpd-start: step TEXT      what goes on now
#   rpd-start: ready USER     the server runs, and USER can log in
#   rpd-start: failed TEXT    there will be no server
#
# It reads PUBLIC_KEY (lines for authorized_keys), RPD_SSH_PORT (22) and RPD_MICROMAMBA_URL. Running twice does no harm.

rpd_say() { printf 'rpd-start: %s\n' "$*"; }

rpd_has() { command -v "$1" >/dev/null 2>&1; }

rpd_wait() {
  trap 'exit 0' TERM INT
  while :; do
    sleep 3600 &
    wait "$!"
  done
}

# Without a server the container stays, so that its log can be read and it is not started again and again.
rpd_fail() {
  rpd_say "failed $*"
  rpd_wait
}

# Run a command; the last line it wrote is $rpd_last.
rpd_run() {
  "$@" >"$rpd_dir/log" 2>&1 </dev/null
  rpd_code=$? rpd_last=
  while IFS= read -r rpd_line || [ -n "$rpd_line" ]; do
    case $rpd_line in *[![:space:]]*) rpd_last=$rpd_line ;; esac
  done <"$rpd_dir/log"
  return "$rpd_code"
}

# Who can log in: the server lets in root, or without being root only its own user.
rpd_account() {
  rpd_uid=$(id -u) rpd_user='' rpd_home='' rpd_shell=''
  while IFS=: read -r rpd_name rpd_x rpd_id rpd_x rpd_x rpd_folder rpd_program; do
    if [ "$rpd_id" = "$rpd_uid" ]; then
      rpd_user=$rpd_name rpd_home=$rpd_folder rpd_shell=$rpd_program
      break
    fi
  done </etc/passwd
  if [ -z "$rpd_user" ]; then
    rpd_user=pod rpd_home=${HOME:-/tmp} rpd_shell=/bin/sh
    { printf '%s:x:%s:%s::%s:/bin/sh\n' pod "$rpd_uid" "$(id -g)" "$rpd_home" >>/etc/passwd; } 2>/dev/null ||
      rpd_fail "the container's user $rpd_uid has no name in /etc/passwd, so nobody can log in as it"
  fi
  [ "$rpd_uid" != 0 ] || rpd_open_root
  mkdir -p "$rpd_home" 2>/dev/null
  rpd_dir=$rpd_home/.rpd-ssh
  (umask 077 && mkdir -p "$rpd_dir" "$rpd_home/.ssh") 2>/dev/null ||
    rpd_fail "the home folder $rpd_home of $rpd_user cannot be written"
  [ -n "${HOME:-}" ] || export HOME="$rpd_home"
}

# OpenSSH lets nobody in whose password is locked, or whose shell is not there.
rpd_open_root() {
  { sed -i "s/^$rpd_user:!/$rpd_user:*/" /etc/shadow; } 2>/dev/null
  if [ ! -x "$rpd_shell" ]; then
    { sed -i "s|^\($rpd_user:.*:\)[^:]*\$|\1/bin/sh|" /etc/passwd; } 2>/dev/null
  fi
}

# As RunPod's images do: the keys, and the variables of the container for shells that do not inherit them.
rpd_prepare() {
  rpd_known=$(cat "$rpd_home/.ssh/authorized_keys" 2>/dev/null)
  printf '%s\n' "${PUBLIC_KEY:-}" | while IFS= read -r rpd_line; do
    case $rpd_known in *"$rpd_line"*) ;; *) printf '%s\n' "$rpd_line" >>"$rpd_home/.ssh/authorized_keys" ;; esac
  done
  chmod 700 "$rpd_home/.ssh" && chmod 600 "$rpd_home/.ssh/authorized_keys" 2>/dev/null
  for rpd_file in /etc/rp_environment "$rpd_dir/environment"; do
    (umask 077 && unset PUBLIC_KEY RPD_PART && export -p >"$rpd_file") 2>/dev/null && break
  done
  case $(cat "$rpd_home/.bashrc" 2>/dev/null) in
    *rp_environment*) ;;
    *) { echo "[ ! -r $rpd_file ] || . $rpd_file" >>"$rpd_home/.bashrc"; } 2>/dev/null ;;
  esac
}

# Where the server is, as $rpd_sshd: it has to be started by its whole path.
rpd_find() {
  for rpd_sshd in "$(command -v sshd)" /usr/sbin/sshd /usr/local/sbin/sshd /sbin/sshd \
    "$rpd_dir/env/sbin/sshd" "$rpd_dir/env/bin/sshd"; do
    case $rpd_sshd in /*) [ ! -x "$rpd_sshd" ] || return 0 ;; esac
  done
  return 1
}

rpd_install() {
  rpd_tried=
  for rpd_tool in apt-get apk dnf microdnf yum; do
    rpd_has "$rpd_tool" || continue
    if [ "$rpd_uid" != 0 ]; then
      rpd_tried="$rpd_tried; $rpd_tool needs root, and the container's user is $rpd_user"
      break
    fi
    rpd_say "step installing an SSH server with $rpd_tool"
    case $rpd_tool in
      # One of the image's lists of packages may be out of reach, and the others do.
      apt-get) rpd_run sh -c 'apt-get update
        DEBIAN_FRONTEND=noninteractive exec apt-get install -y --no-install-recommends openssh-server' ;;
      apk) rpd_run apk add --no-cache openssh ;;
      *) rpd_run "$rpd_tool" install -y openssh-server ;;
    esac
    if rpd_find; then return 0; fi
    rpd_tried="$rpd_tried; $rpd_tool: ${rpd_last:-it ended with $rpd_code}"
    rpd_say "step $rpd_tool installed none: ${rpd_last:-it ended with $rpd_code}"
  done
  rpd_fetch
}

# Fetch a file ($2) to a path ($1) by what there is.
rpd_download() {
  for rpd_tool in curl wget python3; do
    rpd_has "$rpd_tool" || continue
    rpd_client=$rpd_tool
    case $rpd_tool in
      curl) rpd_run curl -fsSL --retry 3 -o "$1" "$2" ;;
      wget) rpd_run wget -q -O "$1" "$2" ;;
      python3) rpd_run python3 -c 'import sys, urllib.request as u; u.urlretrieve(sys.argv[2], sys.argv[1])' "$1" "$2" ;;
    esac && [ -s "$1" ] && return 0
    rpd_tried="$rpd_tried; $rpd_tool: ${rpd_last:-it ended with $rpd_code}"
  done
  return 1
}

rpd_fetch() {
  rpd_client=
  case $(uname -m) in aarch64 | arm64) rpd_kind=aarch64 ;; *) rpd_kind=64 ;; esac
  rpd_url=https://github.com/mamba-org/micromamba-releases/releases/latest/download/micromamba-linux-$rpd_kind
  rpd_url=${RPD_MICROMAMBA_URL:-$rpd_url}
  rpd_say "step fetching an SSH server with micromamba from $rpd_url"
  if rpd_download "$rpd_dir/micromamba" "$rpd_url"; then
    chmod 755 "$rpd_dir/micromamba"
    rpd_run "$rpd_dir/micromamba" create -y -q -r "$rpd_dir/mamba" -p "$rpd_dir/env" --override-channels \
      -c conda-forge openssh
    if rpd_find; then return 0; fi
    rpd_tried="$rpd_tried; micromamba: ${rpd_last:-it ended with $rpd_code}"
  elif [ -z "$rpd_client" ]; then
    rpd_tried="$rpd_tried; none of curl, wget and python3 is there to fetch one"
  fi
  rpd_tried=${rpd_tried#; }
  rpd_fail "the image has no SSH server, and none could be installed ($rpd_tried)"
}

rpd_configure() {
  rpd_keygen=${rpd_sshd%/*/*}/bin/ssh-keygen
  [ -x "$rpd_keygen" ] || rpd_keygen=ssh-keygen
  if [ ! -s "$rpd_dir/host_key" ]; then
    rpd_run "$rpd_keygen" -q -t ed25519 -N '' -f "$rpd_dir/host_key" ||
      rpd_fail "no host key could be made: ${rpd_last:-ssh-keygen ended with $rpd_code}"
  fi
  # A configuration of its own: that of the image may let nobody in.
  cat >"$rpd_dir/config" <<RPD_END
Port ${RPD_SSH_PORT:-22}
HostKey $rpd_dir/host_key
AuthorizedKeysFile $rpd_home/.ssh/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
StrictModes no
PidFile none
LogLevel ERROR
MaxStartups 100
MaxSessions 1000
AllowTcpForwarding yes
Subsystem sftp internal-sftp
RPD_END
  mkdir -p /run/sshd 2>/dev/null
  # What the server misses it says, one thing at a time.
  for rpd_try in 1 2 3 4; do
    if rpd_run "$rpd_sshd" -t -f "$rpd_dir/config"; then break; fi
    case $rpd_last in
      *'privilege separation directory: /'*)
        rpd_folder=${rpd_last##*directory: }
        rpd_folder=${rpd_folder%%[[:space:]]*}
        mkdir -p "$rpd_folder" && chmod 755 "$rpd_folder"
        ;;
      *'rivilege separation user sshd does not exist'*)
        echo 'sshd:x:74:74::/run/sshd:/bin/false' >>/etc/passwd
        ;;
      *) break ;;
    esac 2>/dev/null
  done
}

rpd_serve() {
  rpd_account
  rpd_prepare
  if rpd_find; then
    rpd_say "step starting the SSH server of the image"
  else
    rpd_say "step the image has no SSH server"
    rpd_install
    rpd_say "step starting the SSH server"
  fi
  rpd_configure
  "$rpd_sshd" -D -e -f "$rpd_dir/config" >"$rpd_dir/sshd.log" 2>&1 </dev/null &
  rpd_server=$!
  sleep 1
  if ! kill -0 "$rpd_server" 2>/dev/null; then
    rpd_run cat "$rpd_dir/sshd.log"
    case $(cat "$rpd_dir/sshd.log") in
      *'Address already in use'*) ;; # it is one that an installation started, and takes the same keys
      *) rpd_fail "the SSH server $rpd_sshd ended at once: ${rpd_last:-it said nothing}" ;;
    esac
  fi
  rpd_say "ready $rpd_user"
}

rpd_main() {
  PATH=${PATH:-/usr/local/bin:/usr/bin:/bin}:/usr/local/sbin:/usr/sbin:/sbin
  export PATH
  if [ "${RPD_PART:-}" = serve ]; then
    rpd_serve
    return
  fi
  # An image made from one of RunPod's brings a start script that does all of this, and more.
  if [ "$#" = 0 ] && [ -x /start.sh ]; then
    case $(cat /start.sh) in
      *PUBLIC_KEY*)
        rpd_say "step running the image's /start.sh, which starts an SSH server"
        exec /start.sh
        ;;
    esac
  fi
  if [ "$(id -u)" != 0 ] && rpd_has sudo && sudo -n true 2>/dev/null; then
    sudo -n -E -H RPD_PART=serve sh -c 'eval "$0"' "$0"
  else
    rpd_serve
  fi
  if [ "$#" = 0 ]; then rpd_wait; fi
  rpd_has "$1" || rpd_fail "the start command cannot be run: the image has no $1"
  rpd_say "step running the start command"
  exec "$@"
}

rpd_main "$@"
