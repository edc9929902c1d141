# The watchdog of a pod: ends the pod when its time is up, or when nobody has used it for a while.
#
#   sh watchdog.sh FOLDER POD_ID
#
# FOLDER holds control files of one number each, which are read again every second or two:
#
#   deadline   when the pod ends whatever goes on in it, in seconds since 1970 by this machine's clock
#   grace      for how many seconds after that it still lives while it hears a driver
#   linger     for how many seconds the pod outlives its last use, which is a running command or a driver
#   heartbeat  when a driver was last here, in seconds since 1970
#   pid        the process id of the one watchdog in charge; an older one leaves
#   cluster    the id of the cluster that the pod is a member of, if it is: no number, and read once
#
# and "environment", the variables that the watchdog needs of the pod, as it found them at first.
#
# It logs to FOLDER/../watchdog.log. It runs in any POSIX sh, busybox's too. All of it is in functions, so
# that the whole file has been read before anything is done.

say() {
  printf '%s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$*" 2>/dev/null >>"$trace"
}

# The number in a control file, as $value; without one (the disk was full, the file is gone) the value it had before.
number() {
  value=
  { read -r value rest <"$folder/$1"; } 2>/dev/null
  case $value in '' | *[!0-9]*) value=$2 ;; esac
}

# Whether a process lives. One that has ended but was never waited for does not: a pod's PID 1 seldom waits.
living() {
  if [ ! -r /proc/self/stat ]; then
    kill -0 "$1" 2>/dev/null
    return
  fi
  stat=
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null
  case ${stat##*) } in '' | Z* | X*) return 1 ;; esac
}

# Whether a command of rpd runs: it was claimed, has no exit code yet, and its supervisor or itself lives.
busy() {
  for step in "${HOME:-/root}"/.rpd/steps/*/ /tmp/.rpd-*/steps/*/; do
    if [ -e "${step}claim" ] && [ ! -e "${step}exit" ]; then
      for file in pid group; do
        process=
        { read -r process <"$step$file"; } 2>/dev/null
        case $process in '' | *[!0-9]*) ;; *) ! living "$process" || return 0 ;; esac
      done
    fi
  done
  return 1
}

# The variables that a process ($1) was started with, one a line.
of_process() { { tr '\000\n' '\n\001' <"/proc/$1/environ"; } 2>/dev/null; }

# The variables in a file of "export NAME=VALUE" ($1), as RunPod's images write one; without their quotes.
of_file() { { sed -e 's/^export //' -e "s/=[\"']/=/" -e "s/[\"']\$//" <"$1"; } 2>/dev/null; }

# The variables of the oldest process that knows this machine as the pod.
of_oldest() {
  oldest=
  for process in $(grep -ls "RUNPOD_POD_ID=$pod" /proc/[0-9]*/environ); do
    process=${process#/proc/}
    process=${process%/environ}
    if [ -z "$oldest" ] || [ "$process" -lt "$oldest" ]; then oldest=$process; fi
  done
  [ -z "$oldest" ] || of_process "$oldest"
}

# What is wanted of such variables ($1), which sessions do not inherit. No value is evaluated. Whether they are the pod's
# and have its key.
take() {
  its_pod='' its_key='' its_url='' its_path=''
  while IFS= read -r entry; do
    case $entry in
      RUNPOD_POD_ID=*) its_pod=${entry#*=} ;;
      RUNPOD_API_KEY=*) its_key=${entry#*=} ;;
      RUNPOD_API_BASE_URL=*) its_url=${entry#*=} ;;
      PATH=*) its_path=${entry#*=} ;;
    esac
  done <<END
$1
END
  [ "$its_pod" = "$pod" ] && [ -n "$its_key" ]
}

# The variables of the pod, from where they still are: a PID 1 that became sshd has written over its own.
find_variables() {
  take "$(of_process 1)" && return
  is_known=$its_pod
  its_pod=${RUNPOD_POD_ID:-} its_key=${RUNPOD_API_KEY:-} its_url=${RUNPOD_API_BASE_URL:-} its_path=
  if [ "$its_pod" = "$pod" ]; then return; fi
  take "$(of_file "$folder/environment")" || take "$(of_file /etc/rp_environment)" ||
    take "$(of_file "${HOME:-/root}/.rpd-ssh/environment")" || take "$(of_oldest)" && return
  its_pod=$is_known
}

# Who we are and how RunPod is asked to end us. Refuses where this is not the pod it is meant to be.
identify() {
  find_variables
  if [ "$its_pod" != "$pod" ]; then
    refuse "neither PID 1, /etc/rp_environment nor any other process knows this machine as pod $pod (RUNPOD_POD_ID)"
  fi
  key=$its_key url=$its_url PATH=$PATH:$its_path
  # For another watchdog that is started later.
  printf 'export %s\n' "RUNPOD_POD_ID=$pod" "RUNPOD_API_KEY=$key" "RUNPOD_API_BASE_URL=$url" "PATH=$its_path" \
    2>/dev/null >"$folder/environment"
  url=${url:-https://api.runpod.io}
  RUNPOD_API_KEY=$key
  export PATH RUNPOD_API_KEY
  [ -n "$key" ] || refuse "the pod has no API key of its own (RUNPOD_API_KEY)"
  for tool in runpodctl $clients; do
    if command -v "$tool" >/dev/null 2>&1; then return; fi
  done
  refuse "the pod has none of runpodctl $clients to call RunPod with"
}

refuse() {
  say "refused: $*"
  echo "error $*"
  exit 1
}

# Run a program whose output is captured for at most 45 s.
limited() {
  "$@" 2>&1 &
  program=$!
  (
    sleep 45
    kill -9 "$program"
  ) >/dev/null 2>&1 &
  timer=$!
  wait "$program"
  code=$?
  # Not TERM: what ignores it here is ignored by what is started here, too.
  kill -9 "$timer" 2>/dev/null
  return "$code"
}

# Send a body ($3) to an address ($2) by one tool ($1) and method ($4, else POST), with the pod's own key. Its answer is $answer; whether that was
# one of success is the exit code.
post() {
  method=${4:-POST}
  case $1 in
    curl)
      # The key goes in by standard input, so that no list of processes shows it.
      answer=$(printf 'header = "Authorization: Bearer %s"\n' "$key" |
        curl -sS -m 30 -K - -A rpd -H 'Content-Type: application/json' -X "$method" -d "$3" -w ' (HTTP %{http_code})' "$2" 2>&1)
      ;;
    python3)
      answer=$(RPD_URL=$2 RPD_BODY=$3 RPD_METHOD=$method python3 -c '
import os, urllib.error, urllib.request
headers = {"Authorization": "Bearer " + os.environ["RUNPOD_API_KEY"], "Content-Type": "application/json", "User-Agent": "rpd"}
request = urllib.request.Request(os.environ["RPD_URL"], os.environ["RPD_BODY"].encode(), headers, method=os.environ["RPD_METHOD"])
try:
    answer = urllib.request.urlopen(request, timeout=30)
except urllib.error.HTTPError as error:
    answer = error
print(answer.read().decode(errors="replace"), "(HTTP %d)" % answer.status)
' 2>&1)
      ;;
    wget)
      if [ "$method" != POST ]; then
        answer='(wget only sends what POST does)'
        return 1
      fi
      # Not every wget takes a header from elsewhere than its arguments; anybody who can read them owns the pod.
      answer=$(limited wget -q -O - -U rpd --header "Authorization: Bearer $key" \
        --header 'Content-Type: application/json' --post-data "$3" "$2") && answer="$answer (HTTP 200)"
      ;;
  esac
  case $answer in
    *'(HTTP 2'??')') return 0 ;;
  esac
  return 1
}

