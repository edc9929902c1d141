"""Detached commands: their log, their end, and their survival of a broken connection."""

import itertools
import os
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpd.errors import Cause, CommandTimeout, ConnectionLost, Interrupted, PodLost, RemoteError
from rpd.remote import detached
from rpd.remote.detached import (
    _LOAD_ENVIRONMENT,
    _SUPERVISE,
    Control,
    Tail,
    exports,
    folder_name,
)
from rpd.remote.out_of_memory import is_out_of_memory
from rpd.remote.protocol import Command
from rpd.remote.shell import Program
from rpd.remote.ssh import SshRemote
from rpd.values.step import Completed
from tests.remote.conftest import DEADLINE, Connect, Machine
from tests.waiting import wait_until


class Log:
    """Collects output, and does something at the first that holds a text."""

    def __init__(self, at: bytes = b"", action: object = None) -> None:
        self.data = b""
        self._at, self._action = at, action

    def __call__(self, data: bytes) -> None:
        self.data += data
        if self._action is not None and self._at in self.data:
            action, self._action = self._action, None
            action()  # type: ignore[operator]


def command(text: str, **changes: object) -> Command:
    return Command(key=str(changes.pop("key", "1")), text=text, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("code", [0, 1, 7, 126, 255])
def test_the_exit_code_is_that_of_the_command(remote: SshRemote, code: int) -> None:
    """A command's exit code comes back as it is."""
    assert remote.run(command(f"exit {code}"), Log()).exit_code == code


def test_a_command_ended_by_a_signal_reports_128_and_the_signal(remote: SshRemote) -> None:
    """SIGKILL is exit code 137, as in a shell."""
    assert remote.run(command("kill -KILL $$"), Log()).exit_code == 137


def test_output_and_errors_arrive_whole_and_in_order(remote: SshRemote) -> None:
    """Both streams go into one log, byte for byte."""
    log = Log()
    done = remote.run(command("printf 'a\\r\\0\\377'; printf b >&2; echo c"), log)
    assert log.data == b"a\r\0\xffbc\n"
    assert done.ok


def test_output_of_a_running_command_is_seen_before_it_ends(remote: SshRemote, machine: Machine) -> None:
    """A line is handed on while the command still runs."""
    gate = machine.files / "gate"
    log = Log(b"first\n", gate.touch)
    script = f"echo first; while [ ! -e {shlex.quote(str(gate))} ]; do sleep 0.02; done; echo second"
    remote.run(command(script), log)
    assert log.data == b"first\nsecond\n"


def test_much_output_arrives_whole(remote: SshRemote) -> None:
    """Megabytes in a burst right before the end are all there."""
    log = Log()
    remote.run(command("seq 1 300000"), log)
    assert log.data == b"".join(b"%d\n" % number for number in range(1, 300001))


def test_the_command_runs_in_its_folder_with_its_environment(remote: SshRemote, machine: Machine) -> None:
    """cwd, env and secrets reach the command, whatever is in their values."""
    odd = "a 'b' \"c\" $HOME `id`\n\\n#!é"
    log = Log()
    text = 'pwd; printf %s "$ODD"; printf %s "$TOKEN"; printf %s "$d$code$child"'
    env = {"ODD": odd, "d": "x", "code": "y", "child": "z"}
    remote.run(command(text, cwd=str(machine.files), env=env, secrets={"TOKEN": odd[::-1]}), log)
    assert log.data.decode() == f"{machine.files}\n{odd}{odd[::-1]}xyz"


def test_a_missing_folder_is_named_in_the_log(remote: SshRemote) -> None:
    """A command whose cwd does not exist fails with the reason in its log."""
    log = Log()
    done = remote.run(command("echo no", cwd="/does/not/exist"), log)
    assert done.exit_code == 126
    assert b"/does/not/exist" in log.data


def test_secrets_are_in_no_file_and_no_argument(remote: SshRemote, machine: Machine) -> None:
    """A secret is nowhere under the home folder, in no exec request and in no process's arguments."""
    secret = "canary-7391"
    log = Log()
    remote.run(command("cat /proc/*/cmdline | tr '\\0' ' '", secrets={"TOKEN": secret}), log)
    assert b"supervise" in log.data
    assert secret.encode() not in log.data
    assert not any(secret in line for line in machine.commands)
    files = [path for path in machine.home.rglob("*") if path.is_file()]
    assert files
    assert not any(secret.encode() in path.read_bytes() for path in files)


def test_what_the_command_is_is_private_and_its_umask_is_not(remote: SshRemote, machine: Machine) -> None:
    """The folder of a command is its owner's alone; files the command makes have the usual mode."""
    remote.run(command(f"touch {machine.files}/made", key="k"), Log())
    assert (machine.home / ".rpd/steps/k").stat().st_mode & 0o777 == 0o700
    assert (machine.home / ".rpd/steps/k/command").stat().st_mode & 0o777 == 0o600
    assert (machine.files / "made").stat().st_mode & 0o777 == 0o644


def test_a_lost_connection_loses_and_doubles_no_byte(remote: SshRemote, machine: Machine) -> None:
    """After each of three breaks in the middle of a log, it continues at the byte."""

    class Breaking(Log):
        breaks = 0

        def __call__(self, data: bytes) -> None:
            self.data += data
            if self.breaks < 3 and b"\n%d\n" % (2000 * (self.breaks + 1)) in self.data:
                self.breaks += 1
                machine.drop()
                (machine.files / f"break{self.breaks}").touch()

    log = Breaking()
    # The output after a break is partly written before it, partly after it.
    wait = f"case $i in 2500|4500|6500) while [ ! -e {machine.files}/break$((i / 2000)) ]; do sleep 0.05; done;; esac"
    done = remote.run(command(f"for i in $(seq 1 8000); do echo $i; {wait}; done; echo end; exit 3"), log)
    assert done.exit_code == 3
    assert log.data == b"".join(b"%d\n" % number for number in range(1, 8001)) + b"end\n"
    assert log.breaks == 3


def test_a_server_that_restarts_is_found_again(connecting: Connect, machine: Machine) -> None:
    """While sshd is down the command keeps running; its end is noticed when sshd is back."""
    remote = connecting()
    gate = machine.files / "gate"
    back = threading.Timer(0.5, machine.start)

    def outage() -> None:
        machine.stop()
        gate.touch()
        back.start()

    log = Log(b"a\n", outage)
    script = f"echo a; while [ ! -e {gate} ]; do sleep 0.02; done; echo b; exit 5"
    done = remote.run(command(script), log)
    assert (done.exit_code, log.data) == (5, b"a\nb\n")
    back.join()


def test_a_pod_that_is_gone_is_said_to_be(connecting: Connect, machine: Machine) -> None:
    """If RunPod no longer has the pod, a lost connection is PodLost at once."""
    remote = connecting(is_alive=lambda: False)
    with pytest.raises(PodLost, match="pod1 is gone"):
        remote.run(command("echo a; sleep 60"), Log(b"a", machine.stop))


def test_a_connection_that_stays_away_is_given_up(connecting: Connect, machine: Machine) -> None:
    """After the deadline for reconnecting the error gives the reason, and says that the command may still run."""
    remote = connecting(give_up=0.3)
    with pytest.raises(ConnectionLost, match=r"refused.*may still run"):
        remote.run(command("echo a; sleep 60"), Log(b"a", machine.stop))


def test_the_same_key_starts_nothing_twice(connecting: Connect, machine: Machine) -> None:
    """A second driver that runs the same step follows the first one's, from the first byte."""
    marker = machine.files / "starts"
    text = f"echo x >>{marker}; echo hello; exit 4"
    first, second = Log(), Log()
    assert connecting().run(command(text, key="a"), first).exit_code == 4
    assert connecting().run(command(text, key="a"), second).exit_code == 4
    assert second.data == first.data == b"hello\n"
    assert marker.read_text() == "x\n"


def test_a_command_outlives_its_driver(connecting: Connect, machine: Machine) -> None:
    """A closed connection ends the following, not the command; the next driver gets all of the log."""
    gate, remote = machine.files / "gate", connecting()
    text = f"echo a; while [ ! -e {gate} ]; do sleep 0.02; done; echo b"
    with pytest.raises(ConnectionLost, match="closed"):
        remote.run(command(text), Log(b"a", remote.close))
    log = Log(b"a", gate.touch)
    assert connecting().run(command(text), log).ok
    assert log.data == b"a\nb\n"


def test_a_pod_that_was_restarted_is_not_worked_on_again(
    remote: SshRemote, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of a started command is gone and PID 1 is another: so is the command, and it is not started anew."""
    first = machine.files / "stat"
    first.write_text(Path("/proc/1/stat").read_text(encoding="ascii"), encoding="ascii")
    monkeypatch.setattr(detached, "_FOLLOW", detached._FOLLOW.replace("/proc/1/stat", str(first)))

    def restart() -> None:
        (machine.home / ".rpd").rename(machine.home / "old")
        fields = first.read_text(encoding="ascii").rpartition(")")[2].split()
        fields[19] = "123456789"
        first.write_text(f"1 (init) {' '.join(fields)}", encoding="ascii")
        machine.drop()

    with pytest.raises(PodLost, match="restarted"):
        remote.run(command("echo a; sleep 60"), Log(b"a", restart))


@pytest.mark.parametrize("dropped", [False, True])
def test_a_job_that_deletes_the_folder_of_its_command_is_told_so(
    remote: SshRemote, machine: Machine, dropped: bool
) -> None:
    """`rm -rf ~/.rpd` is the job's doing, whether the connection holds or not: no other pod would fare better."""
    log = Log(b"on", machine.drop if dropped else None)
    with pytest.raises(RemoteError, match=r"A job must not delete ~/\.rpd") as caught:
        remote.run(command('rm -rf "$HOME/.rpd"; echo on; sleep 0.3; echo bye'), log)
    assert not isinstance(caught.value, ConnectionLost)
    assert caught.value.cause is Cause.CODE
    assert dropped or log.data == b"on\nbye\n"


def test_a_timeout_ends_the_whole_group(
    remote: SshRemote, machine: Machine, time_passes: Callable[[float], None]
) -> None:
    """After the timeout the command and its children get SIGTERM; their last output is in the log."""
    log = Log(b"on\n", lambda: time_passes(1000))
    text = f"trap 'echo bye; exit' TERM; sleep 300 & echo $! >{machine.files}/child; echo on; wait"
    with pytest.raises(CommandTimeout, match="1000 s"):
        remote.run(command(text, timeout=1000), log)
    assert log.data == b"on\nbye\n"
    assert not _lives((machine.files / "child").read_text())


def test_a_command_that_ignores_sigterm_is_killed_after_its_grace(
    remote: SshRemote, machine: Machine, time_passes: Callable[[float], None]
) -> None:
    """SIGKILL follows SIGTERM."""
    text = f"trap '' TERM; echo $$ >{machine.files}/pid; echo on; while :; do sleep 1; done"
    with pytest.raises(CommandTimeout):
        remote.run(command(text, timeout=1000, grace=0.3), Log(b"on\n", lambda: time_passes(1000)))
    assert not _lives((machine.files / "pid").read_text())


def test_a_command_that_ended_in_time_during_an_outage_is_no_timeout(
    connecting: Connect, machine: Machine, time_passes: Callable[[float], None]
) -> None:
    """The connection comes back after the timeout: it counts that the command had ended before it."""
    gate = machine.files / "gate"

    def outage() -> None:
        machine.stop()
        gate.touch()

    def is_alive() -> bool:  # asked when the connection could not be mended
        wait_until((machine.home / ".rpd/steps/1/exit").exists, what="the end of the command")
        time_passes(1000)
        machine.start()
        return True

    text = f"echo a; while [ ! -e {gate} ]; do sleep 0.02; done; exit 6"
    remote = connecting(is_alive=is_alive)
    assert remote.run(command(text, timeout=1000), Log(b"a", outage)).exit_code == 6


def test_an_interrupt_from_another_thread_ends_the_command(remote: SshRemote, machine: Machine) -> None:
    """``interrupt`` ends the group, and is used up by it: the next command runs."""
    log = Log(b"on\n", lambda: threading.Thread(target=remote.interrupt).start())
    text = f"echo $$ >{machine.files}/pid; echo on; sleep 300"
    with pytest.raises(Interrupted):
        remote.run(command(text, grace=1.0), log)
    assert not _lives((machine.files / "pid").read_text())
    assert remote.run(command("true", key="2"), Log()).ok


def test_what_a_command_says_while_it_is_ended_is_heard_at_once(remote: SshRemote, machine: Machine) -> None:
    """The output of its last seconds comes as it is written, not when they are over."""
    gate = machine.files / "gate"
    text = f"trap 'echo saving; while [ ! -e {gate} ]; do sleep 0.05; done; echo saved; exit 3' TERM; echo on; sleep 60 & wait"
    log = Log(b"on\n", lambda: threading.Thread(target=remote.interrupt).start())

    def hear(data: bytes) -> None:
        log(data)
        if b"saving" in log.data:
            gate.touch()  # it only ends once this was heard

    with pytest.raises(Interrupted):
        remote.run(command(text, grace=DEADLINE), hear)
    assert log.data == b"on\nsaving\nsaved\n"


def test_a_command_that_is_come_back_to_tells_how_long_it_ran(connecting: Connect, machine: Machine) -> None:
    """Its time is its own, not that of the driver who found it over."""
    assert connecting().run(command("true"), Log()).seconds < DEADLINE
    (folder,) = (machine.home / ".rpd/steps").iterdir()
    now = int((folder / "began").read_text())
    (folder / "began").write_text(f"{now - 3600}\n")
    (folder / "exit").write_text(f"0 0 {now - 3590}\n")
    assert connecting().run(command("true"), Log()).seconds == 10.0


def test_an_interrupt_before_the_start_starts_nothing(remote: SshRemote, machine: Machine) -> None:
    """An interrupt that comes between two steps is met by the next."""
    remote.interrupt()
    with pytest.raises(Interrupted):
        remote.run(command(f"touch {machine.files}/made"), Log())
    assert not (machine.files / "made").exists()


def test_an_interrupt_while_the_pod_is_away_does_not_wait_for_it(
    connecting: Connect, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a way to the pod an interrupt is over soon."""
    monkeypatch.setattr("rpd.remote.ssh.shell._LAST_TRY_SECONDS", 0.2)
    remote = connecting(is_alive=lambda: None)

    def outage() -> None:
        machine.stop()
        remote.interrupt()

    with pytest.raises(Interrupted):
        remote.run(command("echo a; sleep 60"), Log(b"a", outage))


def test_children_that_hold_the_log_do_not_hold_the_driver(remote: SshRemote, machine: Machine) -> None:
    """A command has ended when its shell has, though a child in the background still writes."""
    log = Log()
    done = remote.run(command(f"sleep 60 & echo $! >{machine.files}/child; echo done"), log)
    assert (done.ok, log.data) == (True, b"done\n")
    pid = (machine.files / "child").read_text()
    assert _lives(pid)
    remote.run(command(f"kill {pid}", key="2"), Log())


def test_children_that_write_without_end_do_not_hold_the_driver(remote: SshRemote, machine: Machine) -> None:
    """Whatever a child in the background adds to log and metrics, the command has ended."""
    gate = machine.files / "gate"
    child = f"while [ ! -e {gate} ]; do echo x; echo x=1 >>$RPD_METRICS; done"
    assert remote.run(command(f"({child}) & echo done"), Log(), Log()).ok
    gate.touch()


def test_a_supervisor_that_was_killed_is_a_killed_command(remote: SshRemote, machine: Machine) -> None:
    """Without an exit code the command counts as killed, and the wait for it ends."""
    folder = machine.home / ".rpd/steps/1"
    done = remote.run(command(f"kill -KILL $(cat {folder}/pid); sleep 300 & wait", grace=0.1), Log())
    assert done.exit_code == 137
    wait_until((folder / "group").exists)
    remote.run(command(f"kill -KILL -$(cat {folder}/group)", key="2"), Log())


def test_a_machine_with_busybox_alone_will_do(busybox: None, remote: SshRemote, machine: Machine) -> None:
    """If tail cannot watch a process, log and metrics are still followed, byte for byte over a break."""
    log, metrics = Log(b"\n500\n", machine.drop), Log()
    counting = "for i in $(seq 1 1000); do echo $i; echo $i >>$RPD_METRICS; done; sleep 0.5; echo end; exit 3"
    done = remote.run(command(counting), log, metrics)
    assert done.exit_code == 3
    assert metrics.data == b"".join(b"%d\n" % number for number in range(1, 1001))
    assert log.data == metrics.data + b"end\n"


# --- metrics --------------------------------------------------------------------------------------------------------


MARK = "rpd-0123456789abcdef"


@given(
    said=st.lists(st.sampled_from([b"sh: odd\n", b"\xff\n"]), max_size=2).map(b"".join),
    metrics=st.lists(
        st.sampled_from(
            [
                b"a=1\n",
                b"\n",
                b"\0",
                b"end 0 0 0 0\n",
                b"following 1 2\n",
                *(MARK[:n].encode() for n in (1, 5, 19)),
            ]
        )
    ).map(b"".join),
    cuts=st.lists(st.integers(0, 200)),
)
def test_standard_error_of_a_follower_is_taken_apart_wherever_it_is_cut(
    said: bytes, metrics: bytes, cuts: list[int]
) -> None:
    """Between the line that a follower has begun and the mark every byte is a metric, whatever it looks like."""
    began, heard = Log(), Log()
    control = Control(MARK, began, heard)
    first, last = said + b"following 0 12\n", b"end 0 0 3 1\nmetrics 9\n"
    whole = first + metrics + f"{MARK}\n".encode() + last
    places = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    for at, until in itertools.pairwise(places):
        control.feed(whole[at:until])
    assert (began.data, heard.data, control.said) == (first, metrics, first + last)


def test_metrics_come_while_the_command_runs_each_byte_once_over_breaks(
    remote: SshRemote, machine: Machine, connecting: Connect
) -> None:
    """They come in parallel with the output, before anything is printed.

    A late driver gets all from the first byte.
    """
    gate = machine.files / "gate"

    def act() -> None:
        machine.drop()
        gate.touch()

    log, metrics = Log(), Log(b"\n400\n", act)
    waits = (
        f"for i in $(seq 1 400); do echo $i >>$RPD_METRICS; done; while [ ! -e {gate} ]; do sleep 0.02; done; "
        "for i in $(seq 401 800); do echo $i >>$RPD_METRICS; done; printf 'no end' >>$RPD_METRICS; echo done"
    )
    assert remote.run(command(waits), log, metrics).ok
    numbers = b"".join(b"%d\n" % number for number in range(1, 801)) + b"no end"
    assert (log.data, metrics.data) == (b"done\n", numbers)
    again = Log()
    assert connecting().run(command(waits), Log(), again).ok
    assert again.data == numbers


def test_a_command_that_is_ended_by_what_it_measures_has_its_grace(
    remote: SshRemote, machine: Machine
) -> None:
    """An interrupt out of the metrics ends the command with SIGTERM, and its output meanwhile is kept."""
    log, metrics = Log(), Log(b"loss=9", lambda: remote.interrupt())
    script = "trap 'echo last=1 >>$RPD_METRICS; echo saved; exit 0' TERM; echo loss=9 >>$RPD_METRICS; sleep 60 & wait"
    with pytest.raises(Interrupted):
        remote.run(command(script), log, metrics)
    assert (log.data, metrics.data) == (b"saved\n", b"loss=9\nlast=1\n")


def test_a_module_for_metrics_is_within_reach(remote: SshRemote) -> None:
    """Python on the pod can import it, whatever else is on its path; without rpd it does nothing."""
    log, metrics = Log(), Log()
    script = 'PYTHONPATH=/none:$PYTHONPATH python3 -c \'import rpd_metrics as m; m.log({"a/b": True}, step=2, x=float("nan"))\''
    assert remote.run(command(script), log, metrics).ok, log.data
    assert metrics.data == b'{"step": 2, "a/b": 1.0, "x": NaN}\n'


def test_what_a_summary_writer_writes_is_a_metric(remote: SshRemote, machine: Machine) -> None:
    """One call, and the scalars of a real writer are heard as they are written, each once."""
    log, metrics = Log(), Log()
    program = (
        "import rpd_metrics as m\nm.from_tensorboard()\nm.from_tensorboard()\nfrom tensorboardX import SummaryWriter\n"
        "w = SummaryWriter('tb')\nw.add_scalar('loss', 0.5, 3)\nw.add_scalars('acc', {'a': 1, 'b': 2}, global_step=4)\n"
        "w.add_scalar(scalar_value=7, tag='plain')\nw.close()\n"
    )
    script = f"{shlex.quote(sys.executable)} -W ignore -c {shlex.quote(program)}"
    assert remote.run(command(script, cwd=str(machine.files)), log, metrics).ok, log.data
    lines = [b'{"step": 3, "loss": 0.5}', b'{"step": 4, "acc/a": 1.0, "acc/b": 2.0}', b'{"plain": 7.0}', b""]
    assert metrics.data.split(b"\n") == lines


def test_words_of_a_login_shell_are_not_output(machine: Machine, connecting: Connect) -> None:
    """Text that a start-up file prints before a command reaches neither its log nor the first check."""
    machine.before_command = "echo welcome; "
    log = Log()
    connecting().run(command("echo x"), log)
    assert log.data == b"x\n"


def test_an_unwritable_home_is_no_hindrance(remote: SshRemote, machine: Machine) -> None:
    """If the home folder cannot hold the steps, /tmp does."""
    (machine.home / ".rpd").write_text("in the way")
    log = Log()
    assert remote.run(command("echo x", key=f"unwritable-{machine.port}"), log).ok
    assert log.data == b"x\n"


def test_wrong_names_of_variables_are_refused(remote: SshRemote) -> None:
    """A name no shell can export is an error that names it."""
    with pytest.raises(RemoteError, match="'A-B' is not a valid name"):
        remote.run(command("true", env={"A-B": "1"}), Log())


def test_the_environment_of_pid_1_fills_in_what_the_session_lacks(remote: SshRemote, tmp_path: Path) -> None:
    """Odd values are taken as they are, nothing is evaluated, and the session's PATH is kept behind."""
    value = "a\nb $(touch /tmp/never) 'q' \"w\" `id` =x\\n"
    environ = tmp_path / "environ"
    pairs = {"ODD": value, "HOME": "/other", "PATH": "/opt/bin:/bin", "BAD-NAME": "1", "1X": "2", "EMPTY": ""}
    environ.write_bytes(b"".join(f"{name}={text}\0".encode() for name, text in pairs.items()))
    script = f'{_LOAD_ENVIRONMENT}\n_rpd_load_environment {environ}; printf "%s\\0" "$ODD" "$HOME" "$PATH" "${{EMPTY-no}}"'
    odd, home, path, empty, _ = remote._shell.exec(Program(script)).stdout.decode().split("\0")
    assert (odd, empty) == (value, "")
    assert home != "/other"
    assert path.startswith("/opt/bin:/bin:")
    assert path.split(":").count("/bin") == 1
    assert "/usr/bin" in path.split(":")


def test_facts_about_the_machine(connecting: Connect, machine: Machine, tmp_path: Path) -> None:
    """The probe tells of the GPU through nvidia-smi if it is there."""
    tools = tmp_path / "tools"
    tools.mkdir()
    smi = tools / "nvidia-smi"
    smi.write_text(
        "#!/bin/sh\ncase $1 in --query*) echo 'NVIDIA L4, 570.1'; echo 'NVIDIA L4, 570.1' ;;\n"
        "*) echo '| NVIDIA-SMI 570.1  Driver Version: 570.1   CUDA Version: 12.8  |' ;; esac\n"
    )
    smi.chmod(0o755)
    machine.path = f"{tools}:{machine.path}"
    facts = connecting().probe()
    assert facts["gpu_name"] == "NVIDIA L4"
    assert (facts["gpu_count"], facts["driver"], facts["cuda"]) == ("2", "570.1", "12.8")
    assert facts["uname"].startswith("Linux")


def test_facts_never_fail(remote: SshRemote, machine: Machine) -> None:
    """Without a connection there are no facts, and no error."""
    machine.stop()
    assert remote.probe() == {}


@pytest.mark.parametrize(
    ("line", "code", "expected"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", 1, True),
        ("RuntimeError: CUDA error: out of memory", 1, True),
        ("rpd: the kernel ended a process of this command: out of memory", 137, True),
        ("CUDA out of memory, retrying with half the batch", 0, False),
        ("ValueError: bad", 1, False),
        ("Killed", 137, False),
        ("MemoryError", 1, True),
        ("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 1.2 TiB", 1, True),
        ("    raise MemoryError", 1, False),
        ("  what():  std::bad_alloc", 134, False),
        ("terminate called after throwing an instance of 'std::bad_alloc'", 134, True),
    ],
)
def test_running_out_of_memory_is_told_apart(line: str, code: int, expected: bool) -> None:
    """A failure is one of memory if the kernel or CUDA says so."""
    assert is_out_of_memory(Completed(command="c", exit_code=code, tail=("x", line))) is expected


@pytest.fixture
def little_memory() -> Iterator[Path]:
    """A memory cgroup of 48 MB below our own (cgroup v1, as root)."""
    own = [line for line in Path("/proc/self/cgroup").read_text().splitlines() if ":memory:" in line]
    if not own or shutil.which("unshare") is None or os.geteuid() != 0:
        pytest.skip("this needs root, unshare, and cgroup v1's memory controller")
    group = Path("/sys/fs/cgroup/memory", own[0].split(":")[2].lstrip("/"), f"rpd-test-{os.getpid()}")
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(48 << 20))
    except OSError as error:
        pytest.skip(f"no memory cgroup can be made here: {error}")
    yield group
    group.rmdir()


def test_the_kernels_own_oom_killer_is_told_apart(little_memory: Path, tmp_path: Path) -> None:
    """A command that outgrows its cgroup is killed by the kernel, counted there, and said to be out of memory."""
    for name, text in {
        "command": f"exec {sys.executable} -c 'print(len(bytearray(300 << 20)))'",
        "supervise": _SUPERVISE,
        "exit.new": f"{'pending':31}\n",
    }.items():
        (tmp_path / name).write_text(text)
    script = (
        f"echo $$ >{little_memory}/cgroup.procs; mount --bind {little_memory} /sys/fs/cgroup/memory; "
        f"sh {tmp_path}/supervise {tmp_path} ''"
    )
    ended = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False, timeout=DEADLINE
    )
    assert (tmp_path / "exit").exists(), ended.stderr
    code, kills, _ = (tmp_path / "exit").read_text().split()
    tail = tuple((tmp_path / "log").read_text().splitlines())
    assert code == "137"
    assert int(kills) >= 1
    assert is_out_of_memory(Completed(command="x", exit_code=137, tail=tail))


def test_the_tail_is_what_a_terminal_would_show() -> None:
    """Progress bars leave their last state; broken UTF-8 does no harm."""
    tail = Tail()
    tail.add(b"0%\r50%\r100%\r\n\xffdone\n\n")
    assert tail.lines() == ("100%", "\ufffddone")


def test_the_tail_keeps_an_earlier_line_about_memory() -> None:
    """Lines that a launcher prints after the reason do not push it out."""
    tail = Tail()
    tail.add(b"CUDA out of memory\n" + b"noise\n" * 40)
    assert tail.lines() == ("CUDA out of memory", *["noise"] * 19)


@given(st.lists(st.binary(max_size=40), max_size=60))
def test_the_tail_does_not_depend_on_how_bytes_come(pieces: list[bytes]) -> None:
    """Any way to cut the same bytes gives the same last lines."""
    cut, whole = Tail(), Tail()
    for piece in pieces:
        cut.add(piece)
    whole.add(b"".join(pieces))
    assert cut.lines() == whole.lines()
    assert len(cut.lines()) <= 20


@given(st.text(max_size=150), st.text(max_size=150))
def test_folder_names_are_safe_and_distinct(one: str, other: str) -> None:
    """Two keys never share a folder, and no key leaves the steps folder."""
    names = folder_name(one), folder_name(other)
    assert (names[0] == names[1]) == (one == other)
    assert all(name == shlex.quote(name) and not name.startswith((".", "-")) for name in names)


@given(
    st.dictionaries(
        st.from_regex(r"\A[A-Z_][A-Z0-9_]{0,5}\Z"), st.text(st.characters(exclude_characters="\0"))
    )
)
def test_exports_are_one_word_a_value(variables: dict[str, str]) -> None:
    """Whatever a value holds, sh reads it as one word."""
    expected = [word for name, value in variables.items() for word in ("export", f"{name}={value}")]
    assert shlex.split(exports(variables)) == expected


def _lives(pid: str) -> bool:
    try:
        state = Path(f"/proc/{int(pid)}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_probe_names_the_tools_that_are_missing(
    connecting: Connect, machine: Machine, tmp_path: Path
) -> None:
    """Tools that transfers need and the image lacks are reported before they are needed."""
    assert "missing" not in connecting(probes=True).probe()
    programs = tmp_path / "few"
    programs.mkdir()
    for name in ("sh", "cat", "uname", "find", "mktemp", "mkfifo", "head", "tail", "wc", "python3"):
        (programs / name).symlink_to(str(shutil.which(name)))
    machine.path = str(programs)
    assert connecting(probes=True).probe()["missing"] == "tar, xargs"
    assert connecting().probe()["missing"] == "tar, xargs"


def test_a_tail_that_was_cut_does_not_begin_in_the_middle_of_a_word() -> None:
    """Half a secret could not be found and masked; the text after the cut word or line is complete."""
    words, lines = Tail(), Tail()
    words.add(b"s3cret" * 30_000 + b" last words")
    lines.add(b"s3cret " * 30_000 + b"\nlast line\n")
    assert words.lines() == ("last words",)
    assert lines.lines() == ("last line",)


def test_a_command_that_changes_start_up_files_is_followed_by_new_sessions(
    remote: SshRemote, machine: Machine
) -> None:
    """A changed start-up file counts for the next command, although shells wait on the pod for it."""
    said: list[bytes] = []
    remote.run(Command(key="before", text="true"), said.append)
    machine.path = f"/added:{machine.path}"
    remote.run(Command(key="changing", text="touch ~/.profile"), said.append)
    remote.run(Command(key="after", text='echo "$PATH"'), said.append)
    assert b"/added" in b"".join(said)
