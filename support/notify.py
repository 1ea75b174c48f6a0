# What systemd is to a service: listens on NOTIFY_SOCKET's place and prints each datagram, its assignments in JSON, on a line of its own.
# usage: notify.py ADDRESS    (a path, or @name)
import json
import socket
import sys

address = sys.argv[1]
listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind("\0" + address[1:] if address.startswith("@") else address)
print(json.dumps([]), flush=True)
while True:
    # Descriptors that come along (BARRIER=1) are closed by the kernel, for nobody asks for them: that is the answer to a barrier.
    print(json.dumps(listener.recv(65536).decode().split("\n")), flush=True)