# Ask RunPod by one tool ($1) and one of its APIs ($3) to delete or stop ($2) this pod. Its answer is $answer.
ask() {
  case $2 in
    delete) old=remove action=terminate mutation="podTerminate(input: {podId: \\\"$pod\\\"})" ;;
    stop) old=stop action=stop mutation="podStop(input: {podId: \\\"$pod\\\"}) { id }" ;;
  esac
  case $3 in
    runpodctl)
      answer=$(limited runpodctl pod "$2" "$pod") || answer=$(limited runpodctl "$old" pod "$pod")
      ;;
    GraphQL)
      post "$1" "$url/graphql" "{\"query\":\"mutation { $mutation }\"}" || return 1
      # It answers 200 to what it refuses as well.
      case $answer in
        *'"errors"'*) return 1 ;;
        *'"data"'*) return 0 ;;
      esac
      return 1
      ;;
    cluster) post "$1" "$url/v2/clusters/$cluster" '{}' DELETE ;;
    REST)
      # Its action "terminate" is what DELETE does, which not every tool here can send.
      post "$1" "$url/v2/pods/$pod/action" "{\"action\":\"$action\"}"
      ;;
  esac
}

# Delete or stop ($2) this pod by one tool ($1) and API ($3), if the tool is there. An answer that says yes proves
# nothing: the reader that is still there goes on trying.
try() {
  command -v "$1" >/dev/null 2>&1 || return
  how="$2 by $1"
  if [ "$1" != "$3" ]; then how="$how over $3"; fi
  if [ "$3" = cluster ]; then how="$2 the whole cluster $cluster by $1 over REST"; fi
  if ask "$@"; then
    say "$how: accepted"
    sleep "$patience"
    say "still here"
  else
    case $answer in *"$key"*) answer='(an answer that repeats the key)' ;; esac
    say "$how: refused: $(printf '%.300s' "$answer" | tr '\n' ' ')"
  fi
}

