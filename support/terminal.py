# Runs a command on a terminal of its own: `terminal.py ROWS COLUMNS COMMAND…`. What is written to stdin is typed, what the command prints comes on
# stdout; SIGTERM is passed on. A line of stdin's that is `\0ROWS COLUMNS` gives the terminal another size. At the end stderr has one line of JSON: the exit code (or
# minus the signal), and whether the terminal echoes and gathers lines again as it did before.
import fcntl
import json
import os
import pty
import select
import signal
import struct
import sys
import termios


def resize(fd, rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def modes(fd):
    return termios.tcgetattr(fd)[:4]


def feed(fd, keys):
    for line in keys.split(b"\n"):
        if line.startswith(b"\0"):
            resize(fd, *map(int, line[1:].split()))
        elif line:
            os.write(fd, line)


master, slave = pty.openpty()
resize(master, int(sys.argv[1]), int(sys.argv[2]))
before = modes(slave)
child = os.fork()
if child == 0:
    os.close(master)
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for fd in (0, 1, 2):
        os.dup2(slave, fd)
    os.execvp(sys.argv[3], sys.argv[3:])
signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
sources, status = [master, sys.stdin.fileno()], None
while status is None:
    for source in select.select(sources, [], [], 0.05)[0]:
        data = os.read(source, 65536)
        if source == master:
            os.write(1, data)
        elif data:
            feed(master, data)
        else:
            sources.remove(source)
    ended, code = os.waitpid(child, os.WNOHANG)
    if ended:
        status = os.waitstatus_to_exitcode(code)
while select.select([master], [], [], 0)[0]:
    os.write(1, os.read(master, 65536))
print(json.dumps({"code": status, "isRestored": modes(slave) == before}), file=sys.stderr)
