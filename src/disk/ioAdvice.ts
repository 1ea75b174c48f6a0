// What a person does about a system call's error: the end of every message that says a file can't be written.
import { errnoOf } from './fileSystem.js';
import { messageOf } from '../errors.js';

const ADVICE: Readonly<Record<string, string>> = {
  ENOSPC: 'free space (or inodes) on that disk',
  EDQUOT: 'raise the quota of the user Kahe runs as, or free space',
  EACCES: 'let the user Kahe runs as write there',
  EPERM: 'let the user Kahe runs as write there',
  EROFS: 'that file system is read-only: mount it for writing',
  EMFILE: 'raise the limit of open files (LimitNOFILE)',
  ENFILE: 'the whole system is out of open files: raise fs.file-max',
  EFBIG: 'raise the limit of the file size (LimitFSIZE), or lower sizeRotate and batchBytes',
  EIO: "the disk fails: look into the kernel's log",
  ENAMETOOLONG: 'shorten fileNameTemplate',
};

/** `ENOSPC: no space left on device, write; free space …` */
export function explained(error: unknown): string {
  const text = messageOf(error);
  const advice = ADVICE[errnoOf(error) ?? ''];
  return advice === undefined ? text : `${text}; ${advice}`;
}

/** What keeps a file from being read or written just now and has nothing to do with the file. */
export function isTransient(error: unknown): boolean {
  return ['EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN', 'EINTR'].includes(errnoOf(error) ?? '');
}

/** Errors at start that only a person fixes; any other may pass, as a full disk may. */
export function needsOperator(error: unknown): boolean {
  return ['EACCES', 'EPERM', 'EROFS', 'ELOOP', 'ENOTDIR', 'EEXIST', 'ENAMETOOLONG'].includes(
    errnoOf(error) ?? '',
  );
}

/** Room is what lacks, or a quota: it may come back by itself. */
export function isDiskFull(error: unknown): boolean {
  return ['ENOSPC', 'EDQUOT'].includes(errnoOf(error) ?? '');
}
