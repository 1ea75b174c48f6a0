// The floor: a plain Node server that reads in the usual, documented way and throws everything away. When a
// client has written all it wants to, it is told with 8 bytes, u64 LE, how many bytes have been read from it.
// Plain JavaScript, so that nothing but Node is measured.
import { createServer } from 'node:net';

createServer({ allowHalfOpen: true }, (socket) => {
  let bytes = 0;
  socket.on('data', (chunk) => {
    bytes += chunk.length;
  });
  socket.on('end', () => {
    const answer = Buffer.alloc(8);
    answer.writeBigUInt64LE(BigInt(bytes));
    socket.end(answer);
  });
  // A reset is how many clients leave.
  socket.on('error', () => undefined);
}).listen(process.argv[2]);
