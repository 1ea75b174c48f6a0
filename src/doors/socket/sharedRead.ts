// Reads a connection into one buffer that all connections share. Node's usual way gives each read 64 KiB of
// its own: measured on 100 B frames, fifty a write, that is half of the whole cost of reading, and 30 MB of
// memory. The price: bytes are good only until the call returns.
import { Socket } from 'node:net';

const shared = Buffer.allocUnsafeSlow(64 * 1024);

/**
 * Starts reading `accepted`, which a server with `pauseOnConnect` has just handed over and nobody has
 * touched.
 * @param onChunk gets a view of the shared buffer, good until it returns
 * @returns the socket to use from now on
 */
export function readShared(accepted: Socket, onChunk: (chunk: Buffer) => void): Socket {
  // `onread` is a documented option, but only of the constructor, and a server makes its sockets itself. So
  // the connection's handle moves to a socket of our own making. Where that should not work in some version
  // of Node, the usual way does.
  const owner = accepted as unknown as { _handle?: object | null };
  const handle = owner._handle;
  if (handle === undefined || handle === null) {
    accepted.on('data', onChunk);
    accepted.resume();
    return accepted;
  }
  owner._handle = null;
  const options = {
    handle,
    allowHalfOpen: true,
    onread: {
      buffer: shared,
      callback(bytes: number): boolean {
        onChunk(shared.subarray(0, bytes));
        return true;
      },
    },
  };
  const socket = new Socket(options);
  socket.resume();
  return socket;
}
