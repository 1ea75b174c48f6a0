# Runs a program with its stderr on a terminal of its own, and prints what it writes there. The program keeps this process, its number and
# its parent, so that whoever started it can signal it.
# usage: onTerminal.py PROGRAM [ARGUMENT...]
import os
import pty
import sys

master, slave = pty.openpty()
if os.fork() == 0:
    os.close(slave)
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # EIO: the program, and whoever else wrote there, is gone.
            break
        if not piece:
            break
        os.write(1, piece)
    os._exit(0)
os.close(master)
os.dup2(slave, 2)
os.close(slave)
os.execvp(sys.argv[1], sys.argv[1:])