# One round of attempts. A member of a cluster ends the whole of it where the platform lets it, else itself: the others
# have the same deadline. REST is asked as well wherever GraphQL does not end the pod: it will be retired one day.
attempt() {
  if [ -n "$cluster" ]; then for tool in $clients; do try "$tool" delete cluster; done; fi
  for verb in delete stop; do
    try runpodctl "$verb" runpodctl
    for tool in $clients; do
      try "$tool" "$verb" GraphQL
      try "$tool" "$verb" REST
    done
  done
}

# Why the pod should end now, as $why; empty while it should live.
judge() {
  now=$(date +%s)
  number linger "$linger"
  linger=$value
  number heartbeat "$seen"
  if [ "$value" -gt "$seen" ]; then seen=$value; fi
  heard=$value
  # A clock that was set back must not keep the pod alive.
  if [ "$seen" -gt "$now" ]; then seen=$now; fi
  number deadline "$deadline"
  if [ "$value" != "$deadline" ]; then say "the deadline is $((value - now)) s from now"; fi
  deadline=$value
  # Looking for commands costs more than reading a number, so it is done only when the last use is some time ago.
  if [ $((now - seen)) -ge $((linger / 4)) ] && busy; then seen=$now; fi
  number grace "$grace"
  grace=$value
  why=
  if [ "$now" -ge "$deadline" ] && ! bears; then
    why="its deadline has passed"
  elif [ $((now - seen)) -ge "$linger" ]; then
    why="no command has run and no driver was here for $((now - seen)) s"
  fi
}

# Whether a driver that was heard just now still has grace. Heartbeats come every 20 seconds at most.
bears() {
  [ "$now" -lt $((deadline + grace)) ] && [ "$heard" -le "$now" ] && [ $((now - heard)) -lt 45 ]
}

guard() {
  pause=5
  while :; do
    number pid "$$"
    if [ "$value" != "$$" ]; then
      say "watchdog $value is in charge: $$ leaves"
      exit 0
    fi
    judge
    if [ -n "$why" ]; then
      say "this pod ends: $why"
      # So that a driver that still listens learns why.
      sleep 2
      attempt
      sleep "$pause"
      if [ "$pause" -lt 60 ]; then pause=$((pause * 2)); fi
    else
      pause=5
      if [ "$linger" -lt 10 ]; then sleep 1; else sleep 2; fi
    fi
  done
}

main() {
  folder=$1 pod=$2
  trace=${folder%/*}/watchdog.log
  cluster=
  { read -r cluster <"$folder/cluster"; } 2>/dev/null
  clients='curl python3 wget' patience=20
  trap '' HUP INT TERM
  umask 077
  identify
  number deadline 0
  deadline=$value
  number linger 900
  linger=$value
  number grace 0
  grace=$value
  seen=$(date +%s)
  printf '%-20s\n' "$$" 2>/dev/null >"$folder/pid" || refuse "its process id cannot be written"
  say "watchdog $$ guards pod $pod: $((deadline - seen)) s left, linger $linger s"
  echo armed
  exec </dev/null >/dev/null 2>&1
  cd /
  guard
}

main "$@"
