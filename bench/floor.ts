// The floor as a system: floor.mjs, which reads and throws away.
import path from 'node:path';
import { ServerProcess, type System } from './system.js';

export const floor: System = {
  name: 'floor',
  async start(folder) {
    const socketPath = path.join(folder, 'floor.sock');
    const server = await ServerProcess.start(
      [process.execPath, path.resolve(import.meta.dirname, 'floor.mjs'), socketPath],
      folder,
      socketPath,
    );
    return {
      pid: server.pid,
      // Frames, as Kahe gets them; to the floor all bytes are alike.
      receiver: { path: socketPath, wire: { frame: { bucket: 'kh_bench_000' } }, finish: 'end' },
      stop: () => server.stop(),
    };
  },
};
