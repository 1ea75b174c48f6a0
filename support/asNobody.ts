// Permissions as everybody but root feels them: root is let in everywhere, so its tests put on the user
// nobody for a moment.

const NOBODY = 65_534;

export async function asNobody<T>(work: () => Promise<T>): Promise<T> {
  const isRoot = process.getuid!() === 0;
  if (isRoot) process.seteuid!(NOBODY);
  try {
    return await work();
  } finally {
    if (isRoot) process.seteuid!(0);
  }
}
